import Attestation
import KeyManagement
import SecretMemory
import Synchronization
import TestSupport

/// An object store that answers what a test wants instead of what was stored.
final class LyingObjects: ObjectStore {
    enum Lie: Sendable {
        case bytes([UInt8])
        case missing
    }
    private let inner: any ObjectStore
    private let lies = Mutex<[String: Lie]>([:])
    private let deletes = Mutex(true)
    private let takesPuts = Mutex(true)

    init(_ inner: any ObjectStore) { self.inner = inner }

    func lie(_ lie: Lie?, at key: String) { lies.withLock { $0[key] = lie } }
    /// Says that it deletes, and does not.
    func keepWhatIsDeleted() { deletes.withLock { $0 = false } }
    /// Is full, until it is told otherwise.
    func refusePuts(_ refuses: Bool) { takesPuts.withLock { $0 = !refuses } }

    func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        switch lies.withLock({ $0[key.value] }) {
        case nil: return try await inner.get(key, limit: limit)
        case .missing: throw .notFound(key.value)
        case .bytes(let bytes):
            guard bytes.count <= limit else { throw .tooLarge(key.value, limit: limit) }
            return bytes
        }
    }

    func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
        guard takesPuts.withLock({ $0 }) else { throw .unavailable(reason: "full") }
        try await inner.put(bytes, at: key, onlyIfAbsent: onlyIfAbsent)
    }
    func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
        if deletes.withLock({ $0 }) { try await inner.delete(key) }
    }
    func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] {
        try await inner.list(prefix: prefix)
    }
    func checkHealth() async throws(ObjectStoreError) { try await inner.checkHealth() }
}

/// A metadata store that answers what a test wants instead of the row that it has.
final class LyingMetadata: MetadataStore {
    private let inner: any MetadataStore
    /// Changes a row that is read or listed; nil for one that is not there.
    typealias Lie = @Sendable (MetadataRecord) -> MetadataRecord?
    private let lie = Mutex<Lie?>(nil)
    private let listing = Mutex<(@Sendable (String?) -> [MetadataRecord])?>(nil)

    init(_ inner: any MetadataStore) { self.inner = inner }

    func lie(_ body: Lie?) { lie.withLock { $0 = body } }
    /// Answers every list by itself, from the id after which it is asked for rows.
    func list(_ body: (@Sendable (String?) -> [MetadataRecord])?) { listing.withLock { $0 = body } }

    private func told(_ record: MetadataRecord) -> MetadataRecord? {
        guard let lie = lie.withLock({ $0 }) else { return record }
        return lie(record)
    }

    func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        guard let record = try await inner.read(collection: collection, id: id) else { return nil }
        return told(record)
    }
    func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        if let listing = listing.withLock({ $0 }) { return listing(after) }
        return try await inner.list(collection: collection, index: index, after: after, limit: limit)
            .compactMap { told($0) }
    }
    func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        try await inner.apply(changes)
    }
    func checkHealth() async throws(MetadataStoreError) { try await inner.checkHealth() }
}

/// A KMS that counts what it is asked to open and answers what a test wants.
final class LyingKMS: ForwardingKMS {
    enum Lie: Sendable {
        /// These bytes, whatever was sealed.
        case secret([UInt8])
        case error(KMSError)
        /// The truth, once this is set.
        case late(Signal)
    }
    /// What it makes of secrets that it shall seal.
    struct SealingLies: Sendable {
        var blob: (@Sendable (KMSSealedBlob) -> KMSSealedBlob)?
        /// Bytes of a data key.
        var dataKeyCount: Int?
        var random: [UInt8]?
    }
    private struct State {
        var opened = 0
        var lie: Lie?
        var sealing = SealingLies()
        var lastSecret: [UInt8] = []
    }
    let inner: any TrustedKMS
    private let state = Mutex(State())

    init(_ inner: any TrustedKMS) { self.inner = inner }

    /// How often it was asked to open something.
    var opened: Int { state.withLock { $0.opened } }
    /// The last secret that it opened.
    var lastSecret: [UInt8] { state.withLock { $0.lastSecret } }
    func lie(_ lie: Lie?) { state.withLock { $0.lie = lie } }
    func lieInSealing(_ lies: SealingLies) { state.withLock { $0.sealing = lies } }

