import AccessPolicy
import Foundation
import ServiceKit

/// Reads a policy, looks it over, and asks it: whatever it says, a request has one answer, the one that is explained,
/// and what is not known allows nothing that it would not allow if it were known.
func readAccessPolicy(_ bytes: [UInt8]) {
    guard let text = String(validating: bytes, as: UTF8.self),
        let policy = try? Policy(text: text, name: "policy.yaml")
    else { return }
    _ = policy.warnings()
    let guilty = policy.checkSeparations().contains { $0.outcome != .proved }
    let alice = Principal(issuer: "static", subject: "alice", tenant: "t", groups: ["radiology", "clerks"])
    for action in AccessAction.allCases {
        let bare = AccessRequest(action, by: alice, tenant: "t")
        var full = bare
        full.keySet = .id("ks-1")
        full.owner = .init(kind: .group, issuer: "static", name: "radiology")
        full.model = "heart-disease"
        full.time = Date(timeIntervalSince1970: 1_795_000_000)
        full.address = IPAddress("10.20.7.9")
        full.decryptionsLeft = .count(100)
        full.audience = .owner
        var foreign = full
        foreign.tenant = "u"
        for request in [bare, full, foreign] {
            let explanation = policy.explain(request)
            precondition(policy.decide(request) == explanation.decision, "a decision is the one that is explained")
            let matching = explanation.rules.filter { $0.mismatch == nil }
            guard explanation.decision.isAllowed else {
                if case .separation = explanation.decision.reason {
                    precondition(guilty, "what was proved is not broken")
                }
                continue
            }
            precondition(!matching.isEmpty && matching.allSatisfy(\.allows), "a deny rule wins")
        }
        if policy.decide(bare).isAllowed {
            precondition(policy.decide(full).isAllowed, "to know more denies nothing")
        }
    }
}
