import Crypto
import SecretMemory

/// On whose authority the KMS is asked.
public enum KMSCaller: Sendable, Hashable {
    /// The gateway's own credential.
    case service
    /// The credential of the principal whose request this is: the KMS itself identifies the user, and what it
    /// refuses the user the gateway cannot do for them.
    case principal(KMSCredential)
}

/// A principal's own credential for the KMS, such as a JWT of an issuer that the KMS trusts: forwarded, never kept
/// beyond the request, and never told.
public final class KMSCredential: Sendable {
    private let secret: SecretBytes
    /// SHA-256 of the credential, under which what was obtained with it may be remembered.
    public let digest: [UInt8]

    /// The longest credential, in bytes; a header of HTTP has little more room.
    public static let maximumBytes = 8192

    /// - Parameter text: 1 to ``maximumBytes`` visible ASCII characters without quote and backslash, so that it is fit
    ///   for a header and, unescaped, for a JSON string.
    /// - Returns: nil for any other text.
    /// - Throws: where no memory can be locked.
    public init?(copying text: UnsafeRawBufferPointer) throws(SecretMemoryError) {
        guard (1...Self.maximumBytes).contains(text.count),
            text.allSatisfy({ (0x21...0x7E).contains($0) && $0 != 0x22 && $0 != 0x5C })
        else { return nil }
        secret = try SecretBytes(copying: text)
        digest = Array(SHA256.hash(data: text))
    }

    /// - Parameter body: must not keep what it is shown.
    public func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try secret.withUnsafeBytes(body)
    }
}

extension KMSCredential: Hashable {
    public static func == (one: KMSCredential, other: KMSCredential) -> Bool { one.digest == other.digest }
    public func hash(into hasher: inout Hasher) { hasher.combine(digest) }
}
