import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import SecretMemory
import StorageFiles
import StorageSQLite
import Testing
import TrustedKMSSoftware

/// An installation with two KMSs, `old` and `new`, whose ports fail as planned.
final class RewrapBench: Sendable {
    /// In memory where there is a file system for it: how durable files are is not asked here.
    let folder: URL
    let plan = FaultPlan()
    let old: SoftwareKMS
    let new: SoftwareKMS
    let objects: FileObjectStore
    let metadata: SQLiteMetadataStore
    let keys: InstallationKeys
    let alice = Requester(issuer: "static", subject: "alice", tenant: "default", groups: [])

    static let oldKey = KMSKeyName("old-seeds")!
    static let newKey = KMSKeyName("new-seeds")!
    static let migration = RewrapRequest(kind: .migrate, from: "old", to: "new", patience: .zero)
    static let rotation = RewrapRequest(kind: .rotate, from: "old", to: "old", patience: .zero)

    init() async throws {
        let memory = URL(fileURLWithPath: "/dev/shm")
        let root =
            FileManager.default.isWritableFile(atPath: memory.path) ? memory : FileManager.default.temporaryDirectory
        folder = root.appendingPathComponent("hkms-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        old = try Self.software(folder.appendingPathComponent("old.json"))
        new = try Self.software(folder.appendingPathComponent("new.json"))
        try await old.createKey(Self.oldKey)
        try await new.createKey(Self.newKey)
        objects = try FileObjectStore(directory: folder.appendingPathComponent("objects").path)
        metadata = try SQLiteMetadataStore(path: folder.appendingPathComponent("metadata.sqlite").path)
        (keys, _) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(old, key: Self.oldKey))
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    private static func software(_ file: URL) throws -> SoftwareKMS {
        try SoftwareKMS.create(
            at: file.path, passphrase: SecretBytes(randomCount: 16), developmentOnly: true, scryptCost: .minimum)
    }

    /// A process of before the migration: `old` is its only KMS.
    func before(_ placement: KeyPlacement = .shared, wrapping: (any TrustedKMS)? = nil) -> KeyManager {
        manager(
            KMSDirectory(
                ConfiguredKMS(name: "old", FaultyKMS(wrapping ?? old, plan), key: Self.oldKey, placement: placement)))
    }

    /// One that migrates: `new` seals what is new.
    func after(_ placement: KeyPlacement = .shared, wrapping: (any TrustedKMS)? = nil) -> KeyManager {
        manager(
            KMSDirectory(
                ConfiguredKMS(name: "new", FaultyKMS(wrapping ?? new, plan), key: Self.newKey, placement: placement),
                others: [ConfiguredKMS(name: "old", FaultyKMS(old, plan), key: Self.oldKey)]))
    }

    func manager(_ kms: KMSDirectory) -> KeyManager {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return KeyManager(
            configuration: .init(installation: "test", gateway: "gateway-1", tenant: "default"), keys: keys, kms: kms,
            objects: FaultyObjects(inner: objects, plan: plan), metadata: FaultyMetadata(inner: metadata, plan: plan),
            compute: InlineCompute(), logger: logger)
    }

    /// A key set without evaluation keys, and something that it encrypted.
    func register(
        _ mode: ProtectionMode = .direct, with manager: KeyManager? = nil, as requester: Requester? = nil
    ) async throws -> KnownKeySet {
        let manager = manager ?? before()
        let requester = requester ?? alice
        let request = RegistrationRequest(
            requestID: UUID().uuidString, mode: mode, owner: requester.owner,
            parameters: try Scheme.ckks.smallParameters, evaluationKeys: [], profile: nil, policy: .unflooded(.ckks))
        let id = try await manager.register(request, as: requester).keySet.manifest.keySet
        let ciphertexts = try await manager.encrypt([.init(sample)], under: id, as: requester).ciphertexts
        return KnownKeySet(id: id, ciphertext: ciphertexts[0])
    }

    /// Whether it decrypts, by a process that has just started.
    func opens(_ keySet: KnownKeySet, with manager: KeyManager? = nil, as requester: Requester? = nil) async throws {
        let result = try await (manager ?? after()).decrypt(
            [keySet.ciphertext], of: keySet.id, count: 8, as: requester ?? alice)
        #expect(close(result.vectors[0], sample))
    }

    /// Names of what is stored of a key set and opens its seed.
    func seals(_ keySet: KnownKeySet) -> [String] {
        let path = folder.appendingPathComponent("objects/keysets/\(keySet.id)").path
        return ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [])
            .filter { $0.hasPrefix("sealed-") }.sorted()
    }

    func sealing(_ keySet: KnownKeySet) async throws -> KeySetManifest.Sealing {
        try await after().show(keySet.id, as: alice).manifest.sealing
    }
}

struct KnownKeySet: Sendable {
    let id: String
    let ciphertext: [UInt8]
}
