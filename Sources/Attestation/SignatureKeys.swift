import Crypto
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Names a signing key: the algorithm and the first 16 bytes of the public key's SHA-256, as
/// `ed25519:0123...`. The algorithm is part of the name, so that ML-DSA can stand beside it.
public struct SigningKeyID: Sendable, Hashable, Codable, CustomStringConvertible {
    public let value: String

    public init(ed25519 publicKey: [UInt8]) {
        value = "ed25519:" + Digest.hex(Digest(of: publicKey).bytes.prefix(16))
    }

    /// - Returns: nil unless of the form above.
    public init?(_ value: String) {
        guard value.hasPrefix("ed25519:"), value.utf8.count == 40, Digest.bytes(hex: String(value.dropFirst(8))) != nil
        else { return nil }
        self.value = value
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = SigningKeyID(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not the id of a signing key")
        }
        self = id
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }

    public var description: String { value }
}

/// The public half of a signing key, pinned in somebody's configuration.
public struct VerificationKey: Sendable, Hashable {
    public let id: SigningKeyID
    /// 32 bytes, Ed25519.
    public let bytes: [UInt8]

    /// - Returns: nil unless `bytes` is an Ed25519 public key.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == 32, (try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)) != nil else {
            return nil
        }
        self.bytes = bytes
        id = SigningKeyID(ed25519: bytes)
    }

    /// - Returns: nil unless `hex` is an Ed25519 public key in lower-case hex.
    public init?(hex: String) {
        guard let bytes = Digest.bytes(hex: hex) else { return nil }
        self.init(bytes)
    }

    public var hex: String { Digest.hex(bytes) }

    package func isValid(_ signature: [UInt8], for message: [UInt8]) -> Bool {
        guard let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { return false }
        return key.isValidSignature(signature, for: message)
    }
}

/// An Ed25519 signing key whose private half lies in secret memory between signatures.
public final class SigningKey: Sendable {
    private let seed: SecretBytes
    public let verificationKey: VerificationKey

    /// - Parameter seed: the 32 bytes of RFC 8032's private key.
    /// - Throws: ``AttestationError/invalidSigningKey``.
    public init(seed: consuming SecretBytes) throws(AttestationError) {
        guard
            let privateKey = seed.withUnsafeBytes({ try? Curve25519.Signing.PrivateKey(rawRepresentation: $0) }),
            let verificationKey = VerificationKey(Array(privateKey.publicKey.rawRepresentation))
        else { throw .invalidSigningKey }
        self.seed = seed
        self.verificationKey = verificationKey
    }

    public var id: SigningKeyID { verificationKey.id }

    /// 64 bytes of signature (RFC 8032).
    public func sign(_ message: [UInt8]) throws(AttestationError) -> [UInt8] {
        let signature = seed.withUnsafeBytes { seed -> Data? in
            guard let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: seed) else { return nil }
            return try? key.signature(for: message)
        }
        guard let signature else { throw .invalidSigningKey }
        return Array(signature)
    }

    /// Lends the key to an API that needs swift-crypto's own type.
    public func withPrivateKey<Result>(
        _ body: (Curve25519.Signing.PrivateKey) throws -> Result
    ) throws -> Result {
        try seed.withUnsafeBytes { seed in
            try body(try Curve25519.Signing.PrivateKey(rawRepresentation: seed))
        }
    }
}
