import SecretMemory

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

/// One sealed secret of several that are rewrapped together.
public struct KMSRewrapItem: Sendable {
    public var sealed: KMSSealedBlob
    public var context: SealingContext

    public init(_ sealed: KMSSealedBlob, context: SealingContext) {
        self.sealed = sealed
        self.context = context
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

/// A standard symmetric KMS or HSM that the company already trusts: the root of every key set.
///
/// An adapter is one target that passes `TrustedKMSConformance` behind a ``CompletedKMS``, which supplies what it says
/// that it lacks. Every method may be called concurrently. Secrets go in and out as ``SecretBytes`` only, and an
/// adapter wipes whatever copies its transport makes. What a backend has not throws
/// ``KMSError/notSupported(operation:)``.
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

    /// Rewraps many secrets of one key, in as few requests as the KMS allows.
    /// - Returns: one result for each item, in order. An error that is not of one item alone, such as
    ///   ``KMSError/throttled(retryAfterSeconds:)``, is also the result of all items after it, which were not tried.
    /// - Throws: such an error where nothing was rewrapped.
    func rewrap(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>]

    /// `count` (1 to 1024) bytes of the KMS's generator.
    func random(count: Int) async throws(KMSError) -> SecretBytes

    /// An Ed25519 signature, 64 bytes, by the latest version of a key of the purpose ``KMSKeyPurpose/signing``.
    func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8]

    /// Creates a key that cannot leave the KMS; one that exists already is left as it is.
    func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError)

    /// Adds a version, under which everything is sealed from now on.
    func rotateKey(_ name: KMSKeyName) async throws(KMSError)

    /// Destroys the key with all its versions; what it sealed is lost.
    func destroyKey(_ name: KMSKeyName) async throws(KMSError)

    /// Blobs sealed under versions below `version` no longer open.
    /// - Throws: ``KMSError/keyUnusable(_:reason:)`` for a version that the key does not have.
    func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError)

    /// Destroys all versions below `version`, which is at most the minimum: what they sealed is lost for ever.
    /// - Throws: ``KMSError/keyUnusable(_:reason:)`` where `version` is above the minimum.
    func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError)

    func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription

    /// The sealing key that is the caller's alone, made where there is none yet. The KMS itself lets nobody else open
    /// with it.
    /// - Throws: ``KMSError/notSupported(operation:)`` for ``KMSCaller/service``, and where the KMS authenticates no
    ///   callers.
    func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName

    /// Returns when the KMS is ready to serve.
    /// - Throws: ``KMSError/unavailable(reason:)`` or ``KMSError/denied(reason:)``.
    func checkHealth() async throws(KMSError)

    /// Closes connections and forgets credentials; nothing is asked of the adapter after it.
    func shutdown() async
}

extension TrustedKMS {
    public func shutdown() async {}

    public func rewrap(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        try await rewrapOneByOne(items, under: key, as: caller)
    }

    /// What ``rewrap(_:under:as:)`` does where the KMS has no batches.
    public func rewrapOneByOne(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        var results: [Result<KMSSealedBlob, KMSError>] = []
        for item in items {
            do throws(KMSError) {
                results.append(
                    .success(try await rewrap(item.sealed, under: key, context: item.context, as: caller)))
            } catch {
                if error.isOfOneItem {
                    results.append(.failure(error))
                    continue
                }
                if results.isEmpty { throw error }
                results += repeatElement(.failure(error), count: items.count - results.count)
                break
            }
        }
        return results
    }

    public func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        throw .notSupported(operation: "destroying single versions of a key")
    }

    public func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName {
        throw .notSupported(operation: "keys of principals")
    }

    /// Creates a sealing key; one that exists already is left as it is.
    public func createKey(_ name: KMSKeyName) async throws(KMSError) { try await createKey(name, purpose: .sealing) }

    /// The key, made where there is none. A credential that may use the key need not be allowed to make it.
    public func requireKey(_ name: KMSKeyName) async throws(KMSError) {
        do throws(KMSError) {
            _ = try await describeKey(name)
        } catch {
            guard case .keyNotFound = error else { throw error }
            try await createKey(name)
        }
    }
}