    private static func secret(_ bytes: [UInt8]) throws(KMSError) -> SecretBytes {
        do { return try SecretBytes(copying: bytes) } catch { throw .memory(error) }
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let lie = state.withLock { state in
            state.opened += 1
            return state.lie
        }
        switch lie {
        case .secret(let bytes): return try Self.secret(bytes)
        case .error(let error): throw error
        case .late(let answers): await answers.wait()
        case nil: break
        }
        let secret = try await inner.open(sealed, under: key, context: context, as: caller)
        let copy = secret.withUnsafeBytes { Array($0) }
        state.withLock { $0.lastSecret = copy }
        return secret
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext,
        as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let blob = try await inner.seal(secret, under: key, context: context, as: caller)
        guard let change = state.withLock({ $0.sealing.blob }) else { return blob }
        return change(blob)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        let lies = state.withLock { $0.sealing }
        let made = try await inner.generateDataKey(under: key, context: context, as: caller)
        let sealed = lies.blob.map { $0(made.sealed) } ?? made.sealed
        guard let count = lies.dataKeyCount else {
            return KMSDataKey(plaintext: made.take(), sealed: sealed)
        }
        return KMSDataKey(
            plaintext: try Self.secret([UInt8](repeating: 7, count: count)), sealed: sealed)
    }

    func random(count: Int) async throws(KMSError) -> SecretBytes {
        guard let bytes = state.withLock({ $0.sealing.random }) else {
            return try await inner.random(count: count)
        }
        return try Self.secret(bytes)
    }
}

/// The error that a call ends with; nil where it succeeds.
func refusal(_ body: () async throws -> Void) async -> KeyManagementError? {
    do {
        try await body()
        return nil
    } catch let error as KeyManagementError {
        return error
    } catch { return .internalFailure(reason: "\(error)") }
}

/// Forms of bytes that a liar makes of true ones, by the offsets at which fields of their format begin.
struct Forgeries {
    /// A digest of everything before it ends the format, and the liar remakes it.
    var hasDigest = true
    let fields: [(name: String, offset: Int)]
    let headerBytes: Int

    static let sealedObject = Forgeries(
        fields: [
            ("magic", 0), ("version", 8), ("reserved", 9), ("object", 10), ("sealer", 11),
            ("key version", 12),
            ("length", 16), ("blob", 20),
        ], headerBytes: 20)
    static let publicObject = Forgeries(
        fields: [
            ("magic", 0), ("type", 4), ("version", 8), ("kind", 10), ("generation", 12), ("galois", 16),
            ("level", 20),
            ("parts", 22), ("scale", 24), ("suite", 32), ("reserved", 34), ("length", 40), ("pd", 48),
            ("rho", 80),
            ("payload", 112),
        ], headerBytes: 112)

    func altered(_ original: [UInt8]) -> [(name: String, bytes: [UInt8])] {
        var forms: [(String, [UInt8])] = []
        let end = original.count - 32
        let places =
            fields + [("middle", original.count / 2), ("end of the body", end - 1), ("digest", end)]
            + [("end", original.count - 1)]
        for (name, offset) in places {
            for bit: UInt8 in [0x01, 0x80] {
                var bytes = original
                bytes[offset] ^= bit
                forms.append(("\(name) at \(offset)", bytes))
                if hasDigest, offset < end {
                    bytes.replaceSubrange(end..., with: Digest(of: bytes[..<end]).bytes)
                    forms.append(("\(name) at \(offset), digest remade", bytes))
                }
            }
        }
        return forms
    }

    func resized(_ original: [UInt8]) -> [(name: String, bytes: [UInt8])] {
        let count = original.count
        let cuts = [
            0, 1, headerBytes - 1, headerBytes, headerBytes + 1, count / 2, count - 33, count - 32,
            count - 1,
        ]
        return cuts.map { ("cut to \($0)", Array(original[..<$0])) }
            + [
                ("one byte more", original + [0]), ("twice", original + original),
                ("a mebibyte more", original + [UInt8](repeating: 0, count: 1 << 20)),
                ("one byte in front", [0] + original),
            ]
    }
}
