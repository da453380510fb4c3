import AccessPolicy
import AuditLog
import Logging
import ServiceLifecycle
import UnixSignals

/// Reads the access policy again at SIGHUP. What is wrong with the file is told; the policy in force then stays.
struct PolicyReloadService: Service {
    let policy: PolicyStore
    let audit: AuditTrail
    let logger: Logger

    func run() async throws {
        for await _ in await UnixSignalsSequence(trapping: .sighup).cancelOnGracefulShutdown() {
            await reload()
        }
    }

    func reload() async {
        var parameters = ["policy": policy.digest]
        var outcome = "ok"
        switch policy.reload() {
        case .unchanged: logger.notice("access policy: unchanged")
        case .replaced(let earlier, let digest):
            logger.notice("access policy: replaced", metadata: ["earlier": "\(earlier)", "policy": "\(digest)"])
            parameters = ["policy": digest, "earlier": earlier]
        case .refused:
            logger.error("\(policy.problem ?? "access policy: refused")")
            outcome = "policy-refused"
        }
        // A log that cannot be written stops operations, not the operator who takes rights away.
        _ = try? await audit.append(
            AuditRecord(
                caller: nil, action: "policy.reload", parameters: parameters,
                decision: outcome == "ok" ? .allowed : .denied, rule: "the operator's", outcome: outcome))
    }
}
