import AuditLog
import KeyManagement
import Logging
import ServerKit
import ServiceKit
import Synchronization
import TransportSecurity

/// Answer of `GET /readyz`. Who asks need not be anybody: it names systems and kinds of failure, never addresses,
/// paths or what a KMS said; those are in the log.
struct Readiness: Encodable, Sendable {
    let ready: Bool
    let problems: [String]
    /// What does not keep the gateway from working.
    let warnings: [String]
}

/// One examination at a time, whose answer all get who ask meanwhile: so many probes cost the KMS and the stores no more
/// than one.
final class SharedReadiness: Sendable {
    private let running = Mutex<Task<Readiness, Never>?>(nil)
    private let told = Mutex<[String]>([])

    /// Whether this is not what was told last.
    func isNews(_ problems: [String]) -> Bool {
        told.withLock { told in
            defer { told = problems }
            return told != problems
        }
    }

    func answer(_ examine: @escaping @Sendable () async -> Readiness) async -> Readiness {
        let task = running.withLock { running in
            if let running { return running }
            let task = Task {
                let readiness = await examine()
                self.running.withLock { $0 = nil }
                return readiness
            }
            running = task
            return task
        }
        return await task.value
    }
}

extension Gateway {
    func examine(_ revocation: RevocationLists?) async -> Readiness {
        var problems = requests.isDraining ? ["shutting down"] : []
        if problems.isEmpty {
            let systems = await manager.unavailableSystems()
            // Once for each change: whoever asks often fills no log.
            let summaries = systems.map { "\($0.name): \($0.summary)" }
            if readiness.isNews(summaries) {
                for system in systems {
                    logger.warning("a system cannot be used: \(system.name): \(system.detail)")
                }
                if systems.isEmpty { logger.notice("KMS and stores can be used") }
            }
            problems = await summaries + authenticator.problems()
            problems += revocation?.problems(at: clock()) ?? []
            do throws(AuditError) { try await audit.checkHealth() } catch {
                if case .unwritable(_, let reason) = error {
                    problems.append("audit log: cannot be written: \(reason)")
                } else {
                    problems.append("audit log: \(error)")
                }
            }
        }
        var warnings: [String] = []
        if policy.problem != nil { warnings.append("access policy: the file is not usable, the earlier one counts") }
        for sink in audit.sinks where sink.failure != nil || sink.dropped > 0 {
            warnings.append("audit sink \(sink.name): \(sink.waiting) records wait, \(sink.dropped) were dropped")
        }
        return Readiness(ready: problems.isEmpty, problems: problems, warnings: warnings)
    }
}
