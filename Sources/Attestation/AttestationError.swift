/// Why a statement is not believed.
public enum AttestationError: Error, Equatable, Sendable, CustomStringConvertible {
    case invalidSigningKey
    /// Not an envelope, or not a payload of the expected form.
    case malformed(reason: String)
    case unexpectedType(found: String, expected: String)
    /// No signature by a key that is pinned here.
    case unknownSigner
    case badSignature
    /// The statement is true of something else.
    case mismatch(field: String)

    public var description: String {
        switch self {
        case .invalidSigningKey: "not an Ed25519 signing key"
        case .malformed(let reason): "not a valid statement: \(reason)"
        case .unexpectedType(let found, let expected): "a statement of type \(found) where \(expected) is expected"
        case .unknownSigner: "signed by no key that is pinned here: check the pinned public keys in the configuration"
        case .badSignature: "the signature does not verify: the statement was altered"
        case .mismatch(let field): "the statement is about another \(field)"
        }
    }
}
