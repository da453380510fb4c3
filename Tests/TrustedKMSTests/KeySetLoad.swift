import Attestation
import ComplexModule
import HomomorphicEncryption
import KeyManagement
import Logging
import StorageFiles
import StorageSQLite
import Synchronization
import Testing
import TrustedKMSOpenBao

/// Key sets that are registered and used while servers of the KMS come and go.
final class KeySetLoad: Sendable {
    private struct Known {
        let id: String
        let ciphertexts: [[UInt8]]
    }

    private let manager: KeyManager
    private let requester = Requester(issuer: "test", subject: "alice", tenant: "default", groups: [])
    private let known = Mutex<[Known]>([])
    private let failures = Mutex(0)

    init(_ kms: OpenBaoKMS, key: KMSKeyName, in folder: TemporaryFolder) async throws {
        let directory = KMSDirectory(CompletedKMS(kms), key: key)
        let (keys, _) = try await InstallationKeys.create(
            installation: "failover", tenant: "default", kms: directory)
        manager = KeyManager(
            configuration: .init(installation: "failover", gateway: "gateway-1", tenant: "default"), keys: keys,
            kms: directory, objects: try FileObjectStore(directory: folder.file("objects")),
            metadata: try SQLiteMetadataStore(path: folder.file("metadata.sqlite")), compute: Inline(),
            logger: Logger(label: "failover") { _ in SwiftLogNoOpLogHandler() })
    }

    var count: Int { known.withLock { $0.count } }
    /// Requests that failed for want of a server, and were made again.
    var failed: Int { failures.withLock { $0 } }

    /// Registers, encrypts and decrypts, each request until it passes; eight key sets at least.
    func run(until isOver: () -> Bool) async throws {
        let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
        while !isOver() || count < 8 {
            // The same request id again: a registration that failed leaves nothing in its way.
            let request = RegistrationRequest(
                requestID: "request \(count)", mode: count % 2 == 0 ? .direct : .envelope, owner: requester.owner,
                parameters: parameters, evaluationKeys: [], profile: nil, policy: .raw())
            let id = try await insist { try await manager.register(request, as: requester).keySet.manifest.keySet }
            let ciphertexts = try await manager.encrypt(
                [EncryptionInput(real: [0.5])], under: id, as: requester
            ).ciphertexts
            let new = Known(id: id, ciphertexts: ciphertexts)
            try await decrypt(new)
            known.withLock { $0.append(new) }
            if let old = known.withLock({ $0.randomElement() }) { try await decrypt(old) }
        }
    }

    /// Every key set is there, once, and opens.
    func check() async throws {
        let all = known.withLock { $0 }
        let listed = Set(try await manager.list(as: requester).map(\.manifest.keySet))
        #expect(listed == Set(all.map(\.id)))
        for known in all { try await decrypt(known) }
    }

    private func decrypt(_ known: Known) async throws {
        let result = try await insist {
            try await manager.decrypt(known.ciphertexts, of: known.id, count: 1, as: requester)
        }
        #expect(abs(result.vectors[0][0].real - 0.5) < 1e-3)
    }

    private func insist<Success>(_ body: () async throws -> Success) async throws -> Success {
        let end = ContinuousClock.now + .seconds(120)
        while true {
            do { return try await body() } catch let error as KeyManagementError {
                switch error {
                case .kms(.unavailable), .kms(.throttled): failures.withLock { $0 += 1 }
                default: throw error
                }
                guard ContinuousClock.now < end else { throw error }
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    private struct Inline: ComputeExecutor {
        func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
            try body()
        }
    }
}
