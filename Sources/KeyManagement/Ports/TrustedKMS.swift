import SecretMemory

/// The name of a symmetric key inside the trusted KMS.
///
/// Letters, digits, `-`, `_` and `.`, 1 to 128 of them, so that it is safe in a URL path.
public struct KMSKeyName: Sendable, Hashable, Codable, CustomStringConvertible {
    public let value: String

    /// - Returns: nil where the name is not of the allowed form.
    public init?(_ value: String) {
        guard (1...128).contains(value.utf8.count), value.first != ".",
            value.utf8.allSatisfy({ byte in
                (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5A) || (byte >= 0x61 && byte <= 0x7A)
                    || byte == 0x2D || byte == 0x5F || byte == 0x2E
            })
        else { return nil }
        self.value = value
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let name = KMSKeyName(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not the name of a KMS key")
        }
        self = name
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }

    public var description: String { value }
}

/// A secret under a KMS key: what the KMS gave back, opaque to everything but that KMS.
public struct KMSSealedBlob: Sendable, Hashable {
    /// The KMS's own ciphertext, at most ``maximumBytes``.
    public var bytes: [UInt8]
    /// Version of the KMS key that sealed it, where the KMS tells.
    public var keyVersion: Int?

    /// No KMS answers more for secrets of at most 4 KiB.
    public static let maximumBytes = 16 * 1024

    public init(bytes: [UInt8], keyVersion: Int?) {
        self.bytes = bytes
        self.keyVersion = keyVersion
    }
}

/// A fresh AES-256 data key, in the clear and sealed.
public struct KMSDataKey: ~Copyable, Sendable {
    /// 32 bytes.
    public let plaintext: SecretBytes
    public let sealed: KMSSealedBlob

    public init(plaintext: consuming SecretBytes, sealed: KMSSealedBlob) {
        self.plaintext = plaintext
        self.sealed = sealed
    }

    /// Splits the pair.
    public consuming func take() -> SecretBytes { plaintext }
}

/// On whose authority the KMS is asked.
public enum KMSCaller: Sendable, Hashable {
    /// The gateway's own credential.
    case service
}

/// How the KMS binds a ``SealingContext`` to what it seals.
public enum KMSContextBinding: String, Sendable, Codable {
    /// As the associated data of an AEAD.
    case associatedData
    /// By deriving the key from it.
    case derivedKey
    /// Not at all: the context's hash is sealed beside the secret.
    case none
}

/// What a KMS can do; the flows choose by it.
public struct KMSCapabilities: Sendable, Hashable {
    public var contextBinding: KMSContextBinding
    /// Rewraps without showing the plaintext to the caller.
    public var nativeRewrap: Bool
    /// Gives random bytes of its own generator.
    public var random: Bool
    /// Signs with Ed25519 keys of its own.
    public var sign: Bool
    /// Longest secret that can be sealed, in bytes.
    public var maximumPlaintextBytes: Int
    /// True only for the embedded development keystore.
    public var developmentOnly: Bool

    public init(
        contextBinding: KMSContextBinding, nativeRewrap: Bool, random: Bool, sign: Bool,
        maximumPlaintextBytes: Int, developmentOnly: Bool
    ) {
        self.contextBinding = contextBinding
        self.nativeRewrap = nativeRewrap
        self.random = random
        self.sign = sign
        self.maximumPlaintextBytes = maximumPlaintextBytes
        self.developmentOnly = developmentOnly
    }
}

/// What the KMS tells about one of its keys. Nothing of the key itself.
public struct KMSKeyDescription: Sendable, Hashable {
    public var name: KMSKeyName
    /// For example `aes256-gcm96`.
    public var type: String
    public var latestVersion: Int
    /// Blobs sealed under lower versions no longer open.
    public var minimumVersion: Int

    public init(name: KMSKeyName, type: String, latestVersion: Int, minimumVersion: Int) {
        self.name = name
        self.type = type
        self.latestVersion = latestVersion
        self.minimumVersion = minimumVersion
    }
}

