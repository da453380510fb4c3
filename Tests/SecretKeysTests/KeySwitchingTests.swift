import HomomorphicEncryption
import RLWE
import Testing

/// Primes a digit and special primes, with ciphertext primes that just fit.
struct DigitLayout: Sendable, CustomTestStringConvertible {
    let alpha: Int
    let specials: Int
    /// Ciphertext primes, and so levels.
    var levels = 6

    /// The last two are those of ckks-15 and ckks-16; ten primes make their last digit shorter than the others.
    static let all =
        [1, 2, 3].flatMap { alpha in
            [1, 2].map { DigitLayout(alpha: alpha, specials: $0) }
        } + [DigitLayout(alpha: 3, specials: 3, levels: 10), DigitLayout(alpha: 8, specials: 7, levels: 10)]

    var testDescription: String { "alpha \(alpha), \(specials) special" }

    func parameters(primes count: Int? = nil) throws -> EncryptionParameters {
        let degree = 2048
        let p = Primes.nttPrimes(bits: 59, degree: degree, count: specials)
        // As long as the special primes allow a digit to be, so that its noise counts.
        let q = Primes.nttPrimes(bits: min(58, 59 * specials / alpha), degree: degree, count: count ?? levels)
        return try EncryptionParameters(
            scheme: .ckks, logN: 11, q: q, p: p, alpha: alpha, security: .insecureForTestsOnly)
    }
}

/// What key switching adds to the phase, exactly, at every level and with every key that serves it.
@Suite struct KeySwitchingTests {
    private func zero(_ bench: NoiseBench, level: Int) throws -> Ciphertext {
        try bench.publicKey.encrypt(bench.plaintext([], scale: 1, level: level))
    }

    private func check(_ error: RNSPolynomial, _ bench: NoiseBench, _ key: EvaluationKey, _ name: String) throws {
        let level = error.rowCount
        let label = Comment(rawValue: "\(name), level \(level), key of level \(key.id.level)")
        let coefficients = NoiseMeasurement(
            coefficients: ExactPolynomial(lifting: error).doubles,
            variance: NoiseModel.keySwitching(bench.parameters, level: level))
        #expect((0...2).contains(coefficients.slack), label)
        let slots = NoiseMeasurement(
            slots: try bench.slots(error), power: bench.keySwitchingPower(try bench.errorPower(of: key), level: level))
        #expect((0...2).contains(slots.slack), label)
    }

    @Test("Galois and relinearization keys, at their own level and every lower one", arguments: DigitLayout.all)
    func own(layout: DigitLayout) throws {
        let bench = try NoiseBench(layout.parameters(), scaleBits: 0)
        let conjugation = 2 * bench.degree - 1
        for keyLevel in 1...layout.levels {
            let relinearization = try bench.key(.relinearization, level: keyLevel)
            let galois = try [bench.element(1), conjugation].map {
                try bench.key(.galois, element: $0, level: keyLevel)
            }
            let keys = EvaluationKeySet([relinearization] + galois)
            for level in 1...keyLevel {
                let (x, y) = (try zero(bench, level: level), try zero(bench, level: level))
                let phase = try bench.phase(x)
                for (key, image) in [
                    (galois[0], try bench.evaluator.rotate(x, by: 1, keys: keys)),
                    (galois[1], try bench.evaluator.conjugate(x, keys: keys)),
                ] {
                    let automorphism = GaloisAutomorphism.shared(element: Int(key.id.galois), degree: bench.degree)
                    let error = try bench.phase(image) - phase.applying(automorphism)
                    try check(error, bench, key, "Galois \(key.id.galois)")
                }
                let product = try bench.evaluator.multiplyWithoutRelinearization(x, y)
                let error = try bench.phase(bench.evaluator.relinearize(product, keys: keys)) - bench.phase(product)
                try check(error, bench, relinearization, "relinearization")
            }
        }
    }

    @Test("switching keys, at their own level and every lower one", arguments: DigitLayout.all)
    func switching(layout: DigitLayout) throws {
        let parameters = try layout.parameters()
        let old = try NoiseBench(parameters, scaleBits: 0)
        let new = try NoiseBench(parameters, scaleBits: 0, seed: 9)
        for keyLevel in 1...layout.levels {
            let key = try new.switchingKey(from: old, level: keyLevel)
            for level in 1...keyLevel {
                let ciphertext = try zero(old, level: level)
                let error = try new.phase(new.evaluator.switchSecret(ciphertext, with: key)) - old.phase(ciphertext)
                try check(error, new, key, "switching")
            }
        }
    }

    @Test("no ciphertext, however chosen, passes the worst case", arguments: DigitLayout.all)
    func worst(layout: DigitLayout) throws {
        let bench = try NoiseBench(layout.parameters(), scaleBits: 0)
        let keys = EvaluationKeySet([try bench.key(.galois, element: bench.element(1))])
        let automorphism = GaloisAutomorphism.shared(element: bench.element(1), degree: bench.degree)
        let secretNorm = bench.secretCoefficients.reduce(0.0) { $0 + Double($1.magnitude) }
        for level in 1...layout.levels {
            let basis = bench.context.ciphertextBasis(level: level)
            let bound = NoiseModel.worstKeySwitching(bench.parameters, level: level, secretNorm: secretNorm)
            let patterns: [(String, (Int, UInt64) -> UInt64)] = [
                ("zero", { _, _ in 0 }), ("one", { _, _ in 1 }), ("minus one", { _, q in q - 1 }),
                ("just below half", { _, q in q / 2 }), ("just above half", { _, q in q / 2 + 1 }),
                ("alternating halves", { k, q in q / 2 + UInt64(k & 1) }),
                ("one coefficient", { k, q in k == 5 ? q / 2 : 0 }),
            ]
            for (name, pattern) in patterns {
                var c1 = RNSPolynomial(basis: basis, form: .coefficient)
                for (row, modulus) in basis.moduli.enumerated() {
                    c1.withMutableRow(row) { for k in 0..<bench.degree { $0[k] = pattern(k, modulus.value) } }
                }
                c1.transform()
                let zero = RNSPolynomial(basis: basis, form: .evaluation)
                let ciphertext = try Ciphertext(context: bench.context, polynomials: [zero, c1], scale: 1)
                let rotated = try bench.evaluator.rotate(ciphertext, by: 1, keys: keys)
                let error = try bench.phase(rotated) - bench.phase(ciphertext).applying(automorphism)
                let largest = ExactPolynomial(lifting: error).doubles.reduce(0) { max($0, $1.magnitude) }
                #expect(largest <= bound, Comment(rawValue: "\(name), level \(level)"))
            }
        }
    }

    @Test("decryption is the schoolbook c_0 + c_1 s + c_2 s^2 modulo every prime")
    func decryption() throws {
        let bench = try NoiseBench(DigitLayout(alpha: 2, specials: 2).parameters(primes: 2), scaleBits: 0)
        let basis = bench.context.ciphertextBasis(level: 2)
        let product = try bench.evaluator.multiplyWithoutRelinearization(zero(bench, level: 2), zero(bench, level: 2))
        let s = ExactPolynomial(bench.secretCoefficients, width: 3)
        let parts = product.polynomials.map { ExactPolynomial(lifting: $0).extended(to: 3) }
        var expected = (parts[0] + (parts[1] + parts[2] * s) * s).residues(basis)
        expected.transform()
        #expect(try (bench.phase(product) - expected).isZero)
    }
}
