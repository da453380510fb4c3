import Attestation
import ComplexModule
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import SecretMemory
import StorageFiles
import StorageSQLite
import Testing
import TrustedKMSSoftware

/// A real installation in a folder of its own: software KMS, files, SQLite.
final class Fixture: @unchecked Sendable {
    // Sendable: set up in init; tests of one fixture change `kms` from one task alone.
    let folder: URL
    let kms: SoftwareKMS
    let objects: FileObjectStore
    let metadata: SQLiteMetadataStore
    let keys: InstallationKeys
    let manager: KeyManager
    let alice = Requester(issuer: "static", subject: "alice", tenant: "default", groups: ["clinic"])
    let bob = Requester(issuer: "static", subject: "bob", tenant: "default", groups: ["clinic"])
    let mallory = Requester(issuer: "static", subject: "mallory", tenant: "default", groups: [])
    static let kmsKey = KMSKeyName("seeds")!

    init(decryptAny: [String] = [], budgetClock: @escaping @Sendable () -> Date = { Date() }) async throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let passphrase = try SecretBytes(randomCount: 16)
        kms = try SoftwareKMS.create(
            at: folder.appendingPathComponent("keystore.json").path, passphrase: passphrase, developmentOnly: true,
            scryptCost: .minimum)
        try await kms.createKey(Self.kmsKey)
        objects = try FileObjectStore(directory: folder.appendingPathComponent("objects").path)
        metadata = try SQLiteMetadataStore(path: folder.appendingPathComponent("metadata.sqlite").path)
        (keys, _) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Self.kmsKey))
        manager = Self.manager(kms: kms, objects: objects, metadata: metadata, keys: keys, decryptAny: decryptAny)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    static func manager(
        kms: any TrustedKMS, objects: any ObjectStore, metadata: any MetadataStore, keys: InstallationKeys,
        decryptAny: [String] = [], clock: @escaping @Sendable () -> Date = { Date() }
    ) -> KeyManager {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return KeyManager(
            configuration: .init(
                installation: "test", gateway: "gateway-1", tenant: "default",
                decryptAnyOwners: decryptAny.map { KeySetOwner(kind: .user, issuer: "static", subject: $0) }),
            keys: keys, kms: KMSDirectory(kms, key: kmsKey), objects: objects, metadata: metadata,
            compute: InlineCompute(), logger: logger,
            clock: clock)
    }

    func request(
        _ mode: ProtectionMode = .direct, id: String = UUID().uuidString, owner: Requester? = nil,
        scheme: Scheme = .ckks, policy: KeySetPolicy? = nil
    ) throws -> RegistrationRequest {
        let parameters = try scheme.smallParameters
        return RegistrationRequest(
            requestID: id, mode: mode, owner: (owner ?? alice).owner, parameters: parameters,
            evaluationKeys: [
                EvaluationKeyID(kind: .relinearization, level: 2), EvaluationKeyID(kind: .galois, galois: 3, level: 2),
            ], profile: nil, policy: policy ?? .unflooded(scheme))
    }

    func register(
        _ mode: ProtectionMode = .direct, scheme: Scheme = .ckks, policy: KeySetPolicy? = nil
    ) async throws -> String {
        try await manager.register(request(mode, scheme: scheme, policy: policy), as: alice).keySet.manifest.keySet
    }

    func path(_ keySet: String, _ name: String) -> URL {
        folder.appendingPathComponent("objects/keysets/\(keySet)/\(name)")
    }

    /// Every object file under the store.
    func files(_ keySet: String = "") -> [String] {
        let root = folder.appendingPathComponent("objects/keysets/\(keySet)")
        let found = FileManager.default.enumerator(atPath: root.path)?.compactMap { $0 as? String } ?? []
        return found.filter { !$0.hasPrefix(".") && !$0.contains("/.") }.sorted()
    }
}

extension Scheme {
    /// Of the preset with the smallest ring: two levels.
    var smallParameters: EncryptionParameters {
        get throws {
            switch self {
            case .ckks: try #require(ParameterPreset.named("ckks-12")).parameters
            case .bfv: try #require(BFVParameterPreset.named("bfv-12")).parameters
            }
        }
    }

    /// Values that a key set of the scheme takes.
    var sampleInput: EncryptionInput {
        switch self {
        case .ckks: .init(sample)
        case .bfv: .integers(integerSample)
        }
    }
}

let integerSample: [Int64] = [1, -2, 32768, -32768, 0, 5, 6, 7]
let sample: [Complex<Double>] = (0..<8).map { Complex(Double($0) / 8, -0.25) }

func close(_ left: [Complex<Double>], _ right: [Complex<Double>]) -> Bool {
    zip(left, right).allSatisfy { ($0 - $1).length < 1e-3 }
}
