/// Why a request's signature was not accepted, or could not be made.
public enum SignatureError: Error, Equatable, Sendable {
    /// The request has no Signature-Input, Signature or Content-Digest field.
    case missingSignature
    /// A field or a part of the request has no acceptable form; the text names it.
    case malformed(String)
    /// No pinned public key has this key id.
    case unknownKey
    /// Other components are covered than the ones that must be.
    case wrongComponents
    /// The signature does not match the request and the key.
    case badSignature
    /// The signature's time is over.
    case expired
    /// The signature was made in the future.
    case notYetValid
    /// A request with this nonce came before.
    case replayed
    /// The nonce cache is full, so that a replay could not be told from a new request.
    case nonceCacheFull
    /// The body is not the one whose digest was signed.
    case digestMismatch
}

extension SignatureError: ProblemConvertible, CustomStringConvertible {
    public var description: String {
        switch self {
        case .missingSignature: "the request is not signed"
        case .malformed(let part): "the request's signature is malformed: \(part)"
        case .unknownKey: "the request is signed with a key that is not registered here"
        case .wrongComponents: "the signature does not cover exactly the components that it must cover"
        case .badSignature: "the signature does not match the request"
        case .expired: "the signature has expired"
        case .notYetValid: "the signature was made in the future"
        case .replayed: "a request with the same nonce came before"
        case .nonceCacheFull: "too many signed requests are remembered"
        case .digestMismatch: "the body does not have the digest that was signed"
        }
    }

    public var problem: Problem {
        Problem(
            name: "signature-\(kind)", title: "Request signature refused", status: self == .nonceCacheFull ? 503 : 401,
            detail: description, fix: fix, retryAfterSeconds: self == .nonceCacheFull ? 30 : nil)
    }

    private var kind: String {
        switch self {
        case .missingSignature: "missing"
        case .malformed: "malformed"
        case .unknownKey: "unknown-key"
        case .wrongComponents: "wrong-components"
        case .badSignature: "bad"
        case .expired: "expired"
        case .notYetValid: "not-yet-valid"
        case .replayed: "replayed"
        case .nonceCacheFull: "nonce-cache-full"
        case .digestMismatch: "digest-mismatch"
        }
    }

    private var fix: String {
        switch self {
        case .missingSignature, .malformed, .wrongComponents:
            "Sign the request as docs/formats.md describes."
        case .unknownKey: "Register the signer's public key in this server's configuration."
        case .badSignature, .digestMismatch:
            "Compare the key on both sides, and look for a proxy that alters requests."
        case .expired, .notYetValid: "Synchronize the clocks of both machines, then sign and send again."
        case .replayed: "Sign each attempt anew."
        case .nonceCacheFull: "Try again after the time that Retry-After names."
        }
    }
}
