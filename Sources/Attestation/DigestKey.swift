import Crypto
import SecretMemory

/// A key under which texts are replaced by digests: HMAC-SHA-256. Who has not the key can neither make a digest nor
/// try texts against one.
public final class DigestKey: Sendable {
    private let secret: SecretBytes

    /// - Parameter secret: 32 bytes.
    public init(secret: consuming SecretBytes) {
        self.secret = secret
    }

    public func digest(of message: [UInt8]) -> Digest {
        let key = secret.withUnsafeBytes { SymmetricKey(data: $0) }
        guard let digest = Digest(bytes: Array(HMAC<SHA256>.authenticationCode(for: message, using: key))) else {
            preconditionFailure("HMAC-SHA-256 gives 32 bytes")
        }
        return digest
    }
}
