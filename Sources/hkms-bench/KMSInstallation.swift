import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import RLWE
import SecretMemory
import ServiceKit
import StorageFiles
import StorageSQLite
import TrustedKMSSoftware

/// An installation as a gateway has it, in a folder that goes with it: stores in files, arithmetic on a pool of threads.
final class KMSInstallation: Sendable {
    let kms: CompletedKMS
    let key: KMSKeyName
    let manager: KeyManager
    private let folder: URL
    private let requester = Requester(issuer: "bench", subject: "bench", tenant: "default", groups: [])
    private let pool: ComputePool

    /// A key set with a ciphertext of its own.
    struct Lane: Sendable {
        let keySet: String
        let ciphertext: ReceivedCiphertext
    }

    init(_ connect: KMSBackend.Connect) async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-bench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(
            at: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        guard let key = KMSKeyName("hkms-bench-\(UUID().uuidString.lowercased())") else {
            throw BenchmarkError.notPrepared
        }
        self.key = key
        kms = CompletedKMS(try await connect(folder))
        try await kms.createKey(key)
        // The installation's own keys are no part of what is measured, and not every KMS seals them.
        let other = try SoftwareKMS.create(
            at: folder.appendingPathComponent("installation.json").path, passphrase: try SecretBytes(randomCount: 16),
            developmentOnly: true, scryptCost: .minimum)
        try await other.createKey(key)
        let (keys, _) = try await InstallationKeys.create(
            installation: "bench", tenant: "default", kms: KMSDirectory(other, key: key))
        let threads = ProcessInfo.processInfo.activeProcessorCount
        pool = ComputePool(numberOfThreads: threads, maximumQueued: 256)
        Parallelism.width = threads
        manager = KeyManager(
            configuration: .init(installation: "bench", gateway: "bench", tenant: "default"),
            keys: keys, kms: KMSDirectory(kms, key: key),
            objects: try FileObjectStore(directory: folder.appendingPathComponent("objects").path),
            metadata: try SQLiteMetadataStore(path: folder.appendingPathComponent("metadata.sqlite").path),
            compute: BenchCompute(pool: pool), logger: Logger(label: "bench") { _ in SwiftLogNoOpLogHandler() })
    }

    /// Removes everything, the key in the KMS too.
    func end() async {
        try? await kms.destroyKey(key)
        await kms.shutdown()
        await pool.shutdown()
        try? FileManager.default.removeItem(at: folder)
    }

    func lanes(_ count: Int, _ preset: ParameterPreset, _ mode: ProtectionMode) async throws -> [Lane] {
        var lanes: [Lane] = []
        for _ in 0..<count {
            let request = RegistrationRequest(
                requestID: UUID().uuidString, mode: mode, owner: requester.owner, parameters: preset.parameters,
                evaluationKeys: [], profile: nil, policy: .unflooded(.ckks))
            let keySet = try await manager.register(request, as: requester).keySet.manifest.keySet
            let values = (0..<preset.parameters.slotCount).map { Double($0 % 17) / 17 }
            let encrypted = try await manager.encrypt(
                [.init(values.map { .init($0) })], under: keySet, as: requester)
            guard let ciphertext = encrypted.ciphertexts.first else { throw BenchmarkError.notPrepared }
            lanes.append(Lane(keySet: keySet, ciphertext: ReceivedCiphertext(ciphertext)))
        }
        return lanes
    }

    /// - Returns: milliseconds of the step that asks the KMS.
    @discardableResult
    func decrypt(_ lane: Lane) async throws -> Double {
        let result = try await manager.decrypt(
            [lane.ciphertext], of: lane.keySet, allowsUnvouched: false, as: requester)
        return result.timings["open"]
    }
}

/// The gateway's way to its pool.
private struct BenchCompute: ComputeExecutor {
    let pool: ComputePool

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        do {
            return try await pool.run { try Parallelism.occupying(body) }
        } catch is ComputePoolError {
            throw ComputeSaturated()
        }
    }
}
