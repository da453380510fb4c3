import Attestation
import AuditLog
import AuditSinks
import Foundation
import Gateway
import KeyManagement

/// The audit log: whether it can be written, whether its end is what it was, whether its sinks are there.
struct AuditChecks: Sendable {
    let checks: [DoctorCheck]

    /// - Parameters:
    ///   - keys: who signs the log.
    ///   - keyCheck: makes them.
    ///   - rows: of the metadata store, where the log's head is kept.
    init(
        _ configuration: GatewayConfiguration, keys: DoctorResult<InstallationKeys>, keyCheck: String,
        rows: DoctorResult<ExaminedRows>
    ) {
        let directory = "audit.directory"
        let (audit, path) = (configuration.audit, configuration.audit.directory)
        checks =
            [
                DoctorCheck(directory, fix: "See that the folder's device answers.") {
                    try await withoutBlocking { Self.directory(path) }
                },
                DoctorCheck(
                    "audit.log", after: [directory, StorageChecks.metadata, keyCheck],
                    fix: "Verify it without a limit of time: hkms audit verify."
                ) {
                    var head: AuditHead?
                    if let rows = rows.value {
                        let anchors = Anchors(metadata: rows, keys: try keys.get())
                        head = try await Gateway.auditHead(of: configuration.gateway, in: anchors)
                    }
                    let trusted = try [keys.get().auditKey.verificationKey] + audit.publicKeys
                    return try await withoutBlocking { [head] in try Self.log(path, trusted, head) }
                },
            ]
            + audit.sinks.map { sink in
                DoctorCheck("audit.sink.\(sink.name)", fix: "See that the sink answers.") {
                    try await Self.sink(sink, configuration)
                }
            }
    }

    private static func directory(_ path: String) -> DoctorFinding {
        guard FileManager.default.fileExists(atPath: path) else { return StorageChecks.notYet(path, "audit.directory") }
        guard access(path, R_OK | W_OK | X_OK) == 0 else {
            return .failed(
                "\(path) cannot be written to: \(String(cString: strerror(errno)))",
                fix: "Give it to the user who runs the gateway: no operation is answered without its record.")
        }
        return .ok(path)
    }

    private static func log(
        _ path: String, _ trusted: [VerificationKey], _ head: AuditHead?
    ) throws -> DoctorFinding {
        let names = try? FileManager.default.contentsOfDirectory(atPath: path).filter { $0.hasSuffix(".log") }
        guard let names, !names.isEmpty else {
            guard let head else { return .ok("no log yet; the gateway's start begins it") }
            return .failed(
                "\(path) holds no log, and it ended at line \(head.sequence)",
                fix: "Give it back its files; after a restore, start once with --accept-audit-log.")
        }
        let report: AuditReport
        do throws(AuditFault) {
            report = try AuditTail.verify(in: path, trusted: trusted, expecting: head)
        } catch {
            guard error.kind == .unsigned else { throw error }
            return .warning(
                error.description,
                fix: "Ask again: a gateway may be writing. What a crash left, its next start sets aside.")
        }
        let kept =
            head.map { "holds line \($0.sequence), which the metadata store keeps" } ?? "its head is kept nowhere"
        // Five minutes: gateways of one log may have had different clocks.
        if let last = report.lastTime, last.microseconds > AuditTime.now().microseconds + 300_000_000 {
            return .failed(
                "its last line is of \(last), and the clock says \(Format.date(Date()))", fix: "Set the clock.")
        }
        return .ok("verified from line \(report.first) to \(report.head.sequence), \(kept)")
    }

    private static func sink(
        _ sink: AuditSinkSettings, _ configuration: GatewayConfiguration
    ) async throws -> DoctorFinding {
        let made = try AuditSinkFactory.make(
            sink, installation: configuration.installation, gateway: configuration.gateway)
        await made.shutdown()
        let place: String
        let failure: String?
        switch sink.kind {
        case .syslog:
            place = sink.socket
            failure = try await withoutBlocking { LocalSocket.failure(ofDatagrams: sink.socket) }
        case .syslogTCP:
            place = "\(sink.host):\(sink.port)"
            failure = await TCPReach.failure(sink.host, sink.port)
        case .http:
            let url = URL(string: sink.url)
            let port = url?.port ?? (url?.scheme == "http" ? 80 : 443)
            place = "\(sink.host):\(port)"
            failure = await TCPReach.failure(sink.host, port)
        }
        guard let failure else { return .ok("\(place) takes connections") }
        let fix = "See that it runs and is reached from here, or correct audit.sinks."
        let detail = "\(place): \(failure)"
        return sink.isRequired ? .failed(detail + "; it is required", fix: fix) : .warning(detail, fix: fix)
    }
}
