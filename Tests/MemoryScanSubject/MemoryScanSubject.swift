import Attestation
import CWipingFree
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import RLWE
import SecretKeys
import SecretMemory
import StorageFiles
import StorageSQLite
import Synchronization
import TestSupport
import TrustedKMSOpenBao
import TrustedKMSSoftware

/// Registers and decrypts with the flows, stores and KMS adapters of the gateway, one command a line, and holds
/// still where it is told to, so that `MemoryScanTests` can look for secrets in this process while it has them and
/// after. What the scan shall find goes to file descriptor 3, straight from locked memory.
///
///     register MODE ID [hold N]        ok KEYSET
///     encrypt KEYSET                   ok
///     decrypt KEYSET TIMES [hold N | cancel N | wrong]
///
/// An error is answered as `error TYPE`. `hold N` stops before the N-th piece of HE arithmetic, answers `held` and
/// waits for a line; `cancel N` does the same and then cancels the operation. `wrong` lets the KMS open what was sealed,
/// and give something else.
@main struct MemoryScanSubject {
    static func main() async throws {
        guard hkms_wiping_free_is_active() == 1 || CommandLine.arguments.contains("--plain-free") else { exit(3) }
        let arguments = CommandLine.arguments
        guard arguments.count >= 3 else { exit(64) }
        let subject = try await MemoryScanSubject(folder: arguments[1], kms: arguments[2])
        answer("ready")
        while let line = readLine() {
            do {
                answer(try await subject.run(line.split(separator: " ").map(String.init)))
            } catch {
                answer("error \(type(of: error))")
            }
        }
    }

    private let manager: KeyManager
    private let gate = Gate()
    private let requester = Requester(issuer: "static", subject: "alice", tenant: "default", groups: [])
    private let parameters = ParameterPreset.named("ckks-12")!.parameters

    private init(folder: String, kms name: String) async throws {
        SecretMemory.forbidCoreDumps()
        guard let key = KMSKeyName("seeds") else { exit(64) }
        let kms: any TrustedKMS
        if name == "software" {
            kms = try SoftwareKMS.create(
                at: folder + "/keystore.json", passphrase: SecretBytes(copying: "0123456789abcdef".utf8),
                developmentOnly: true, scryptCost: .minimum)
            try await kms.createKey(key)
        } else {
            let environment = ProcessInfo.processInfo.environment
            kms = try OpenBaoKMS(
                OpenBaoConfiguration(
                    address: environment["SUBJECT_ADDRESS"] ?? "", authentication: .tokenFile(folder + "/token"),
                    caCertificateFile: environment["HKMS_TEST_OPENBAO_CA"],
                    requestTimeout: .seconds(Int(environment["SUBJECT_TIMEOUT"] ?? "") ?? 30), retryTime: .zero))
        }
        let (keys, _) = try await InstallationKeys.create(
            installation: "scan", tenant: "default", kms: KMSDirectory(kms, key: key))
        manager = KeyManager(
            configuration: .init(installation: "scan", gateway: "gateway-1", tenant: "default"),
            keys: keys, kms: KMSDirectory(TellingKMS(inner: kms), key: key),
            objects: try FileObjectStore(directory: folder + "/objects"),
            metadata: try SQLiteMetadataStore(path: folder + "/metadata.sqlite"), compute: gate,
            logger: Logger(label: "subject") { _ in SwiftLogNoOpLogHandler() })
    }

    private func run(_ words: [String]) async throws -> String {
        guard words.count >= 2 else { return "error usage" }
        if words[0] == "plant" { return try plant(words[1]) }
        let cancels = words.contains("cancel")
        TellingKMS.isWrong.store(words.contains("wrong"), ordering: .relaxed)
        gate.arm(cancels || words.contains("hold") ? Int(words[words.count - 1]) ?? 1 : 0)
        let task = Task { try await perform(words) }
        if cancels { gate.onRelease { task.cancel() } }
        return try await task.value
    }

