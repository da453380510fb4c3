/// What a look at the rules alone says about a separation of duties.
public struct SeparationReport: Sendable, Hashable {
    public enum Outcome: Sendable, Hashable {
        /// No principal can hold both sides, whatever its name, groups and tenant.
        case proved
        /// Some can: by these rules, the first that were found.
        case refuted([Conflict])
        /// The lists are so long that the search was given up.
        case undecided
    }

    /// Two rules, or one twice, that give one principal both sides.
    public struct Conflict: Sendable, Hashable {
        public let either: RuleReference
        public let or: RuleReference
        public let who: Witness
    }

    /// Principals that hold both: whoever has these names and is in these groups and in no others that rules name.
    public struct Witness: Sendable, Hashable {
        /// nil for any that no rule names.
        public let issuer: String?
        public let subject: String?
        public let tenant: String?
        public let groups: [String]
    }

    public let separation: RuleReference
    public let outcome: Outcome
}

extension SeparationReport.Witness: CustomStringConvertible {
    public var description: String {
        var parts: [String] = []
        if let subject { parts.append("subject \(subject)") }
        if let issuer { parts.append("issuer \(issuer)") }
        if let tenant { parts.append("tenant \(tenant)") }
        if !groups.isEmpty { parts.append("member of \(groups.joined(separator: " and "))") }
        return parts.isEmpty ? "anyone whom no rule names" : parts.joined(separator: ", ")
    }
}

extension Policy {
    /// Proves or refutes every separation over all principals that there can be.
    ///
    /// Whose names do not stand in a rule are alike to all rules, so that of each kind of name one that is not named is
    /// enough to look at, and it is in the fewest lists. What counts is who may do a thing somewhere, some time:
    /// conditions and key sets are not looked at, and of the deny rules only those without any count.
    public func checkSeparations() -> [SeparationReport] {
        var search = SeparationSearch(rules: rules)
        return separations.map { SeparationReport(separation: $0.reference, outcome: search.outcome($0)) }
    }
}

private struct SeparationSearch {
    private let allows: [Rule]
    private let denies: [Rule]
    /// Looks at one deny rule or list of names; enough for every file that a person writes.
    private var steps = 1_000_000
    private static let reported = 16

    init(rules: [Rule]) {
        allows = rules.filter { $0.effect == .allow }
        denies = rules.filter(\.deniesAlways)
    }

    mutating func outcome(_ separation: Separation) -> SeparationReport.Outcome {
        var conflicts: [SeparationReport.Conflict] = []
        let ones = allows.filter { $0.actions.closure.intersects(separation.either) }
        let others = allows.filter { $0.actions.closure.intersects(separation.or) }
        search: for first in ones {
            for second in others {
                guard conflicts.count < Self.reported, steps > 0 else { break search }
                guard let who = witness(first, separation.either, second, separation.or) else { continue }
                conflicts.append(.init(either: first.reference, or: second.reference, who: who))
            }
        }
        if !conflicts.isEmpty { return .refuted(conflicts) }
        return steps > 0 ? .proved : .undecided
    }

    /// A principal who may do something of `either` by `first`, and something of `or` by `second`.
    private mutating func witness(
        _ first: Rule, _ either: ActionSet, _ second: Rule, _ or: ActionSet
    ) -> SeparationReport.Witness? {
        for list in [first.who, second.who].flatMap({ [$0.issuers, $0.subjects, $0.tenants] }) {
            steps -= 1 + (list?.count ?? 0)
        }
        guard let issuers = candidates(first.who.issuers, second.who.issuers),
            let subjects = candidates(first.who.subjects, second.who.subjects),
            let tenants = candidates(first.who.tenants, second.who.tenants)
        else { return nil }
        var seen: Set<ActionSet> = []
        for one in first.actions.actions where one.closure.intersects(either) {
            for other in second.actions.actions where other.closure.intersects(or) {
                // The deny rules in the way of both.
                var parts = one.closure
                parts.formUnion(other.closure)
                guard seen.insert(parts).inserted else { continue }
                steps -= denies.count + 1
                let inTheWay = denies.filter { $0.actions.intersects(parts) }.map(\.who)
                for issuer in issuers {
                    let ofIssuer = inTheWay.filter { Self.has($0.issuers, issuer) }
                    for tenant in tenants {
                        let ofTenant = ofIssuer.filter { Self.has($0.tenants, tenant) }
                        steps -= ofIssuer.count + 1
                        for subject in subjects {
                            steps -= ofTenant.count + 1
                            guard steps > 0 else { return nil }
                            let left = ofTenant.filter { Self.has($0.subjects, subject) }
                            guard let groups = groups(first.who.groups, second.who.groups, avoiding: left) else {
                                continue
                            }
                            return .init(issuer: issuer, subject: subject, tenant: tenant, groups: groups)
                        }
                    }
                }
            }
        }
        return nil
    }

    /// Names that are in both lists; nil for one that no rule names, which is in the fewest lists of deny rules.
    private func candidates(_ one: NameList?, _ other: NameList?) -> [String?]? {
        guard let both = one.flatMap({ one in other.map(one.intersection) ?? one }) ?? other else { return [nil] }
        return both.isEmpty ? nil : both.texts
    }

    private static func has(_ list: NameList?, _ name: String?) -> Bool {
        guard let list else { return true }
        return name.map(list.contains) ?? false
    }

    /// Groups that make one a member of both lists, and of none of those that are denied.
    private mutating func groups(_ one: NameList?, _ other: NameList?, avoiding denied: [Who]) -> [String]? {
        var groups: Set<ExactName> = []
        guard denied.allSatisfy({ $0.groups != nil }) else { return nil }
        let forbidden = denied.compactMap(\.groups)
        for list in [one, other] {
            guard let list else { continue }
            let free = list.texts.first { name in
                steps -= forbidden.count + 1
                return !forbidden.contains { $0.contains(name) }
            }
            guard let free else { return nil }
            groups.insert(ExactName(free))
        }
        return groups.sorted().map(\.text)
    }
}
