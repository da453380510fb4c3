/// Who may do what: rules that are read from a YAML file (docs/policy.md) and asked once a request.
///
/// What no allow rule allows is denied; what a deny rule denies is denied whatever allows it. The order of rules does
/// not matter to what is allowed.
public struct Policy: Sendable {
    let rules: [Rule]
    let separations: [Separation]
    /// The file as it was named.
    public let name: String
    /// SHA-256 of the file's bytes, lower-case hex.
    public let digest: String

    init(rules: [Rule], separations: [Separation], name: String, digest: String) {
        self.rules = rules
        self.separations = separations
        self.name = name
        self.digest = digest
    }

    /// Number of its rules.
    public var ruleCount: Int { rules.count }

    /// Answers without looking at anything but the request: the same request gets the same answer.
    public func decide(_ request: AccessRequest) -> AccessDecision {
        func decision(_ isAllowed: Bool, _ reason: AccessDecision.Reason) -> AccessDecision {
            AccessDecision(isAllowed: isAllowed, reason: reason, policyDigest: digest)
        }
        if let rule = rules.first(where: { $0.effect == .deny && $0.matches(request) }) {
            return decision(false, .rule(rule.reference))
        }
        guard let rule = rules.first(where: { $0.effect == .allow && $0.matches(request) }) else {
            return decision(false, .noRule)
        }
        if let separation = brokenSeparation(request) { return decision(false, .separation(separation.reference)) }
        return decision(true, .rule(rule.reference))
    }

    /// - Returns: the decision, for the audit.
    /// - Throws: ``AccessDenied``, which is the answer to the caller.
    @discardableResult
    public func require(_ request: AccessRequest) throws(AccessDenied) -> AccessDecision {
        let decision = decide(request)
        guard decision.isAllowed else { throw AccessDenied(action: request.action, decision: decision) }
        return decision
    }
}
