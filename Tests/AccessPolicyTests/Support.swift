import AccessPolicy
import Foundation
import ServiceKit
import Testing

/// One rule, or several, under the head of a policy file; rules are indented by two spaces as in a file.
func policy(_ rules: String, separate: String = "") throws -> Policy {
    let separate = separate.isEmpty ? "" : "\nseparate:\n\(separate)"
    return try Policy(text: "version: 1\nrules:\n\(rules)\(separate)\n", name: "p.yaml")
}

/// Everything that is wrong with a text.
func issues(_ text: String) -> [String] {
    do {
        _ = try Policy(text: text, name: "p.yaml")
        return []
    } catch {
        return error.issues.map(\.description)
    }
}

/// A principal of tenant `t` and issuer `static`.
func principal(
    _ subject: String = "alice", groups: [String] = [], issuer: String = "static", tenant: String = "t"
) -> Principal {
    Principal(issuer: issuer, subject: subject, tenant: tenant, groups: groups)
}

let alice = principal()

extension AccessRequest {
    /// On a key set that the principal owns, in its tenant.
    static func own(_ action: AccessAction, by principal: Principal = alice) -> AccessRequest {
        AccessRequest(
            action, by: principal, tenant: principal.tenant, keySet: action == .register ? .new : .id("ks-1"),
            owner: .init(kind: .user, issuer: principal.issuer, name: principal.subject))
    }

    func with(_ change: (inout AccessRequest) -> Void) -> AccessRequest {
        var request = self
        change(&request)
        return request
    }
}

extension AccessDecision {
    /// Of the rule or separation that decided.
    var ruleName: String? {
        switch reason {
        case .rule(let reference), .separation(let reference): reference.name
        case .noRule: nil
        }
    }
}

enum Repository {
    static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    static func file(_ path: String) -> String { folder.appendingPathComponent(path).path }
}
