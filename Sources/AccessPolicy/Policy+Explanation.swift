/// How a policy came to its answer.
public struct PolicyExplanation: Sendable, Hashable {
    /// What one rule has to do with it.
    public struct RuleOutcome: Sendable, Hashable {
        public let rule: RuleReference
        /// An allow rule; else a deny rule.
        public let allows: Bool
        /// The first reason why it does not match; nil where it matches.
        public let mismatch: String?
    }

    /// Which rules give a principal both sides of a separation.
    public struct BrokenSeparation: Sendable, Hashable {
        public let separation: RuleReference
        public let either: [RuleReference]
        public let or: [RuleReference]
    }

    public let decision: AccessDecision
    /// In the order of the file.
    public let rules: [RuleOutcome]
    /// Where a separation decides.
    public let separation: BrokenSeparation?
}

extension Policy {
    /// Decides, and says of every rule why it does or does not match.
    public func explain(_ request: AccessRequest) -> PolicyExplanation {
        let decision = decide(request)
        var broken: PolicyExplanation.BrokenSeparation?
        if case .separation = decision.reason, let separation = brokenSeparation(request) {
            let allowing = rules.filter { $0.effect == .allow && $0.who.contains(request.principal) }
            let taken = taken(from: request.principal)
            func giving(_ side: ActionSet) -> [RuleReference] {
                allowing.filter { $0.left(by: taken).intersects(side) }.map(\.reference)
            }
            broken = .init(
                separation: separation.reference, either: giving(separation.either), or: giving(separation.or))
        }
        return PolicyExplanation(
            decision: decision,
            rules: rules.map {
                .init(rule: $0.reference, allows: $0.effect == .allow, mismatch: $0.mismatch(request)?.text)
            }, separation: broken)
    }
}
