import HomomorphicEncryption
import RLWE
import SecretKeys
import Testing

/// The noise of fresh ciphertexts, measured on encryptions of zero.
///
/// With b = -(a s + e), an encryption (b u + e0, a u + e1) decrypts to e0 - e u + e1 s. u and s are
/// uniform ternary: variance 2/3; e, e0 and e1 are centered binomial over 42 bits: variance 10.5. A
/// coefficient of e u is a signed sum of N independent products, so it has variance N * 10.5 * 2/3, and
/// so has one of e1 s. Together 10.5 + 2 * N * 10.5 * 2/3 = 14 N + 10.5: for N = 2^13 a deviation of
/// 338.7. e and s belong to the key, which moves the deviation by about 1 %, and 2^13 coefficients
/// estimate it within about 1 % more.
@Suite struct NoiseTests {
    private let scheme: Scheme1

    init() throws { scheme = try Scheme1("ckks-13") }

    private var degree: Int { scheme.context.degree }

    private func zero() throws -> CKKSPlaintext { try scheme.encoder.encode([], scale: scheme.scale) }

    /// Centered coefficients of what a ciphertext of zero decrypts to; the same modulo every prime.
    private func noise(_ ciphertext: Ciphertext) throws -> [Int64] {
        let secret = try Scheme1.seed((0..<32).map { UInt8($0 * 7 & 0xFF) }).secretKey(scheme.context)
        var polynomial = try secret.decryptRaw(ciphertext).polynomial
        polynomial.inverseTransform()
        let rows = (0..<polynomial.rowCount).map { row in
            let modulus = Int64(polynomial.basis.moduli[row].value)
            return polynomial.withRow(row) { words in
                (0..<degree).map { index in
                    let word = Int64(words[index])
                    return word > modulus / 2 ? word - modulus : word
                }
            }
        }
        #expect(rows.allSatisfy { $0 == rows[0] })
        return rows[0]
    }

    private func deviation(_ noise: [Int64]) -> Double {
        (noise.reduce(0) { $0 + Double($1 * $1) } / Double(noise.count)).squareRoot()
    }

    @Test("public-key encryption has the noise of theory, fresh each time")
    func publicKey() throws {
        let expected = (14 * Double(degree) + 10.5).squareRoot()
        var all: [[Int64]] = []
        for _ in 0..<8 {
            let noise = try noise(scheme.publicKey.encrypt(zero()))
            #expect(abs(deviation(noise) / expected - 1) < 0.1)
            let mean = Double(noise.reduce(0, +)) / Double(degree)
            #expect(abs(mean) < 8 * expected / Double(degree).squareRoot())
            // Beyond seven deviations lies one coefficient in 10^11.
            #expect(noise.allSatisfy { Double($0.magnitude) < 7 * 1.1 * expected })
            all.append(noise)
        }
        for i in all.indices {
            for j in 0..<i {
                let product = zip(all[i], all[j]).reduce(0) { $0 + Double($1.0 * $1.1) }
                let correlation = product / Double(degree) / (deviation(all[i]) * deviation(all[j]))
                #expect(abs(correlation) < 8 / Double(degree).squareRoot())
            }
        }
    }

    @Test("secret-key encryption has the error's own noise")
    func secretKey() throws {
        let expected = 10.5.squareRoot()
        for _ in 0..<4 {
            let noise = try noise(scheme.encryptSymmetric([]))
            #expect(abs(deviation(noise) / expected - 1) < 0.1)
            #expect(noise.allSatisfy { $0.magnitude <= 21 })
            #expect(abs(Double(noise.reduce(0, +)) / Double(degree)) < 8 * expected / Double(degree).squareRoot())
        }
    }

    @Test("no two encryptions share a polynomial")
    func fresh() throws {
        let ciphertexts =
            try (0..<4).map { _ in try scheme.publicKey.encrypt(zero()) }
            + (0..<4).map { _ in try scheme.encryptSymmetric([]) }
        let digests = ciphertexts.flatMap { $0.polynomials.map { RNSPolynomial.testVectorDigest([$0]) } }
        #expect(Set(digests).count == 16)
    }
}
