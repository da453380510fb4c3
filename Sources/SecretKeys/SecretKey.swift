import HomomorphicEncryption
import RLWE
import SecretMemory

/// A secret HE key: N uniform ternary coefficients, kept at two bits each in locked memory and expanded
/// a row at a time.
public struct SecretKey: ~Copyable, Sendable {
    public let context: EncryptionContext
    /// s_i + 1 in two bits each, coefficient 0 in the low bits of byte 0.
    package let packed: SecretBytes
    /// skTag of derivation suite 1, 6.
    let tag: SecretBytes

    init(context: EncryptionContext, packed: consuming SecretBytes, tag: consuming SecretBytes) {
        self.context = context
        self.packed = packed
        self.tag = tag
    }

    /// Of locked memory.
    public var byteCount: Int { packed.count + tag.count }

    /// Writes s, transformed, modulo one prime.
    package borrowing func expand(_ modulus: NTTModulus, into words: UnsafeMutablePointer<UInt64>) {
        packed.withUnsafeBytes { modulus.transformTernary(words, $0.bytes) }
    }
}

extension Seed {
    /// s of derivation suite 1, 5, and its tag.
    public borrowing func secretKey(_ context: EncryptionContext) throws -> SecretKey {
        let ctx = try DerivationContext(kind: .secret, parameterDigest: context.parameterDigest).encoded()
        let key = try derive("HKMS1/secret", ctx)
        let packed = try Samplers.ternary(degree: context.degree, key: key, x: 0, y: 0)
        let tagKey = try derive("HKMS1/sktagkey", ctx)
        let tag = try KeyDerivationFunction.derive(key: tagKey, label: "HKMS1/sktag", context: packed)
        return SecretKey(context: context, packed: packed, tag: tag)
    }
}
