import ServiceKit

/// Reads the sections of a policy file; what is wrong is noted in them.
struct PolicyReader {
    let file: String
    private var names: Set<String> = []

    init(file: String) { self.file = file }

    mutating func read(_ root: YAMLSection) -> (rules: [Rule], separations: [Separation]) {
        requireValues(root)
        _ = root.int("version", in: 1...1)
        let ruleSections = bounded(root, "rules", root.sections("rules"), PolicyLimits.rules)
        let rules = ruleSections.map { rule($0) }
        names = []
        let separate = bounded(root, "separate", root.optionalSections("separate"), PolicyLimits.separations)
        return (rules, separate.map { separation($0) })
    }

    private func bounded<Entry>(
        _ section: YAMLSection, _ key: String, _ entries: [Entry], _ limit: Int
    ) -> [Entry] {
        if entries.count > limit { section.fail(key, "has more than \(limit) entries") }
        return Array(entries.prefix(limit))
    }

    /// A key without a value is as if it were not there elsewhere. Here it would widen a rule whose list was forgotten.
    private func requireValues(_ section: YAMLSection) {
        for key in section.keys where !section.contains(key) {
            section.fail(key, "has no value; give one or leave it out")
        }
    }

    private mutating func reference(_ section: YAMLSection) -> RuleReference {
        requireValues(section)
        let name = section.string("name")
        let allowed = name.utf8.allSatisfy {
            ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 || $0 == 46
        }
        if section.contains("name") {
            if !(1...64).contains(name.utf8.count) || !allowed {
                section.fail("name", "must be 1 to 64 lower-case letters, digits, hyphens and dots")
            } else if !names.insert(name).inserted {
                section.fail("name", "is used twice")
            }
        }
        return RuleReference(name: name, file: file, line: section.line)
    }

    // MARK: Rules

    private mutating func rule(_ section: YAMLSection) -> Rule {
        var rule = Rule(
            reference: reference(section), effect: section.enumeration("effect", of: Rule.Effect.self),
            who: who(section.section("who")), actions: [])
        if let keySets = section.optionalSection("keySets") {
            rule.keySets = selector(keySets)
            if rule.keySets?.isEmpty == true {
                section.fail("keySets", "selects none; set own, myGroups, groups, ids or any")
            }
        }
        rule.models = names(section, "models")?.map { NamePattern($0) }
        rule.acrossTenants = section.bool("acrossTenants", default: false)
        if rule.acrossTenants, rule.effect == .deny {
            section.fail("acrossTenants", "a deny rule reaches other tenants anyway; leave it out")
        }
        rule.when = conditions(section, "when")
        rule.unless = conditions(section, "unless")
        rule.actions = actions(section, of: rule)
        return rule
    }

    private func who(_ section: YAMLSection) -> Who {
        requireValues(section)
        var who = Who()
        func list(_ key: String) -> NameList? { names(section, key).map { NameList($0) } }
        who.issuers = list("issuers")
        who.subjects = list("subjects")
        who.groups = list("groups")
        who.tenants = list("tenants")
        let anyone = section.bool("anyone", default: false)
        if anyone, who != Who() { section.fail("anyone", "goes with no list; leave one of them out") }
        // A section that is missing was noted already.
        if !anyone, who == Who() {
            section.fail("anyone", "who names nobody; give issuers, subjects, groups or tenants, or anyone: true")
        }
        return who
    }

    private func selector(_ section: YAMLSection) -> KeySetSelector {
        requireValues(section)
        var selector = KeySetSelector()
        selector.own = section.bool("own", default: false)
        selector.myGroups = section.bool("myGroups", default: false)
        selector.any = section.bool("any", default: false)
        selector.groups = names(section, "groups").map { NameList($0) }
        if let ids = names(section, "ids") {
            let areIDs = ids.allSatisfy {
                (4...64).contains($0.utf8.count)
                    && $0.utf8.allSatisfy { ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 }
            }
            if !areIDs { section.fail("ids", "an id is 4 to 64 lower-case letters, digits and hyphens") }
            selector.ids = NameList(ids)
        }
        return selector
    }

    private func actions(_ section: YAMLSection, of rule: Rule) -> ActionSet {
        let names = bounded(section, "actions", section.strings("actions"), PolicyLimits.names)
        if section.contains("actions"), names.isEmpty { section.fail("actions", "is empty") }
        let conditions = [rule.when, rule.unless]
        let ofKeySets =
            rule.keySets != nil || conditions.contains { $0.decryptionsLeft != nil || $0.audience != nil }
        let fitting = AccessAction.allCases.filter {
            (!ofKeySets || $0.concernsKeySet) && (rule.models == nil || $0.concernsModel)
        }
        var actions: ActionSet = []
        for (index, name) in names.enumerated() {
            if name == "all" {
                actions.formUnion(ActionSet(fitting))
                continue
            }
            guard let action = AccessAction(rawValue: name) else {
                section.fail("actions", "entry \(index + 1) is no action; actions are \(Self.listed), or all")
                continue
            }
            actions.insert(action)
            guard !fitting.contains(action) else { continue }
            let lacks = ofKeySets && !action.concernsKeySet ? "key set" : "model"
            section.fail("actions", "\(name) is for no \(lacks): give it a rule of its own")
        }
        if rule.effect == .allow, rule.keySets == nil, actions.actions.contains(where: \.concernsKeySet) {
            section.fail("keySets", "an allow rule says for which key sets: own, myGroups, groups, ids or any")
        }
        return actions
    }

