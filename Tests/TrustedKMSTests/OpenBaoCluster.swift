import Foundation
import TestSupport
import TrustedKMSOpenBao

/// Three real OpenBao servers with Raft storage over TLS, which scripts/lib/openbao-raft.sh starts and kills.
final class OpenBaoCluster: Sendable {
    let addresses: [String]
    let token: String
    var ca: String { path + "/pki/ca.crt" }

    private let folder: TemporaryFolder
    private let path: String

    private static let script = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../scripts/lib/openbao-raft.sh").path

    private init(folder: TemporaryFolder, path: String) throws {
        self.folder = folder
        self.path = path
        addresses = try String(contentsOfFile: path + "/addresses", encoding: .utf8)
            .split(separator: "\n").map(String.init)
        token = try String(contentsOfFile: path + "/token", encoding: .utf8)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// Runs `body` with a cluster of its own, which is gone afterwards whatever happens.
    static func with(_ body: (OpenBaoCluster) async throws -> Void) async throws {
        let binary = ProcessInfo.processInfo.environment["HKMS_TEST_OPENBAO_BINARY"] ?? ""
        guard !binary.isEmpty else {
            throw ConformanceFailure("HKMS_TEST_OPENBAO_BINARY is not set: run these tests with scripts/test")
        }
        let folder = try TemporaryFolder()
        // Where scripts/test finds it, should this process be killed.
        let path =
            ProcessInfo.processInfo.environment["HKMS_TEST_CLUSTERS"].map { "\($0)/\(UUID().uuidString)" }
            ?? folder.file("cluster")
        do {
            try await run(folder, ["start", path, binary])
            try await body(try OpenBaoCluster(folder: folder, path: path))
        } catch {
            _ = try? await run(folder, ["stop", path])
            throw error
        }
        try await run(folder, ["stop", path])
        try FileManager.default.removeItem(atPath: path)
    }

    /// Kills the active server without a warning.
    /// - Returns: its number.
    func killLeader() async throws -> String {
        try await Self.run(folder, ["kill-leader", path])
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    func restart(_ node: String) async throws {
        try await Self.run(folder, ["restart", path, node])
    }

    /// One call as root.
    @discardableResult
    func administer(_ method: String, _ path: String, _ body: [String: any Sendable] = [:]) async throws -> String {
        let text = String(decoding: try JSONSerialization.data(withJSONObject: body), as: UTF8.self)
        return try await Self.run(folder, ["api", self.path, method, path, text])
    }

    func configuration(
        requestTimeout: Duration = .seconds(5), retryTime: Duration, delegation: OpenBaoDelegation? = nil
    ) throws -> OpenBaoConfiguration {
        try OpenBaoConfiguration(
            addresses: addresses, authentication: .token(OpenBaoTestServer.token(token)), delegation: delegation,
            caCertificateFile: ca, requestTimeout: requestTimeout, retryTime: retryTime)
    }

    /// Runs the script; its streams are files, as the servers inherit them.
    @discardableResult
    private static func run(_ folder: TemporaryFolder, _ arguments: [String]) async throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = [script] + arguments
        let output = folder.file("out-\(UUID().uuidString)")
        let log = folder.file("log")
        for file in [output, log] where !FileManager.default.fileExists(atPath: file) {
            try Data().write(to: URL(fileURLWithPath: file))
        }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: output)
        let errors = FileHandle(forWritingAtPath: log)
        _ = try errors?.seekToEnd()
        process.standardError = errors
        let status = try await withCheckedThrowingContinuation {
            (continuation: CheckedContinuation<Int32, any Error>) in
            process.terminationHandler = { continuation.resume(returning: $0.terminationStatus) }
            do { try process.run() } catch { continuation.resume(throwing: error) }
        }
        guard status == 0 else {
            let text = (try? String(contentsOfFile: log, encoding: .utf8)) ?? ""
            throw ConformanceFailure("openbao-raft.sh \(arguments[0]): \(status) \(text.suffix(2000))")
        }
        return try String(contentsOfFile: output, encoding: .utf8)
    }
}
