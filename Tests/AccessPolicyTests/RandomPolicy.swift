import AccessPolicy
import ServiceKit
import TestSupport

/// A made-up rule over a small universe, as text and by its parts.
struct RandomRule {
    var allows: Bool
    var subjects: [String]?
    var groups: [String]?
    var tenants: [String]?
    var actions: [AccessAction]
    /// One selector as it is written; nil for none.
    var keySets: String?
    var models: String?
    var acrossTenants = false
    /// A condition under `when` or `unless`, as it is written; nil for none.
    var condition: String?

    static let subjects = ["s1", "s2"]
    static let groups = ["g1", "g2", "g3"]
    static let tenants = ["t1", "t2"]
    static let actions: [AccessAction] = [
        .register, .show, .encrypt, .evaluate, .decryptJob, .decryptAny, .predict, .destroy, .audit,
    ]

    init(using generator: inout SeededGenerator) {
        func some<T>(_ values: [T]) -> [T]? {
            guard Bool.random(using: &generator) else { return nil }
            let some = values.filter { _ in Bool.random(using: &generator) }
            return some.isEmpty ? nil : some
        }
        allows = Int.random(in: 0..<3, using: &generator) > 0
        subjects = some(Self.subjects)
        groups = some(Self.groups)
        tenants = some(Self.tenants)
        let first = Self.actions.randomElement(using: &generator) ?? .show
        actions = [first]
        if first.concernsKeySet {
            actions += Self.actions.filter {
                $0 != first && $0.concernsKeySet && Int.random(in: 0..<4, using: &generator) == 0
            }
            if allows || Bool.random(using: &generator) {
                keySets =
                    ["own: true", "myGroups: true", "groups: [g1, g2]", "ids: [ks-1]", "any: true"]
                    .randomElement(using: &generator)
            }
            if actions.allSatisfy(\.concernsModel), Bool.random(using: &generator) { models = "[m*]" }
            acrossTenants = allows && Int.random(in: 0..<4, using: &generator) == 0
            condition =
                [
                    nil, nil, "when: {networks: [10.0.0.0/8]}", "unless: {networks: [10.0.0.0/8]}",
                    "when: {times: [{days: [mon], from: 20:00, to: 06:00}]}", "when: {decryptionsLeft: 5}",
                    "unless: {audience: [shared]}",
                ]
                .randomElement(using: &generator) ?? nil
        }
    }

    func text(_ index: Int) -> String {
        var lines = ["- name: r\(index)", "  effect: \(allows ? "allow" : "deny")"]
        let who = [("subjects", subjects), ("groups", groups), ("tenants", tenants)]
            .compactMap { key, names in names.map { "\(key): [\($0.joined(separator: ", "))]" } }
        lines.append("  who: {\(who.isEmpty ? "anyone: true" : who.joined(separator: ", "))}")
        lines.append("  actions: [\(actions.map(\.rawValue).joined(separator: ", "))]")
        if let keySets { lines.append("  keySets: {\(keySets)}") }
        if let models { lines.append("  models: \(models)") }
        if acrossTenants { lines.append("  acrossTenants: true") }
        if let condition { lines.append("  \(condition)") }
        return lines.map { "  \($0)\n" }.joined()
    }

    /// Names that no other rule has follow the rules, wherever they stand.
    static func policy(_ rules: [(index: Int, rule: RandomRule)], separate: String = "") throws -> Policy {
        let text = rules.map { $0.rule.text($0.index) }.joined()
        guard !text.isEmpty else { return try Policy(text: "version: 1\nrules: []\n", name: "p.yaml") }
        return try AccessPolicyTests.policy(text, separate: separate)
    }
}

extension AccessRequest {
    /// From the same universe, with much that is not known.
    static func random(using generator: inout SeededGenerator) -> AccessRequest {
        func maybe<T>(_ values: [T]) -> T? {
            Int.random(in: 0..<3, using: &generator) == 0 ? nil : values.randomElement(using: &generator)
        }
        let principal = Principal(
            issuer: "static", subject: (RandomRule.subjects + ["s3"]).randomElement(using: &generator) ?? "",
            tenant: (RandomRule.tenants + ["t3"]).randomElement(using: &generator) ?? "",
            groups: (RandomRule.groups + ["g4"]).filter { _ in Bool.random(using: &generator) })
        let action = RandomRule.actions.randomElement(using: &generator) ?? .show
        let isForeign = Int.random(in: 0..<4, using: &generator) == 0
        return AccessRequest(
            action, by: principal,
            tenant: isForeign ? "t1" : principal.tenant,
            keySet: action == .register ? .new : maybe([.id("ks-1"), .id("ks-2"), .new]),
            owner: maybe([
                .init(kind: .user, issuer: "static", name: principal.subject),
                .init(kind: .user, issuer: "static", name: "s2"), .init(kind: .group, issuer: "static", name: "g1"),
                .init(kind: .group, issuer: "other", name: "g2"),
            ]), model: maybe(["m1", "n1"]),
            time: maybe([.init(timeIntervalSince1970: 1_795_000_000), .init(timeIntervalSince1970: 1_795_038_000)]),
            address: maybe(["10.1.1.1", "192.0.2.1"]).flatMap { IPAddress($0) },
            decryptionsLeft: maybe([.count(4), .count(5), .unlimited]), audience: maybe([.owner, .shared]))
    }
}
