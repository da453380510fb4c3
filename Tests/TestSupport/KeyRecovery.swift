import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule

/// The attack on decryptions of CKKS that show their noise: Li and Micciancio, "On the Security of Homomorphic
/// Encryption on Approximate Numbers", EUROCRYPT 2021, section 3.
public enum KeyRecovery {
    /// The values, encoded again, give c_0 + c_1 s; the secret key is what is left over c_1.
    /// - Parameters:
    ///   - ciphertext: of two polynomials.
    ///   - values: all its slots, as they were given out.
    /// - Returns: the secret key's N coefficients, -1, 0 and 1, where the values were raw; else any numbers modulo the
    ///   first prime, between minus and plus its half.
    public static func guess(
        from ciphertext: Ciphertext, decryptedTo values: [Complex<Double>], _ encoder: CKKSEncoder
    ) throws -> [Int64] {
        let message = try encoder.encode(complex: values, scale: ciphertext.scale, level: ciphertext.level)
        var quotient = message.polynomial - ciphertext.polynomials[0]
        let modulus = quotient.basis.moduli[0]
        ciphertext.polynomials[1].withRow(0) { c1 in
            quotient.withMutableRow(0) { row in
                for index in 0..<modulus.degree {
                    row[index] = modulus.multiply(row[index], modulus.inverse(c1[index]))
                }
            }
        }
        quotient.inverseTransform()
        return quotient.withRow(0) { row in (0..<modulus.degree).map { modulus.centered(row[$0]) } }
    }
}

extension NTTModulus {
    /// The number between minus and plus half of the prime that a residue stands for.
    public func centered(_ residue: UInt64) -> Int64 {
        residue > value / 2 ? Int64(residue) - Int64(value) : Int64(residue)
    }
}
