import SecretMemory

/// A KMS in front of another one, which states only what it changes: every method that the type does not have is the
/// other one's.
public protocol ForwardingKMS: TrustedKMS {
    var inner: any TrustedKMS { get }
}

extension ForwardingKMS {
    public var provider: String { inner.provider }
    public var capabilities: KMSCapabilities { inner.capabilities }

    public func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.seal(secret, under: key, context: context, as: caller)
    }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        try await inner.open(sealed, under: key, context: context, as: caller)
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        try await inner.generateDataKey(under: key, context: context, as: caller)
    }

    public func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.rewrap(sealed, under: key, context: context, as: caller)
    }

    public func rewrap(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        try await inner.rewrap(items, under: key, as: caller)
    }

    public func random(count: Int) async throws(KMSError) -> SecretBytes { try await inner.random(count: count) }

    public func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        try await inner.sign(message, with: key)
    }

    public func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        try await inner.createKey(name, purpose: purpose)
    }

    public func rotateKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.rotateKey(name) }
    public func destroyKey(_ name: KMSKeyName) async throws(KMSError) { try await inner.destroyKey(name) }

    public func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await inner.setMinimumVersion(version, of: name)
    }

    public func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await inner.destroyVersions(below: version, of: name)
    }

    public func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName {
        try await inner.principalKey(of: caller)
    }

    public func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        try await inner.describeKey(name)
    }

    public func checkHealth() async throws(KMSError) { try await inner.checkHealth() }
    public func shutdown() async { await inner.shutdown() }
}
