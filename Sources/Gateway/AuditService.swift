import AuditLog
import KeyManagement
import Logging
import ServiceKit
import ServiceLifecycle

/// Keeps the head of the audit log in the metadata store while the gateway runs, and closes the log at its end.
///
/// Who can write the log's files alone then cannot cut off its end unseen: the next start looks for the line that is
/// remembered here.
struct AuditService: Service {
    static let interval = Duration.seconds(10)

    let audit: AuditTrail
    let anchors: Anchors
    let gateway: String
    let logger: Logger

    /// Under which name ``Anchors`` keeps a gateway's head.
    static func anchor(of gateway: String) -> String { "audit-head.\(gateway)" }

    /// Keeps the head now: at the start, so that no moment of the log's life is without.
    func begin() async throws(KeyManagementError) {
        try await anchors.write(audit.head.description, to: Self.anchor(of: gateway))
    }

    func run() async throws {
        while !Task.isShuttingDownGracefully, !Task.isCancelled {
            await cancelWhenGracefulShutdown { try? await Task.sleep(for: Self.interval) }
            await keepHead()
        }
        _ = try? await audit.append(
            AuditRecord(caller: nil, action: "gateway.stop", decision: .allowed, rule: "allowed by the operator"))
        await keepHead()
        await audit.shutdown()
    }

    private func keepHead() async {
        do {
            try await anchors.write(audit.head.description, to: Self.anchor(of: gateway))
        } catch {
            logger.warning(
                "the head of the audit log is not kept", metadata: ["error": "\(Gateway.problem(for: error).name)"])
        }
    }
}

extension Gateway {
    /// Keeps the head of a gateway's log, or of what else has one.
    public static func keep(
        _ head: AuditHead, of gateway: String, in anchors: Anchors
    ) async throws(KeyManagementError) {
        try await anchors.write(head.description, to: AuditService.anchor(of: gateway))
    }

    /// What the audit log of this gateway must hold, from where its head was kept.
    /// - Throws: `metadataTampered` where it is none.
    public static func auditHead(
        of gateway: String, in anchors: Anchors
    ) async throws(KeyManagementError) -> AuditHead? {
        guard let text = try await anchors.read(AuditService.anchor(of: gateway)) else { return nil }
        guard let head = AuditHead(text) else { throw .metadataTampered(collection: "anchors") }
        return head
    }
}
