import KeyManagement
import SecretMemory

/// A KMS in front of another one, for a test to state only what it changes: every method that the type does not have
/// is the other one's.
package protocol ForwardingKMS: TrustedKMS {
    var inner: any TrustedKMS { get }
}

extension ForwardingKMS {
    package var provider: String { inner.provider }
    package var capabilities: KMSCapabilities { inner.capabilities }

    package func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.seal(secret, under: key, context: context, as: caller)
    }

    package func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        try await inner.open(sealed, under: key, context: context, as: caller)
    }

    package func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        try await inner.generateDataKey(under: key, context: context, as: caller)
    }

    package func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.rewrap(sealed, under: key, context: context, as: caller)
    }

    package func random(count: Int) async throws(KMSError) -> SecretBytes { try await inner.random(count: count) }

    package func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        try await inner.sign(message, with: key)
    }

    package func createKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.createKey(name) }
    package func rotateKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.rotateKey(name) }
    package func destroyKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.destroyKey(name) }

    package func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await inner.setMinimumVersion(version, of: name)
    }

    package func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        try await inner.describeKey(name)
    }

    package func checkHealth() async throws(KMSError) { try await inner.checkHealth() }
    package func shutdown() async { await inner.shutdown() }
}