    private static let listed = AccessAction.allCases.map(\.rawValue).joined(separator: ", ")

    // MARK: Conditions

    private func conditions(_ rule: YAMLSection, _ key: String) -> Conditions {
        var conditions = Conditions()
        guard let section = rule.optionalSection(key) else { return conditions }
        requireValues(section)
        let windows = bounded(section, "times", section.optionalSections("times"), PolicyLimits.windows)
        if section.contains("times") {
            if windows.isEmpty { section.fail("times", "is empty") }
            conditions.times = WeekMinutes(windows.map { window($0) })
        }
        if let texts = list(section, "networks", PolicyLimits.names) {
            if texts.isEmpty { section.fail("networks", "is empty") }
            var networks: [IPNetwork] = []
            for (index, text) in texts.enumerated() {
                guard let network = IPNetwork(text) else {
                    section.fail(
                        "networks",
                        "entry \(index + 1) is no network such as 10.0.0.0/8 or 2001:db8::/32, with no bit set behind "
                            + "its length")
                    continue
                }
                networks.append(network)
            }
            conditions.networks = networks
        }
        conditions.decryptionsLeft = section.optionalInt("decryptionsLeft", in: 1...1 << 40)
        if let names = list(section, "audience", 2) {
            let audience = names.compactMap { AccessRequest.Audience(rawValue: $0) }
            if audience.isEmpty || audience.count < names.count {
                section.fail("audience", "must be a list of owner and shared")
            }
            conditions.audience = Set(audience)
        }
        if conditions.isEmpty {
            rule.fail(key, "has no condition; give times, networks, decryptionsLeft or audience, or leave it out")
        }
        return conditions
    }

    private func window(_ section: YAMLSection) -> WeeklyWindow {
        requireValues(section)
        func minute(_ key: String, default fallback: Int) -> Int {
            guard let text = section.optionalString(key) else { return fallback }
            guard let minute = WeeklyWindow.minute(ofDay: text) else {
                section.fail(key, "must be a time of the day from 00:00 to 24:00")
                return fallback
            }
            return minute
        }
        var days = Set(WeeklyWindow.Day.allCases)
        if let names = list(section, "days", 7) {
            let named = names.compactMap { WeeklyWindow.Day(rawValue: $0) }
            if named.isEmpty || named.count < names.count {
                section.fail("days", "must be a list of mon, tue, wed, thu, fri, sat and sun")
            }
            days = Set(named)
        }
        let start = minute("from", default: 0)
        let end = minute("to", default: WeeklyWindow.minutesPerDay)
        if start == end || start == WeeklyWindow.minutesPerDay || end == 0 {
            section.fail(
                section.contains("to") ? "to" : "from",
                "a window starts before 24:00 and ends at another time, after 00:00; leave both out for whole days")
        }
        var offset = 0
        if let text = section.optionalString("utcOffset") {
            if let minutes = WeeklyWindow.offset(text) {
                offset = minutes
            } else {
                section.fail("utcOffset", "must be hours and minutes from UTC such as +01:00, 14 hours at most")
            }
        }
        return WeeklyWindow(days: days, start: start, end: end, offset: offset)
    }

    // MARK: Separations

    private mutating func separation(_ section: YAMLSection) -> Separation {
        func side(_ key: String) -> ActionSet {
            let names = bounded(section, key, section.strings(key), PolicyLimits.names)
            let actions = names.compactMap { AccessAction(rawValue: $0) }
            if section.contains(key), actions.isEmpty || actions.count < names.count {
                section.fail(key, "must be a list of actions: \(Self.listed)")
            }
            return ActionSet(actions)
        }
        let separation = Separation(reference: reference(section), either: side("either"), or: side("or"))
        if separation.either.closure.intersects(separation.or) || separation.or.closure.intersects(separation.either) {
            section.fail("or", "has an action that is in either too, or is a part of the other")
        }
        return separation
    }

    // MARK: Lists

    /// The texts at `key`; nil where it is not there.
    private func list(_ section: YAMLSection, _ key: String, _ limit: Int) -> [String]? {
        // Asked for also where it is not there, so that it is known when another key is misspelt.
        let texts = bounded(section, key, section.strings(key, default: []), limit)
        return section.contains(key) ? texts : nil
    }

    /// A list of names that has one at least; nil where it is not there.
    private func names(_ section: YAMLSection, _ key: String) -> [String]? {
        guard let names = list(section, key, PolicyLimits.names) else { return nil }
        if names.isEmpty { section.fail(key, "must be a list of at least one name") }
        if !names.allSatisfy(Self.isName) {
            section.fail(key, "a name is 1 to \(PolicyLimits.nameBytes) bytes without control characters")
        }
        return names
    }

    private static func isName(_ text: String) -> Bool {
        (1...PolicyLimits.nameBytes).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }
}
