import Attestation
import AuditLog
import Foundation
import SecretMemory
import ServiceKit
import TestSupport
import Testing

/// A folder for a log that lives as long as this object, with the keys of an installation.
final class Bench: Sendable {
    let folder: String
    let key: SigningKey
    let identifierKey: DigestKey
    private let isOwner: Bool

    /// - Parameter folder: one that somebody else removes.
    init(in folder: String? = nil) throws {
        SecretMemory.lockPolicy = .preferred
        isOwner = folder == nil
        self.folder = folder ?? NSTemporaryDirectory() + "/hkms-audit-\(UUID().uuidString)"
        key = try Self.key(7)
        identifierKey = DigestKey(secret: try SecretBytes(copying: [UInt8](repeating: 8, count: 32)))
    }

    deinit {
        if isOwner { try? FileManager.default.removeItem(atPath: folder) }
    }

    static func key(_ byte: UInt8) throws -> SigningKey {
        try SigningKey(seed: SecretBytes(copying: [UInt8](repeating: byte, count: 32)))
    }

    func open(
        fileBytes: Int = 64 << 20, hashed: Set<AuditIdentifierPolicy.Field> = [], key: SigningKey? = nil,
        earlier: [VerificationKey] = [], queued: Int = 10_000, sinks: [any AuditSink] = [],
        expecting: AuditHead? = nil, installation: String = "test"
    ) throws(AuditError) -> AuditTrail {
        try AuditTrail(
            AuditConfiguration(
                directory: folder, fileBytes: fileBytes, hashed: hashed, publicKeys: earlier, queued: queued),
            installation: installation, gateway: "gateway-1", key: key ?? self.key, identifierKey: identifierKey,
            sinks: sinks, expecting: expecting, pause: .zero)
    }

    /// A log of some records, each in a batch of its own, and its head.
    @discardableResult
    func write(_ count: Int, fileBytes: Int = 64 << 20) async throws -> AuditHead {
        let trail = try open(fileBytes: fileBytes)
        for number in 0..<count { try await trail.append(Self.record(number)) }
        await trail.shutdown()
        return trail.head
    }

    static func record(_ number: Int, action: String = "decrypt.job") -> AuditRecord {
        AuditRecord(
            caller: .init(Principal(issuer: "static", subject: "alice", tenant: "default", groups: ["radiology"])),
            action: action, resource: .init(keySet: "ks-1", keySetVersion: 1, model: "heart-disease"),
            parameters: ["number": "\(number)"], ciphertexts: .init([Digest(of: [1])]), decision: .allowed,
            rule: "owner", requestID: "r-\(number)", traceID: "0af7651916cd43dd8448eb211c80319c", microseconds: 1234)
    }

    // MARK: - Files

    func path(_ name: String) -> String { folder + "/" + name }

    /// Names of the log's files in order.
    func names() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".log") }.sorted()
    }

    func torn() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("torn-") }.sorted()
    }

    func read(_ name: String) throws -> [UInt8] { Array(try Data(contentsOf: URL(fileURLWithPath: path(name)))) }

    func replace(_ name: String, _ bytes: some Sequence<UInt8>) throws {
        // A file that is emptied and written again is flushed by ext4, which thousands of changes would wait for.
        unlink(path(name))
        try Data(bytes).write(to: URL(fileURLWithPath: path(name)))
    }

    /// Lines of a file, each with its newline.
    func lines(_ name: String) throws -> [[UInt8]] {
        var lines: [[UInt8]] = []
        for byte in try read(name) {
            if lines.isEmpty || lines[lines.count - 1].last == 10 { lines.append([]) }
            lines[lines.count - 1].append(byte)
        }
        return lines
    }

    // MARK: - Verifying

    func verify(
        trusted: [VerificationKey]? = nil, after: AuditHead? = nil, expecting: [AuditHead] = [],
        visit: (AuditLine) -> Void = { _ in }
    ) throws(AuditFault) -> AuditReport {
        try AuditVerification(trusted: trusted ?? [key.verificationKey], after: after, expecting: expecting)
            .run(AuditVerification.files(in: folder), visit: visit)
    }

    /// The kind of the first fault; nil for a log that verifies.
    func fault(
        trusted: [VerificationKey]? = nil, after: AuditHead? = nil, expecting: [AuditHead] = []
    ) -> AuditFault.Kind? {
        do throws(AuditFault) {
            _ = try verify(trusted: trusted, after: after, expecting: expecting)
            return nil
        } catch {
            return error.kind
        }
    }

    /// The operations of the log by the number that ``record(_:action:)`` gave them, in order.
    func numbers() throws -> [Int] {
        var numbers: [Int] = []
        _ = try verify { line in
            if case .operation(let record) = line.content {
                numbers.append(record.parameters["number"].flatMap { Int($0) } ?? -1)
            }
        }
        return numbers
    }
}

/// Texts that have broken logs, terminals and their readers.
let nastyTexts = [
    "", "\n{\"seq\":1}\n", "\r\nadmin logged in", "\u{0}", "\u{1B}[2J\u{1B}]0;x\u{7}", "\u{202E}gnp.exe\u{202C}",
    "\u{2028}\u{2029}\u{85}", "\",\"decision\":\"allowed\",\"x\":\"", "\\", "\\\\\"", "\\u0022", "a\u{301}", "🏥👩‍⚕️",
    "\u{FEFF}\u{FFFF}\u{10FFFF}", "${jndi:ldap://x}", "<script>", "%0a%0d", "\u{7F}\u{9B}31m", "ks-1 ", "{}", "[]",
]
