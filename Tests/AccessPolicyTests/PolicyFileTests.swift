import AccessPolicy
import Testing

@Suite struct PolicyFileTests {
    @Test("everything that is wrong is told, with file and line")
    func errors() {
        let found = issues(
            """
            version: 2
            rulez: []
            rules:
              - name: One
                effect: permit
                who: {subject: [alice]}
                actions: [encrypt, fly]
              - name: two
                effect: allow
                who: {anyone: true, groups: [g]}
                actions: [audit, show]
                keySets: {own: false}
                when: {}
              - name: two
                effect: deny
                actions: []
                acrossTenants: true
            """)
        for expected in [
            "p.yaml:1: version: must be an integer from 1 to 1",
            "p.yaml:2: rulez: unknown key; did you mean rules?",
            "p.yaml:4: rules[0].name: must be 1 to 64 lower-case letters, digits, hyphens and dots",
            "p.yaml:5: rules[0].effect: must be allow or deny",
            "p.yaml:6: rules[0].who.subject: unknown key; did you mean subjects?",
            "p.yaml:6: rules[0].who.anyone: who names nobody",
            "p.yaml:7: rules[0].actions: entry 2 is no action; actions are register, show,",
            "p.yaml:4: rules[0].keySets: an allow rule says for which key sets",
            "p.yaml:10: rules[1].who.anyone: goes with no list",
            "p.yaml:12: rules[1].keySets: selects none",
            "p.yaml:11: rules[1].actions: audit is for no key set: give it a rule of its own",
            "p.yaml:13: rules[1].when: has no condition",
            "p.yaml:14: rules[2].name: is used twice",
            "p.yaml:14: rules[2].who: is missing",
            "p.yaml:16: rules[2].actions: is empty",
            "p.yaml:17: rules[2].acrossTenants: a deny rule reaches other tenants anyway",
        ] {
            #expect(found.contains { $0.hasPrefix(expected) }, "\(expected)\nin\n\(found.joined(separator: "\n"))")
        }
        #expect(found.count == 16, "\(found.joined(separator: "\n"))")
    }

    /// A rule with one key replaced or added.
    private func rule(_ lines: String...) -> [String] {
        issues(
            """
            version: 1
            rules:
              - name: r
                effect: allow
                who: {anyone: true}
                \(lines.joined(separator: "\n    "))
            """)
    }

    @Test("each value is checked")
    func values() {
        let actions = "actions: [decrypt.job]"
        let own = "keySets: {own: true}"
        #expect(rule(actions, own).isEmpty)
        for (condition, wrong) in [
            ("times: []", "is empty"), ("times: [{days: [may]}]", "must be a list of mon"),
            ("times: [{days: []}]", "must be a list of mon"), ("times: [{from: 25:00}]", "time of the day"),
            ("times: [{from: '7:00'}]", "time of the day"), ("times: [{to: 24:01}]", "time of the day"),
            ("times: [{from: 24:00}]", "starts before 24:00"), ("times: [{to: 00:00}]", "starts before 24:00"),
            ("times: [{from: 08:00, to: 08:00}]", "starts before 24:00"),
            ("times: [{utcOffset: '+1'}]", "hours and minutes"),
            ("times: [{utcOffset: '+14:01'}]", "hours and minutes"),
            ("times: [{zone: CET}]", "unknown key"), ("networks: []", "is empty"),
            ("networks: [10.0.0.1/8]", "entry 1 is no network"), ("networks: [10.0.0.0/33]", "entry 1 is no network"),
            ("networks: ['::/129']", "entry 1 is no network"), ("networks: [example.org]", "entry 1 is no network"),
            ("decryptionsLeft: 0", "an integer from 1"), ("audience: []", "owner and shared"),
            ("audience: [blinded]", "owner and shared"), ("weather: fair", "unknown key"),
        ] {
            for key in ["when", "unless"] {
                let found = rule(actions, own, "\(key): {\(condition)}")
                #expect(found.contains { $0.contains(wrong) }, "\(key) \(condition): \(found)")
            }
        }
        for (keySets, wrong) in [
            ("{}", "selects none"), ("{ids: [KS-1]}", "an id is"), ("{ids: []}", "at least one name"),
            ("{groups: ['']}", "a name is 1 to 256"), ("{ids: [abc]}", "an id is"), ("{mine: true}", "unknown key"),
        ] {
            let found = rule(actions, "keySets: \(keySets)")
            #expect(found.contains { $0.contains(wrong) }, "\(keySets): \(found)")
        }
        #expect(rule(actions).contains { $0.contains("an allow rule says for which key sets") })
        #expect(rule("actions: [show]", own, "models: [m]").contains { $0.contains("show is for no model") })
        #expect(rule("actions: [all]").contains { $0.contains("an allow rule says for which key sets") })
        #expect(rule(actions, own, "models: ['\\0']").isEmpty)
        #expect(rule(actions, own, "models: [\"\\x01\"]").contains { $0.contains("control characters") })
    }

