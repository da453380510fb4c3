import KeyManagement
import SecretMemory

/// A KMS whose `open` gives 32 bytes that are not the seed, as one with a non-committing AEAD may.
struct WrongSeedKMS: TrustedKMS {
    let inner: any TrustedKMS

    var provider: String { inner.provider }
    var capabilities: KMSCapabilities { inner.capabilities }

    func open(
        _: KMSSealedBlob, under _: KMSKeyName, context _: SealingContext, as _: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        do { return try SecretBytes(randomCount: 32) } catch { throw .memory(error) }
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.seal(secret, under: key, context: context, as: caller)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        try await inner.generateDataKey(under: key, context: context, as: caller)
    }

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.rewrap(sealed, under: key, context: context, as: caller)
    }

    func random(count: Int) async throws(KMSError) -> SecretBytes { try await inner.random(count: count) }
    func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        try await inner.sign(message, with: key)
    }
    func createKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.createKey(name) }
    func rotateKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.rotateKey(name) }
    func destroyKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.destroyKey(name) }
    func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await inner.setMinimumVersion(version, of: name)
    }
    func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        try await inner.describeKey(name)
    }
    func checkHealth() async throws(KMSError) { try await inner.checkHealth() }
}
