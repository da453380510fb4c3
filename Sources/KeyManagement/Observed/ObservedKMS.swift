import Observability
import SecretMemory

/// A KMS whose calls are measured and are spans of the trace. Secrets go through it as they are.
public struct ObservedKMS: TrustedKMS {
    private let inner: any TrustedKMS

    public init(_ inner: any TrustedKMS) { self.inner = inner }

    public var provider: String { inner.provider }
    public var capabilities: KMSCapabilities { inner.capabilities }

    public func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await observed("seal") { () async throws(KMSError) in
            try await inner.seal(secret, under: key, context: context, as: caller)
        }
    }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        var opened: SecretBytes?
        try await observed("open") { () async throws(KMSError) in
            opened = try await inner.open(sealed, under: key, context: context, as: caller)
        }
        guard let secret = opened.take() else { preconditionFailure("an answer or an error") }
        return secret
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        var made: KMSDataKey?
        try await observed("generate_data_key") { () async throws(KMSError) in
            made = try await inner.generateDataKey(under: key, context: context, as: caller)
        }
        guard let dataKey = made.take() else { preconditionFailure("an answer or an error") }
        return dataKey
    }

    public func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await observed("rewrap") { () async throws(KMSError) in
            try await inner.rewrap(sealed, under: key, context: context, as: caller)
        }
    }

    public func rewrap(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        try await observed("rewrap_batch") { () async throws(KMSError) in
            try await inner.rewrap(items, under: key, as: caller)
        }
    }

    public func random(count: Int) async throws(KMSError) -> SecretBytes {
        var given: SecretBytes?
        try await observed("random") { () async throws(KMSError) in given = try await inner.random(count: count) }
        guard let bytes = given.take() else { preconditionFailure("an answer or an error") }
        return bytes
    }

    public func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        try await observed("sign") { () async throws(KMSError) in try await inner.sign(message, with: key) }
    }

    public func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        try await observed("create_key") { () async throws(KMSError) in
            try await inner.createKey(name, purpose: purpose)
        }
    }

    public func rotateKey(_ name: KMSKeyName) async throws(KMSError) {
        try await observed("rotate_key") { () async throws(KMSError) in try await inner.rotateKey(name) }
    }

    public func destroyKey(_ name: KMSKeyName) async throws(KMSError) {
        try await observed("destroy_key") { () async throws(KMSError) in try await inner.destroyKey(name) }
    }

    public func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await observed("set_minimum_version") { () async throws(KMSError) in
            try await inner.setMinimumVersion(version, of: name)
        }
    }

    public func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await observed("destroy_versions") { () async throws(KMSError) in
            try await inner.destroyVersions(below: version, of: name)
        }
    }

    public func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName {
        try await observed("principal_key") { () async throws(KMSError) in
            try await inner.principalKey(of: caller)
        }
    }

    public func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        try await observed("describe_key") { () async throws(KMSError) in try await inner.describeKey(name) }
    }

    public func checkHealth() async throws(KMSError) {
        try await observed("check_health") { () async throws(KMSError) in try await inner.checkHealth() }
    }

    public func shutdown() async { await inner.shutdown() }

    private func observed<Result>(
        _ operation: String, _ body: () async throws(KMSError) -> Result
    ) async throws(KMSError) -> Result {
        try await ObservedCall.run(.kms(provider), operation, { $0.outcome }, body)
    }
}

extension KMSError {
    /// A value of the label `outcome`.
    fileprivate var outcome: String {
        switch self {
        case .unavailable: "unavailable"
        case .throttled: "throttled"
        case .denied: "denied"
        case .keyNotFound: "key_not_found"
        case .keyUnusable: "key_unusable"
        case .cannotOpen: "cannot_open"
        case .notSupported: "not_supported"
        case .invalidResponse: "invalid_response"
        case .memory: "memory"
        }
    }
}