    @Test("a key whose value was forgotten is an error, and widens nothing")
    func nulls() {
        let rest = ["actions: [decrypt.job]", "keySets: {own: true}"]
        for line in ["models:", "when:", "unless: ~", "acrossTenants: null", "when: {times: , decryptionsLeft: 1}"] {
            #expect(rule(rest[0], rest[1], line).contains { $0.contains("has no value") }, "\(line)")
        }
        #expect(rule(rest[0], "keySets: {own: true, ids: }").contains { $0.contains("has no value") })
        #expect(rule(rest[0], rest[1], "when: {times: [{days: ~}]}").contains { $0.contains("has no value") })
        let who = "version: 1\nrules:\n  - {name: r, effect: deny, actions: [all], who: {tenants: [t], groups: }}\n"
        #expect(issues(who).contains { $0.contains("p.yaml:3: rules[0].who.groups: has no value") })
        #expect(issues("version: 1\nrules: []\nseparate:\n").contains { $0.contains("separate: has no value") })
    }

    @Test("lists and names are bounded")
    func bounds() {
        let who = "who: {anyone: true}, actions: [audit]"
        func rules(_ count: Int) -> String {
            "version: 1\nrules:\n" + (0..<count).map { "  - {name: r\($0), effect: allow, \(who)}\n" }.joined()
        }
        #expect(issues(rules(1024)).isEmpty)
        #expect(issues(rules(1025)).contains { $0.contains("rules: has more than 1024 entries") })
        func subjects(_ count: Int, _ length: Int) -> String {
            let names = (0..<count).map { String(repeating: "s", count: length - 4) + String(1000 + $0) }
            return "version: 1\nrules:\n  - name: r\n    effect: deny\n    actions: [all]\n    who: {subjects: "
                + "[\(names.joined(separator: ", "))]}\n"
        }
        #expect(issues(subjects(1024, 256)).isEmpty)
        #expect(issues(subjects(1025, 8)).contains { $0.contains("has more than 1024 entries") })
        #expect(issues(subjects(1, 257)).contains { $0.contains("a name is 1 to 256 bytes") })
        let separations = (0..<65).map { "  - {name: s\($0), either: [encrypt], or: [decrypt.job]}\n" }.joined()
        #expect(
            issues("version: 1\nrules: []\nseparate:\n" + separations).contains {
                $0.contains("separate: has more than 64 entries")
            })
    }

    @Test("separations name actions that can be separated")
    func separations() {
        func separation(_ sides: String) -> [String] {
            issues("version: 1\nrules: []\nseparate:\n  - {name: s, \(sides)}\n")
        }
        #expect(separation("either: [encrypt, show], or: [decrypt.job]").isEmpty)
        #expect(separation("either: [encrypt], or: [fly]").contains { $0.contains("must be a list of actions") })
        #expect(separation("either: [encrypt], or: []").contains { $0.contains("must be a list of actions") })
        #expect(separation("either: [encrypt]").contains { $0.contains("or: is missing") })
        for sides in [
            "either: [encrypt], or: [encrypt]", "either: [predict], or: [encrypt]",
            "either: [decrypt.job], or: [decrypt.any]",
        ] {
            #expect(separation(sides).contains { $0.contains("is in either too") }, "\(sides)")
        }
    }

    @Test("a file that is none is refused, and the digest is that of its bytes")
    func files() throws {
        #expect(issues("").contains { $0.contains("version: is missing") })
        #expect(issues("version: 1").contains { $0.contains("rules: is missing") })
        #expect(issues("- 1").contains { $0.contains("must be a mapping") })
        #expect(throws: (any Error).self) { try Policy(path: "/nonexistent/policy.yaml") }
        let empty = try Policy(text: "version: 1\nrules: []\n", name: "p.yaml")
        // printf 'version: 1\nrules: []\n' | sha256sum
        #expect(empty.digest == "7f2c43106364d8112fcc3060e4ab8b20f5d1a17d9cbf3c2540529663004adff8")
        #expect(empty.ruleCount == 0)
        for action in AccessAction.allCases { #expect(empty.decide(.own(action)).reason == .noRule) }
    }
}
