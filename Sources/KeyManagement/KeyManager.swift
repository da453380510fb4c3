import Attestation
import HomomorphicEncryption
import Logging
import Observability
import SecretKeys
import SecretMemory
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The key sets of an installation: registers, encrypts, decrypts, lists and destroys them, and keeps
/// the jobs whose results may be decrypted.
///
/// One file an operation: `KeyManager+Registration.swift` and its siblings.
public final class KeyManager: Sendable {
    public struct Configuration: Sendable {
        /// Name of the installation; part of every sealing context.
        public var installation: String
        /// Name of this gateway in jobs.
        public var gateway: String
        public var tenant: String
        /// Owners who may be granted `decrypt.any`. Empty unless the operator decides otherwise.
        public var decryptAnyOwners: [KeySetOwner]
        /// Public keys that manifests may be signed by: this installation's, and earlier ones.
        public var pinnedManifestKeys: [VerificationKey]
        /// nil where each decryption asks the KMS.
        public var secretKeyCaching: SecretKeyCaching?

        public init(
            installation: String, gateway: String, tenant: String,
            decryptAnyOwners: [KeySetOwner] = [], pinnedManifestKeys: [VerificationKey] = [],
            secretKeyCaching: SecretKeyCaching? = nil
        ) {
            self.installation = installation
            self.gateway = gateway
            self.tenant = tenant
            self.decryptAnyOwners = decryptAnyOwners
            self.pinnedManifestKeys = pinnedManifestKeys
            self.secretKeyCaching = secretKeyCaching
        }
    }

    public let configuration: Configuration
    let kms: KMSDirectory
    let objects: any ObjectStore
    let compute: any ComputeExecutor
    let keys: InstallationKeys
    let records: AuthenticatedRecords
    let clock: @Sendable () -> Date
    let logger: Logger
    /// Names this process in registrations that are under way.
    let instance = UUID().uuidString.lowercased()
    let inFlight = Mutex<Set<String>>([])
    let publicKeys = Mutex<BoundedCache<Digest, PublicKey>>(BoundedCache(limit: 64))
    let secretKeys: SecretKeyCache?
    /// Before then no key set is moved with its principal's credential; nil for no such time.
    let movesAgain = Mutex<ContinuousClock.Instant?>(nil)
    let manifests = Mutex<BoundedCache<Digest, SignedStatement<KeySetManifest>>>(BoundedCache(limit: 1024))

    /// Uniform errors after which a key set is suspended.
    public static let failureLimit = 16

    public init(
        configuration: Configuration, keys: InstallationKeys, kms: KMSDirectory, objects: any ObjectStore,
        metadata: any MetadataStore, compute: any ComputeExecutor, logger: Logger,
        clock: @escaping @Sendable () -> Date = { Date() }
    ) {
        self.configuration = configuration
        self.keys = keys
        self.kms = kms
        self.objects = objects
        self.compute = compute
        self.logger = logger
        self.clock = clock
        secretKeys = configuration.secretKeyCaching.map { SecretKeyCache($0) }
        records = AuthenticatedRecords(store: metadata, keys: keys)
    }

    /// Names what is not ready.
    /// - Returns: one line for each system that cannot be used now; empty when all can.
    public func unavailableSystems() async -> [UnavailableSystem] {
        var found: [UnavailableSystem] = []
        // Without one of the others only what it sealed cannot be opened, and that fails by name.
        do throws(KMSError) { try await kms.current.kms.checkHealth() } catch {
            found.append(.init(name: "KMS (\(kms.current.name))", summary: error.summary, detail: "\(error)"))
        }
        do { try await objects.checkHealth() } catch {
            found.append(.init(name: "object store", summary: "it cannot be used", detail: "\(error)"))
        }
        do { try await records.store.checkHealth() } catch {
            found.append(.init(name: "metadata store", summary: "it cannot be used", detail: "\(error)"))
        }
        return found
    }

    /// Secret keys that are kept between decryptions.
    package var cachedSecretKeys: Int { secretKeys?.count ?? 0 }

    // MARK: What every flow needs

    var pinnedManifestKeys: [VerificationKey] {
        [keys.manifestKey.verificationKey] + configuration.pinnedManifestKeys
    }

    /// The row of a key set that the requester may use.
    func row(_ keySet: String, for requester: Requester) async throws(KeyManagementError) -> Stored<KeySetRow> {
        guard Self.isIdentifier(keySet), let stored = try await records.read(KeySetRow.self, id: keySet),
            stored.row.keySet == keySet, requester.mayUse(stored.row)
        else { throw .unknownKeySet(String(keySet.prefix(64))) }
        return stored
    }

    /// The row of a key set that is ready for use.
    func activeRow(_ keySet: String, for requester: Requester) async throws(KeyManagementError) -> Stored<KeySetRow> {
        let stored = try await row(keySet, for: requester)
        switch stored.row.standing {
        case .active: return stored
        case .destroyed:
            // By another process, perhaps.
            secretKeys?.forget(keySet)
            throw .keySetDestroyed(keySet)
        case let standing:
            // A store did not take the manifest of the suspension when the failures were counted.
            if stored.row.state != standing { _ = try? await transition(keySet, to: standing) }
            throw .keySetNotActive(keySet, state: standing)
        }
    }

