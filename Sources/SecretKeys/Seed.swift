import HomomorphicEncryption
import SecretMemory

/// The 256-bit seed that every key of a key set comes from.
public struct Seed: ~Copyable, Sendable {
    private let bytes: SecretBytes

    public static let byteCount = 32

    /// Takes over 32 bytes, as the trusted KMS opened them.
    /// - Returns: nil for another length.
    public init?(_ bytes: consuming SecretBytes) {
        guard bytes.count == Self.byteCount else { return nil }
        self.bytes = bytes
    }

    private init(unchecked bytes: consuming SecretBytes) { self.bytes = bytes }

    /// A fresh seed: HMAC-SHA-512, keyed by the operating system's generator, over "HKMS1/seed" and what
    /// the trusted KMS's generator gave, cut to 32 bytes. Either generator alone suffices.
    /// - Parameter contribution: the KMS's random bytes; empty where it has none.
    public static func generate(mixing contribution: borrowing SecretBytes) throws(SecretMemoryError) -> Seed {
        let key = try SecretBytes(randomCount: byteCount)
        let label = Array("HKMS1/seed".utf8)
        var input = try SecretBytes(count: label.count + contribution.count)
        input.withUnsafeMutableBytes { out in
            out.copyBytes(from: label)
            contribution.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: out[label.count...]).copyMemory(from: $0)
            }
        }
        return Seed(unchecked: try KeyDerivationFunction.hmac(key: key, input: input))
    }

    /// Reads the seed for sealing. Nothing but a trusted KMS's adapter and envelope encryption does.
    public borrowing func withSecretBytes<Result: ~Copyable, Failure: Error>(
        _ body: (borrowing SecretBytes) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(bytes)
    }

    /// A copy to hand to the trusted KMS, wiped like the seed.
    public borrowing func copyForSealing() throws(SecretMemoryError) -> SecretBytes { try bytes.copy() }

    /// KDF(seed, label, context).
    borrowing func derive(_ label: String, _ context: borrowing SecretBytes) throws(SecretMemoryError) -> SecretBytes {
        try KeyDerivationFunction.derive(key: bytes, label: label, context: context)
    }

    /// commit of derivation suite 1, 12: 32 bytes in the manifest, by which an opened seed is known to be
    /// the right one (AES-GCM alone does not commit to its key).
    public borrowing func commitment(_ parameterDigest: [UInt8]) throws(SecretMemoryError) -> [UInt8] {
        let context = try DerivationContext(kind: .none, parameterDigest: parameterDigest).encoded()
        return try derive("HKMS1/commit", context).withUnsafeBytes { Array($0) }
    }

    /// Compares the commitment in constant time.
    public borrowing func matches(
        commitment: [UInt8], parameterDigest: [UInt8]
    ) throws(SecretMemoryError) -> Bool {
        let context = try DerivationContext(kind: .none, parameterDigest: parameterDigest).encoded()
        return try derive("HKMS1/commit", context).equals(commitment)
    }

    /// The key of the manifest's second proof, 32 bytes.
    public borrowing func manifestKey(_ parameterDigest: [UInt8]) throws(SecretMemoryError) -> SecretBytes {
        try derive("HKMS1/manifest", DerivationContext(kind: .none, parameterDigest: parameterDigest).encoded())
    }
}
