import Crypto
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The key derivation function of derivation suite 1, 1: HMAC-SHA-512 in SP 800-108r1 counter mode,
/// one block, cut to 32 bytes.
enum KeyDerivationFunction {
    /// KDF(key, label, context) = first 32 bytes of
    /// HMAC-SHA-512(key, u32 1 || label || 00 || context || u32 256), big-endian.
    ///
    /// - Parameter context: may itself be secret.
    static func derive(
        key: borrowing SecretBytes, label: String, context: borrowing SecretBytes
    ) throws(SecretMemoryError) -> SecretBytes {
        let labelBytes = Array(label.utf8)
        var input = try SecretBytes(count: 4 + labelBytes.count + 1 + context.count + 4)
        input.withUnsafeMutableBytes { out in
            out[3] = 1
            for (index, byte) in labelBytes.enumerated() { out[4 + index] = byte }
            let start = 4 + labelBytes.count + 1
            context.withUnsafeBytes { context in
                UnsafeMutableRawBufferPointer(rebasing: out[start...]).copyMemory(from: context)
            }
            out[out.count - 2] = 1  // 256 bits
        }
        return try hmac(key: key, input: input)
    }

    /// First 32 bytes of HMAC-SHA-512(key, input).
    static func hmac(
        key: borrowing SecretBytes, input: borrowing SecretBytes
    ) throws(SecretMemoryError) -> SecretBytes {
        var result = try SecretBytes(count: 32)
        SecretMemory.withWipedStack {
            let symmetric = key.withUnsafeBytes { SymmetricKey(data: $0) }
            var code = input.withUnsafeBytes { HMAC<SHA512>.authenticationCode(for: $0, using: symmetric) }
            code.withUnsafeBytes { code in
                result.withUnsafeMutableBytes { $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: code[..<32])) }
            }
            withUnsafeMutableBytes(of: &code) { SecretMemory.wipe($0) }
        }
        return result
    }
}