/// Every way in which a trusted KMS can refuse or fail. No case carries a secret.
public enum KMSError: Error, Sendable, Equatable {
    /// Not reached, or it answered 5xx: worth a retry. `reason` names host and failure, no secrets.
    case unavailable(reason: String)
    /// The KMS asks to come back later.
    case throttled(retryAfterSeconds: Int?)
    /// The credential is missing, expired or not allowed this.
    case denied(reason: String)
    /// There is no key of this name.
    case keyNotFound(KMSKeyName)
    /// The key exists but may not be used: disabled, deleted, or the blob's version is below the minimum.
    case keyUnusable(KMSKeyName, reason: String)
    /// Tampered, truncated, of another key or of another context: the KMS does not open it.
    case cannotOpen
    /// This KMS does not do this; see its ``KMSCapabilities``.
    case notSupported(operation: String)
    /// The answer is not what the KMS's API promises.
    case invalidResponse(reason: String)
    /// No locked memory for the answer.
    case memory(SecretMemoryError)
}

extension KMSError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .unavailable(let reason): "it does not answer: \(reason)"
        case .throttled(let seconds): "it asks to come back " + (seconds.map { "after \($0) seconds" } ?? "later")
        case .denied(let reason): "it denied the request: \(reason)"
        case .keyNotFound(let name): "it has no key named \(name)"
        case .keyUnusable(let name, let reason): "its key \(name) may not be used: \(reason)"
        case .cannotOpen: "it does not open the sealed secret"
        case .notSupported(let operation): "it does not do \(operation)"
        case .invalidResponse(let reason): "its answer is not valid: \(reason)"
        case .memory(let error): error.description
        }
    }
}

/// A standard symmetric KMS or HSM that the company already trusts: the root of every key set.
///
/// An adapter is one target that passes `TrustedKMSConformance`. Every method may be called
/// concurrently. Secrets go in and out as ``SecretBytes`` only, and an adapter wipes whatever copies
/// its transport makes.
public protocol TrustedKMS: Sendable {
    /// A short name for people and manifests: `software`, `openbao`.
    var provider: String { get }
    var capabilities: KMSCapabilities { get }

    /// Seals `secret` (1 to ``KMSCapabilities/maximumPlaintextBytes`` bytes) under the key's latest version.
    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob

    /// Opens what ``seal(_:under:context:as:)`` made with the same key and the same context.
    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes

    /// A fresh 32-byte data key, sealed under `key` and `context`. ``open(_:under:context:as:)`` opens it.
    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey

    /// The same secret under the key's latest version. A native rewrap cannot change the context.
    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob

    /// `count` (1 to 1024) bytes of the KMS's generator.
    func random(count: Int) async throws(KMSError) -> SecretBytes

    /// An Ed25519 signature by a key inside the KMS.
    func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8]

    /// Creates a symmetric sealing key; one that exists already is left as it is.
    func createKey(_ name: KMSKeyName) async throws(KMSError)

    /// Adds a version, under which everything is sealed from now on.
    func rotateKey(_ name: KMSKeyName) async throws(KMSError)

    /// Destroys the key with all its versions; what it sealed is lost.
    func destroyKey(_ name: KMSKeyName) async throws(KMSError)

    /// Blobs sealed under versions below `version` no longer open.
    func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError)

    func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription

    /// Returns when the KMS is ready to serve.
    /// - Throws: ``KMSError/unavailable(reason:)`` or ``KMSError/denied(reason:)``.
    func checkHealth() async throws(KMSError)

    /// Closes connections and forgets credentials; nothing is asked of the adapter after it.
    func shutdown() async
}

extension TrustedKMS {
    public func shutdown() async {}

    /// The key, made where there is none. A credential that may use the key need not be allowed to make it.
    public func requireKey(_ name: KMSKeyName) async throws(KMSError) {
        do {
            _ = try await describeKey(name)
        } catch {
            guard case .keyNotFound = error else { throw error }
            try await createKey(name)
        }
    }
}
