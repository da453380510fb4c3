import SecretMemory

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

extension KMSError {
    /// Whether another secret of the same key may fare better at once.
    public var isOfOneItem: Bool {
        switch self {
        case .cannotOpen, .keyUnusable: true
        case .unavailable, .throttled, .denied, .keyNotFound, .notSupported, .invalidResponse, .memory: false
        }
    }
}

extension KMSError {
    /// The kind of failure, without what the KMS said.
    public var summary: String {
        switch self {
        case .unavailable: "it does not answer"
        case .throttled: "it asks to come back later"
        case .denied: "it denied the request"
        case .keyNotFound: "its key is not there"
        case .keyUnusable: "its key may not be used"
        case .cannotOpen: "it does not open the sealed secret"
        case .notSupported: "it does not do this"
        case .invalidResponse: "its answer is not valid"
        case .memory: "no locked memory"
        }
    }
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