    private func perform(_ words: [String]) async throws -> String {
        switch words[0] {
        case "register":
            gate.begin()
            let result = try await manager.register(
                RegistrationRequest(
                    requestID: words[2], mode: ProtectionMode(rawValue: words[1]) ?? .direct, owner: requester.owner,
                    parameters: parameters, evaluationKeys: [EvaluationKeyID(kind: .relinearization, level: 2)],
                    profile: nil, policy: .raw()),
                as: requester)
            return "ok \(result.keySet.manifest.keySet)"
        case "decrypt":
            let encrypted = try await manager.encrypt(
                [EncryptionInput(real: [1, 2, 3])], under: words[1], as: requester
            ).ciphertexts
            gate.begin()
            let times = Int(words[2]) ?? 1
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<times {
                    group.addTask {
                        _ = try await manager.decrypt(encrypted, of: words[1], count: 3, as: requester)
                    }
                }
                try await group.waitForAll()
            }
            return "ok"
        default: return "error usage"
        }
    }

    /// Leaves a secret in memory in one form and holds, to show that the scan would see it there.
    private func plant(_ form: String) throws -> String {
        let secret = try SecretBytes(randomCount: 32)
        let raw = secret.withUnsafeBytes { Array($0) }
        TellingKMS.tell(secret)
        let planted: [UInt8]
        switch form {
        case "raw": planted = [7] + raw
        case "half": planted = Array(raw[9..<25])
        case "base64": planted = Array(Data(raw).base64EncodedString().utf8)
        case "base64+1": planted = Array(Data([1] + raw).base64EncodedString().utf8)
        case "base64+2": planted = Array(Data([1, 2] + raw).base64EncodedString().utf8)
        case "hex": planted = Array(raw.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined().utf8)
        case "ipad": planted = raw.map { $0 ^ 0x36 }
        case "opad": planted = raw.map { $0 ^ 0x5C }
        case "row", "special", "expanded":
            guard let seed = Seed(secret) else { return "error seed" }
            let context = try EncryptionContext.shared(parameters)
            let key = try seed.secretKey(context)
            let moduli = context.keyBasis(level: 1).moduli
            let modulus = form == "special" ? moduli[moduli.count - 1] : moduli[0]
            var row = [UInt64](repeating: 0, count: context.degree)
            row.withUnsafeMutableBufferPointer {
                key.expand(modulus, into: $0.baseAddress!)
                if form == "expanded" { modulus.inverseTransform($0.baseAddress!) }
            }
            planted = row.withUnsafeBytes { Array($0) }
        default: return "error usage"
        }
        Self.answer("held")
        _ = readLine()
        return planted.isEmpty ? "error" : "ok"
    }

    static func answer(_ line: String) {
        let bytes = Array((line + "\n").utf8)
        _ = write(1, bytes, bytes.count)
    }
}

/// Runs arithmetic on the caller's thread, and stops before one piece of it.
private final class Gate: ComputeExecutor {
    private struct State {
        var armed = 0
        var left = 0
        var onRelease: (@Sendable () -> Void)?
    }
    private let state = Mutex(State())

    /// 0 for never.
    func arm(_ count: Int) { state.withLock { $0 = State(armed: count) } }

    func onRelease(_ body: @escaping @Sendable () -> Void) { state.withLock { $0.onRelease = body } }

    /// Counting starts here: what a command does before it is not meant.
    func begin() { state.withLock { $0.left = $0.armed } }

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        let stops = state.withLock { state in
            guard state.left > 0 else { return false }
            state.left -= 1
            return state.left == 0
        }
        if stops {
            MemoryScanSubject.answer("held")
            _ = readLine()
            state.withLock { $0.onRelease }?()
        }
        try Task.checkCancellation()
        return try body()
    }
}

/// Tells the test what it shall look for.
private struct TellingKMS: ForwardingKMS {
    /// Whether `open` gives other bytes than those that were sealed.
    static let isWrong = Atomic(false)

    let inner: any TrustedKMS

    static func tell(_ secret: borrowing SecretBytes) {
        secret.withUnsafeBytes { _ = write(3, $0.baseAddress, $0.count) }
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        Self.tell(secret)
        return try await inner.seal(secret, under: key, context: context, as: caller)
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let secret = try await inner.open(sealed, under: key, context: context, as: caller)
        Self.tell(secret)
        guard Self.isWrong.load(ordering: .relaxed) else { return secret }
        let other = try await random(count: 32)
        Self.tell(other)
        return other
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        let dataKey = try await inner.generateDataKey(under: key, context: context, as: caller)
        Self.tell(dataKey.plaintext)
        return dataKey
    }
}
