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
            let inverses = modulus.inverses(UnsafeBufferPointer(start: c1, count: modulus.degree))
            quotient.withMutableRow(0) { row in
                for index in inverses.indices { row[index] = modulus.multiply(row[index], inverses[index]) }
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

    /// Of residues none of which is 0, by one inversion for all (Montgomery): of the product, from which one factor
    /// after the other is taken.
    fileprivate func inverses(_ residues: UnsafeBufferPointer<UInt64>) -> [UInt64] {
        var result: [UInt64] = []
        result.reserveCapacity(residues.count)
        var product: UInt64 = 1
        for residue in residues {
            result.append(product)
            product = multiply(product, residue)
        }
        var rest = inverse(product)
        for index in residues.indices.reversed() {
            result[index] = multiply(result[index], rest)
            rest = multiply(rest, residues[index])
        }
        return result
    }
}
