import AccessPolicy
import TestSupport
import Testing

/// What holds of every policy, tried on made-up ones.
@Suite struct PropertyTests {
    private static let separations = """
          - {name: x, either: [encrypt], or: [decrypt.job]}
          - {name: y, either: [register, destroy], or: [decrypt.job]}
        """

    private func check(
        _ seed: UInt64, _ policies: Int = 150,
        _ body: ([(index: Int, rule: RandomRule)], inout SeededGenerator) throws -> Void
    ) rethrows {
        var generator = SeededGenerator(seed)
        for _ in 0..<policies {
            let count = Int.random(in: 0...6, using: &generator)
            let rules = (0..<count).map { (index: $0, rule: RandomRule(using: &generator)) }
            try body(rules, &generator)
        }
    }

    @Test("the same request gets the same answer, allowed only by an allow rule that matches, without a deny that does")
    func total() throws {
        var (allowed, denied, none) = (0, 0, 0)
        try check(1) { rules, generator in
            let policy = try RandomRule.policy(rules)
            for _ in 0..<60 {
                let request = AccessRequest.random(using: &generator)
                let explanation = policy.explain(request)
                #expect(
                    policy.decide(request) == explanation.decision && policy.decide(request) == explanation.decision)
                let matching = explanation.rules.filter { $0.mismatch == nil }
                let isAllowed = matching.contains(where: \.allows) && matching.allSatisfy(\.allows)
                #expect(explanation.decision.isAllowed == isAllowed)
                switch explanation.decision.reason {
                case .rule: if isAllowed { allowed += 1 } else { denied += 1 }
                case .noRule:
                    none += 1
                    #expect(matching.isEmpty)
                case .separation: Issue.record("there is none")
                }
            }
        }
        // Each answer was tried.
        #expect(allowed > 200 && denied > 200 && none > 200, "\(allowed) \(denied) \(none)")
    }

    @Test("a rule more: a deny never allows more, an allow never allows less unless it breaks a separation")
    func monotone() throws {
        var (more, less, separated) = (0, 0, 0)
        for separate in ["", Self.separations] {
            try check(2) { rules, generator in
                let added = RandomRule(using: &generator)
                let place = Int.random(in: 0...rules.count, using: &generator)
                var longer = rules
                longer.insert((index: rules.count, rule: added), at: place)
                let one = try RandomRule.policy(rules, separate: rules.isEmpty ? "" : separate)
                let other = try RandomRule.policy(longer, separate: separate)
                for _ in 0..<60 {
                    let request = AccessRequest.random(using: &generator)
                    let (before, after) = (one.decide(request), other.decide(request))
                    if after.isAllowed, !before.isAllowed {
                        if added.allows {
                            more += 1
                        } else if case .separation = before.reason {
                            // A deny rule took one of the two duties away, so that the other is one's own again.
                            separated += 1
                        } else {
                            Issue.record("\(request)")
                        }
                    }
                    if !after.isAllowed, before.isAllowed {
                        if !added.allows {
                            less += 1
                        } else if case .separation = after.reason {
                            separated += 1
                        } else {
                            Issue.record("\(request)")
                        }
                    }
                }
            }
        }
        #expect(more > 50 && less > 5 && separated > 0, "\(more) \(less) \(separated)")
    }

    @Test("the order of rules does not matter")
    func order() throws {
        try check(3) { rules, generator in
            let one = try RandomRule.policy(rules, separate: rules.isEmpty ? "" : Self.separations)
            let other = try RandomRule.policy(
                rules.shuffled(using: &generator), separate: rules.isEmpty ? "" : Self.separations)
            for _ in 0..<60 {
                let request = AccessRequest.random(using: &generator)
                #expect(one.decide(request).isAllowed == other.decide(request).isAllowed)
            }
        }
    }

    @Test("nothing of another tenant is allowed but by a rule that says so")
    func tenants() throws {
        var across = 0
        try check(4) { rules, generator in
            let policy = try RandomRule.policy(rules)
            for _ in 0..<60 {
                let request = AccessRequest.random(using: &generator)
                let decision = policy.decide(request)
                guard decision.isAllowed, request.tenant != request.principal.tenant else { continue }
                across += 1
                let rule = rules.first { "r\($0.index)" == decision.ruleName }
                #expect(rule?.rule.acrossTenants == true)
            }
        }
        #expect(across > 5, "\(across)")
    }

    @Test("to know more of a request never denies what was allowed")
    func knowledge() throws {
        try check(5) { rules, generator in
            let policy = try RandomRule.policy(rules)
            for _ in 0..<60 {
                let full = AccessRequest.random(using: &generator)
                let less = full.with {
                    switch Int.random(in: 0..<6, using: &generator) {
                    case 0: $0.keySet = nil
                    case 1: $0.owner = nil
                    case 2: $0.model = nil
                    case 3: $0.address = nil
                    case 4: $0.time = nil
                    default: $0.decryptionsLeft = nil
                    }
                }
                if policy.decide(less).isAllowed { #expect(policy.decide(full).isAllowed, "\(full)") }
            }
        }
    }

    @Test("a rule that is said never to allow anything can be left out")
    func warnings() throws {
        var found = 0
        try check(6, 800) { rules, generator in
            let policy = try RandomRule.policy(rules)
            for warning in policy.warnings() where warning.message.hasPrefix("never") {
                found += 1
                let whole =
                    warning.message.hasPrefix("never allows anything") || warning.message.hasPrefix("never match")
                for _ in 0..<200 {
                    let decision = policy.decide(.random(using: &generator))
                    guard decision.isAllowed, decision.ruleName == warning.rule.name else { continue }
                    #expect(!whole, "\(warning)")
                }
            }
        }
        #expect(found > 20, "\(found)")
    }
}
