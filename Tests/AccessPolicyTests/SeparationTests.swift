import AccessPolicy
import ServiceKit
import TestSupport
import Testing

@Suite struct SeparationTests {
    private static let separate = "  - {name: s, either: [encrypt], or: [decrypt.job]}"

    private func outcome(_ rules: String) throws -> SeparationReport.Outcome {
        try #require(try policy(rules, separate: Self.separate).checkSeparations().first).outcome
    }

    private func rule(_ name: String, _ effect: String, _ who: String, _ action: String) -> String {
        let keySets = effect == "allow" ? ", keySets: {any: true}" : ""
        return "  - {name: \(name), effect: \(effect), who: {\(who)}, actions: [\(action)]\(keySets)}\n"
    }

    private func conflict(_ rules: String) throws -> (either: String, or: String, who: String)? {
        guard case .refuted(let conflicts) = try outcome(rules), let first = conflicts.first else { return nil }
        return (first.either.name, first.or.name, first.who.description)
    }

    @Test("a refuted separation names the two rules and who holds both")
    func refuted() throws {
        let encrypt = rule("e", "allow", "groups: [clerks]", "encrypt")
        let decrypt = rule("d", "allow", "groups: [physicians]", "decrypt.job")
        let both = try #require(try conflict(encrypt + decrypt))
        #expect(both == ("e", "d", "member of clerks and physicians"))
        // One rule alone; a whole that has the part; an action with both sides.
        #expect(
            try #require(try conflict(rule("x", "allow", "subjects: [eve]", "encrypt, decrypt.any")))
                == ("x", "x", "subject eve"))
        #expect(
            try #require(try conflict(rule("p", "allow", "anyone: true", "predict")))
                == ("p", "p", "anyone whom no rule names"))
        // Different subjects are never one principal.
        #expect(
            try outcome(
                rule("e", "allow", "subjects: [a]", "encrypt") + rule("d", "allow", "subjects: [b]", "decrypt.job"))
                == .proved)
        #expect(
            try outcome(
                rule("e", "allow", "subjects: [a, c], tenants: [t]", "encrypt")
                    + rule("d", "allow", "subjects: [b, c], tenants: [u]", "decrypt.job")) == .proved)
        // A deny rule proves it, of the whole by its part; one with a condition does not.
        #expect(try outcome(encrypt + decrypt + rule("no", "deny", "groups: [clerks]", "decrypt.job")) == .proved)
        #expect(
            try outcome(
                encrypt + rule("p", "allow", "groups: [clerks]", "predict")
                    + rule("no", "deny", "groups: [clerks]", "decrypt.job")) == .proved)
        #expect(
            try conflict(
                encrypt + decrypt + """
                      - name: no
                        effect: deny
                        who: {groups: [clerks]}
                        actions: [decrypt.job]
                        when: {times: [{days: [sun]}]}

                    """) != nil)
        #expect(
            try conflict(encrypt + decrypt + rule("no", "deny", "groups: [clerks], subjects: [a]", "decrypt.job"))
                != nil)
    }

    @Test("a decision denies both duties to who holds both, and says by which rules")
    func enforced() throws {
        let policy = try policy(
            rule("e", "allow", "groups: [clerks]", "encrypt, show")
                + rule("d", "allow", "groups: [physicians]", "decrypt.job"), separate: Self.separate)
        for (groups, encrypts, decrypts) in [
            (["clerks"], true, false), (["physicians"], false, true), (["clerks", "physicians"], false, false),
        ] {
            let who = principal(groups: groups)
            #expect(policy.decide(.own(.encrypt, by: who)).isAllowed == encrypts)
            #expect(policy.decide(.own(.decryptJob, by: who)).isAllowed == decrypts)
        }
        let both = AccessRequest.own(.encrypt, by: principal(groups: ["clerks", "physicians"]))
        #expect(policy.decide(both).description == "denied by separation s (p.yaml:7)")
        #expect(policy.explain(both).separation?.either.map(\.name) == ["e"])
        #expect(policy.explain(both).separation?.or.map(\.name) == ["d"])
        // What is no part of either duty is not denied.
        #expect(policy.decide(both.with { $0.action = .show }).isAllowed)
    }

    /// The duties of a principal by the words of docs/policy.md, over the rules as they were made up.
    private func holds(
        _ rules: [RandomRule], _ principal: Principal, _ duty: AccessAction
    ) -> Bool {
        func parts(_ action: AccessAction) -> Set<AccessAction> {
            switch action {
            case .predict: [.predict, .encrypt, .evaluate, .decryptJob]
            case .decryptAny: [.decryptAny, .decryptJob]
            default: [action]
            }
        }
        func isFor(_ rule: RandomRule) -> Bool {
            rule.subjects?.contains(principal.subject) ?? true && rule.tenants?.contains(principal.tenant) ?? true
                && rule.groups?.contains(where: principal.groups.contains) ?? true
        }
        let mine = rules.filter(isFor)
        let denied = mine.filter {
            !$0.allows && $0.condition == nil && $0.models == nil && ($0.keySets == nil || $0.keySets == "any: true")
        }
        return mine.contains { rule in
            rule.allows
                && rule.actions.contains { action in
                    parts(action).contains(duty)
                        && !denied.contains { $0.actions.contains { parts(action).contains($0) } }
                }
        }
    }

    @Test("the checker finds what trying every principal finds, and decisions keep to it")
    func bruteForce() throws {
        var principals: [Principal] = []
        let names = RandomRule.groups
        for subject in RandomRule.subjects + ["s0"] {
            for tenant in RandomRule.tenants + ["t0"] {
                for bits in 0..<(1 << names.count) {
                    principals.append(
                        Principal(
                            issuer: "static", subject: subject, tenant: tenant,
                            groups: names.indices.filter { bits >> $0 & 1 == 1 }.map { names[$0] }))
                }
            }
        }
        var generator = SeededGenerator(11)
        var (proved, refuted) = (0, 0)
        for _ in 0..<400 {
            let rules = (0..<Int.random(in: 1...6, using: &generator)).map { _ in RandomRule(using: &generator) }
            let policy = try RandomRule.policy(rules.enumerated().map { ($0, $1) }, separate: Self.separate)
            let guilty = principals.filter { holds(rules, $0, .encrypt) && holds(rules, $0, .decryptJob) }
            switch try #require(policy.checkSeparations().first).outcome {
            case .proved:
                proved += 1
                #expect(guilty.isEmpty, "\(rules.enumerated().map { $1.text($0) }.joined())")
            case .refuted(let conflicts):
                refuted += 1
                for conflict in conflicts {
                    let who = Principal(
                        issuer: conflict.who.issuer ?? "static", subject: conflict.who.subject ?? "s0",
                        tenant: conflict.who.tenant ?? "t0", groups: conflict.who.groups)
                    #expect(guilty.contains(who), "\(conflict)")
                }
                #expect(!conflicts.isEmpty)
            case .undecided: Issue.record("a small policy is decided")
            }
            for principal in guilty {
                for action in [AccessAction.encrypt, .decryptJob, .decryptAny, .predict] {
                    #expect(!policy.decide(.own(action, by: principal)).isAllowed)
                }
            }
        }
        #expect(proved > 100 && refuted > 100, "\(proved) \(refuted)")
    }

    @Test("a policy with too many names is not decided, rather than proved, and soon")
    func bounded() throws {
        func names(_ prefix: String) -> String { (0..<1000).map { "\(prefix)\($0)" }.joined(separator: ", ") }
        let everybody = "subjects: [\(names("s"))], tenants: [\(names("t"))]"
        let rules =
            rule("e", "allow", everybody, "encrypt") + rule("d", "allow", everybody, "decrypt.job")
            + rule("no", "deny", "subjects: [\(names("s"))]", "decrypt.job")
        #expect(try outcome(rules) == .undecided)
    }
}
