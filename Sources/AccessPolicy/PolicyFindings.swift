/// Something about a policy that is no error, and hardly what was meant.
public struct PolicyWarning: Sendable, Hashable, CustomStringConvertible {
    public let rule: RuleReference
    public let message: String

    public var description: String { "\(rule.file):\(rule.line): warning: \(rule.name): \(message)" }
}

extension Policy {
    /// Rules that can never match or never count, and names that more than one issuer may vouch for.
    ///
    /// What is found is so. Not everything is found: a rule that several others make useless together may go unnoticed.
    public func warnings() -> [PolicyWarning] {
        let denies = rules.filter { $0.effect == .deny }
        let namesIssuers = rules.contains { $0.who.issuers != nil }
        var warnings: [PolicyWarning] = []
        for rule in rules {
            func warn(_ message: String) { warnings.append(PolicyWarning(rule: rule.reference, message: message)) }
            if let why = rule.neverMatches {
                warn("never matches: \(why)")
                continue
            }
            if rule.effect == .allow { shadow(rule, denies).map(warn) }
            if namesIssuers, rule.effect == .allow, rule.who.issuers == nil,
                rule.who.subjects != nil || rule.who.groups != nil
            {
                warn("names of any issuer count, and this policy knows several; give who.issuers")
            }
        }
        return warnings
    }

    /// What deny rules leave nothing of.
    private func shadow(_ rule: Rule, _ denies: [Rule]) -> String? {
        let closure = rule.actions.closure
        let covering = denies.filter { $0.actions.intersects(closure) && $0.covers(rule) }
        var shadowed: [(action: AccessAction, by: RuleReference)] = []
        for action in rule.actions.actions {
            guard let deny = covering.first(where: { $0.actions.intersects(action.closure) }) else { continue }
            shadowed.append((action, deny.reference))
        }
        guard let first = shadowed.first else { return nil }
        if shadowed.count == rule.actions.actions.count {
            let isOne = shadowed.allSatisfy { $0.by == first.by }
            return "never allows anything: denied by \(isOne ? "rule \(first.by)" : "deny rules")"
        }
        return shadowed.map { "never allows \($0.action.rawValue): denied by rule \($0.by)" }.joined(separator: "; ")
    }
}

extension Rule {
    /// Why no request can match; nil where one may.
    fileprivate var neverMatches: String? {
        if let keySets, keySets.ids != nil, !keySets.own, !keySets.myGroups, keySets.groups == nil, !keySets.any,
            actions == [.register]
        {
            return "a key set that is registered has no id yet; select it by its owner"
        }
        if !unless.isEmpty, unless.contain(when) { return "unless holds wherever when holds" }
        return nil
    }

    /// Whether a deny rule is sure to match whatever an allow rule matches, where it is for the action.
    fileprivate func covers(_ allow: Rule) -> Bool {
        guard who.contains(allow.who), when.contain(allow.when), unless.isEmpty || unless == allow.unless else {
            return false
        }
        if let keySets, let allowed = allow.keySets, !keySets.contains(allowed) { return false }
        guard let models else { return true }
        guard let allowed = allow.models else { return models.contains { $0.text.utf8.allSatisfy { $0 == 0x2A } } }
        return allowed.allSatisfy { pattern in
            models.contains { $0 == pattern || pattern.isLiteral && $0.matches(pattern.text) }
        }
    }
}