    /// The manifest that the anchor row names, verified.
    func manifest(_ row: KeySetRow) async throws(KeyManagementError) -> SignedStatement<KeySetManifest> {
        if let known = manifests.withLock({ $0[row.manifest] }) { return known }
        let key = try objectKey(row.keySet, Self.manifestName(row.manifest))
        let bytes = try await read(key, limit: KeySetManifest.maximumPayloadBytes * 2)
        let signed: SignedStatement<KeySetManifest>
        do {
            signed = try SignedStatement(verifying: bytes, pinned: pinnedManifestKeys)
        } catch { throw .statementRejected(error) }
        guard signed.digest == row.manifest, signed.body.keySet == row.keySet else {
            throw .objectTampered("manifest")
        }
        manifests.withLock { $0[row.manifest] = signed }
        return signed
    }

    /// Named by content: of two writers who sign the next version at once, neither overwrites the other's.
    static func manifestName(_ digest: Digest) -> String { "manifest-\(digest.hex)" }

    /// The reverse of ``manifestName(_:)``; nil for the name of another object.
    static func manifestDigest(name: Substring) -> Digest? {
        name.hasPrefix("manifest-") ? Digest(hex: String(name.dropFirst(9))) : nil
    }

    /// Stores a manifest; the row that makes it the current one is the caller's to write.
    func store(_ manifest: SignedStatement<KeySetManifest>) async throws(KeyManagementError) {
        let key = try objectKey(manifest.body.keySet, Self.manifestName(manifest.digest))
        do {
            try await objects.put(try manifest.serialized(), at: key, onlyIfAbsent: false)
        } catch { throw KeyManagementError(error) }
    }

    /// A stored public object, checked against its entry in the manifest.
    func object(_ entry: KeySetObject, of keySet: String) async throws(KeyManagementError) -> [UInt8] {
        let bytes = try await read(try objectKey(keySet, entry.name), limit: entry.bytes)
        guard bytes.count == entry.bytes, Digest(of: bytes) == entry.digest else { throw .objectTampered(entry.name) }
        return bytes
    }

    func read(_ key: ObjectKey, limit: Int) async throws(KeyManagementError) -> [UInt8] {
        do { return try await objects.get(key, limit: limit) } catch {
            switch error {
            case .notFound: throw .objectMissing(key.value)
            case .tooLarge: throw .objectTampered(key.value)
            default: throw .objectStore(error)
            }
        }
    }

    func objectKey(_ keySet: String, _ name: String) throws(KeyManagementError) -> ObjectKey {
        guard let key = ObjectKey("keysets/\(keySet)/\(name)") else {
            throw .internalFailure(reason: "not the name of an object")
        }
        return key
    }

    /// Changes a key set's row, again and again until no other writer was in between.
    @discardableResult
    func change(
        _ keySet: String, _ body: (inout KeySetRow) throws(KeyManagementError) -> Void,
        with others: [MetadataChange] = []
    ) async throws(KeyManagementError) -> KeySetRow {
        for attempt in 0..<100 {
            guard var stored = try await records.read(KeySetRow.self, id: keySet) else { throw .unknownKeySet(keySet) }
            try body(&stored.row)
            do {
                try await records.apply([try records.update(stored)] + others)
                return stored.row
            } catch .metadataStore(.conflict) {
                try? await Task.sleep(for: .milliseconds(Int.random(in: 0...min(2 + attempt, 50))))
            }
        }
        throw .metadataStore(.unavailable(reason: "too many writers at one key set"))
    }

    /// A new random name: lower-case letters and digits, 128 bits.
    static func newIdentifier(_ prefix: String) -> String {
        let hex = UUID().uuidString.lowercased().filter { $0 != "-" }
        return "\(prefix)-\(hex)"
    }

    static func isIdentifier(_ text: String) -> Bool {
        (4...64).contains(text.utf8.count)
            && text.utf8.allSatisfy { ($0 >= 0x61 && $0 <= 0x7A) || ($0 >= 0x30 && $0 <= 0x39) || $0 == 0x2D }
    }

    /// Runs a stage of an operation: a step of `timings`, a value of a histogram, a span of the trace.
    func timed<Result>(
        _ name: String, _ timings: inout StepTimings, _ body: () async throws -> Result
    ) async throws -> Result {
        let start = ContinuousClock.now
        let result = try await Spans.within(name) { try await body() }
        let duration = ContinuousClock.now - start
        timings.add(name, duration)
        MetricCatalog.stageDuration.record(duration, name)
        return result
    }
}

/// The latest `limit` values; the oldest goes first.
struct BoundedCache<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private var values: [Key: Value] = [:]
    private var order: [Key] = []
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    subscript(_ key: Key) -> Value? {
        get { values[key] }
        set {
            guard let newValue else {
                values[key] = nil
                order.removeAll { $0 == key }
                return
            }
            if values.updateValue(newValue, forKey: key) == nil {
                order.append(key)
                if order.count > limit { values[order.removeFirst()] = nil }
            }
        }
    }
}
