import ServiceKit

/// A rule or a separation of duties, by where it stands.
public struct RuleReference: Sendable, Hashable, CustomStringConvertible {
    public let name: String
    /// The policy file as it was named, or ``Policy/builtInName``.
    public let file: String
    /// The line on which it begins, from 1.
    public let line: Int

    public var description: String { "\(name) (\(file):\(line))" }
}

/// What a policy answers, and why.
public struct AccessDecision: Sendable, Hashable {
    /// What decided.
    public enum Reason: Sendable, Hashable {
        /// The first allow rule that matches, or the first deny rule.
        case rule(RuleReference)
        /// The principal holds actions that are separated.
        case separation(RuleReference)
        /// No rule allows it.
        case noRule
    }

    public let isAllowed: Bool
    public let reason: Reason
    /// SHA-256 of the policy that decided, lower-case hex.
    public let policyDigest: String
}

extension AccessDecision: CustomStringConvertible {
    /// For the audit and the log: `allowed by rule owners (policy.yaml:4)`.
    public var description: String {
        switch reason {
        case .rule(let rule): "\(isAllowed ? "allowed" : "denied") by rule \(rule)"
        case .separation(let separation): "denied by separation \(separation)"
        case .noRule: "denied: no rule"
        }
    }
}

/// A request that the policy does not allow. Names no rule: the caller need not know the policy, the audit does.
public struct AccessDenied: Error, Sendable, ProblemConvertible {
    public let action: AccessAction
    public let decision: AccessDecision

    public var problem: Problem {
        Problem(
            name: "not-permitted", title: "Not permitted", status: 403,
            detail: "The access policy does not let this principal do this (\(action.rawValue)) here and now.",
            fix: "Ask the operator with the request id; hkms policy explain tells which rule decides.")
    }
}
