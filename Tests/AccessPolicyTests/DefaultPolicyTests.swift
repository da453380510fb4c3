import AccessPolicy
import Attestation
import Foundation
import KeyManagement
import ServiceKit
import Testing

@Suite struct DefaultPolicyTests {
    @Test("the built-in policy is the example file")
    func file() throws {
        let file = try Policy(path: Repository.file("docs/policies/default.yaml"))
        #expect(file.digest == Policy.builtIn.digest)
        let text = try String(contentsOfFile: Repository.file("docs/policies/default.yaml"), encoding: .utf8)
        #expect(text == Policy.builtInText)
        #expect(Policy.builtIn.warnings().isEmpty)
    }

    /// As KeyManagement decides: by tenant and owner of the row.
    private func mayUse(_ requester: Requester, tenant: String, owner: KeySetOwner) -> Bool {
        requester.tenant == tenant && requester.owners.contains(owner)
    }

    @Test("it decides as ownership does")
    func likeOwnership() {
        let routes: [AccessAction] = [
            .register, .show, .publicKeyFetch, .evaluationKeysFetch, .encrypt, .evaluate, .decryptJob, .predict,
            .destroy,
        ]
        var (allowed, denied) = (0, 0)
        for subject in ["alice", "bob", "radiology"] {
            for issuer in ["static", "https://id.example"] {
                for tenant in ["default", "other"] {
                    for groups in [[], ["radiology"], ["alice", "oncology"]] {
                        let principal = Principal(issuer: issuer, subject: subject, tenant: tenant, groups: groups)
                        let requester = Requester(issuer: issuer, subject: subject, tenant: tenant, groups: groups)
                        for owner in [
                            KeySetOwner(kind: .user, issuer: "static", subject: "alice"),
                            KeySetOwner(kind: .group, issuer: "static", subject: "radiology"),
                            KeySetOwner(kind: .user, issuer: "static", subject: "radiology"),
                            KeySetOwner(kind: .group, issuer: "static", subject: "alice"),
                        ] {
                            let present = mayUse(requester, tenant: "default", owner: owner)
                            let kind: AccessRequest.Owner.Kind = owner.kind == .user ? .user : .group
                            for action in AccessAction.allCases where action.concernsKeySet {
                                let request = AccessRequest(
                                    action, by: principal, tenant: "default",
                                    keySet: action == .register ? .new : .id("ks-1"),
                                    owner: .init(kind: kind, issuer: owner.issuer, name: owner.subject))
                                let expected =
                                    action == .decryptAny
                                    ? present && owner == requester.owner : present && routes.contains(action)
                                #expect(Policy.builtIn.decide(request).isAllowed == expected, "\(request)")
                                if expected { allowed += 1 } else { denied += 1 }
                            }
                        }
                        let models = AccessRequest(.modelsList, by: principal, tenant: "default")
                        #expect(Policy.builtIn.decide(models).isAllowed)
                        #expect(!Policy.builtIn.decide(AccessRequest(.audit, by: principal, tenant: tenant)).isAllowed)
                    }
                }
            }
        }
        #expect(allowed > 50 && denied > 500, "\(allowed) \(denied)")
    }

    @Test("the example of a hospital separates its duties, and decides as docs/policy.md says")
    func hospital() throws {
        let policy = try Policy(path: Repository.file("docs/policies/hospital.yaml"))
        #expect(policy.warnings().isEmpty, "\(policy.warnings())")
        #expect(policy.checkSeparations().map(\.outcome) == [.proved, .proved])
        func decide(
            _ action: AccessAction, _ groups: String..., at time: String = "2026-11-23T09:00:00Z",
            from address: String = "10.20.7.9", left: Int = 100, tenant: String = "hospital-a"
        ) throws -> String {
            let principal = Principal(
                issuer: "static", subject: "somebody", tenant: tenant, groups: groups + ["radiology"])
            let request = AccessRequest(
                action, by: principal, tenant: tenant, keySet: action == .register ? .new : .id("ks-17"),
                owner: .init(kind: .group, issuer: "static", name: "radiology"), model: "heart-disease",
                time: try Date(time, strategy: .iso8601), address: IPAddress(address), decryptionsLeft: .count(left),
                audience: .owner)
            let decision = policy.decide(request)
            return (decision.isAllowed ? "+" : "-") + (decision.ruleName ?? "")
        }
        #expect(try decide(.encrypt, "clerks") == "+clerks-encrypt")
        #expect(try decide(.decryptJob, "clerks") == "-clerks-and-keepers-never-decrypt")
        #expect(try decide(.predict, "clerks") == "-clerks-and-keepers-never-decrypt")
        #expect(try decide(.decryptJob, "clerks", "physicians") == "-clerks-and-keepers-never-decrypt")
        #expect(try decide(.decryptJob, "physicians") == "+physicians-decrypt")
        #expect(try decide(.encrypt, "physicians") == "-")
        #expect(try decide(.decryptJob, "physicians", at: "2026-11-23T20:00:00Z") == "-")
        #expect(try decide(.decryptJob, "physicians", left: 9) == "-")
        #expect(try decide(.decryptJob, "physicians", from: "192.0.2.1") == "-nothing-from-outside")
        #expect(try decide(.decryptJob, "night-shift", at: "2026-11-24T03:00:00Z") == "+night-shift-decrypts")
        #expect(try decide(.decryptJob, "night-shift", at: "2026-11-24T03:00:00Z", from: "10.20.8.1") == "-")
        #expect(try decide(.decryptJob, "night-shift") == "-")
        #expect(try decide(.register, "keepers") == "+keepers-keep")
        #expect(try decide(.destroy, "keepers") == "+keepers-keep")
        #expect(try decide(.decryptJob, "keepers", "physicians") == "-clerks-and-keepers-never-decrypt")
        #expect(try decide(.audit, "auditors") == "+auditors-audit")
        #expect(try decide(.show, "auditors") == "-")
        #expect(try decide(.encrypt, "clerks", tenant: "hospital-b") == "-")
    }
}
