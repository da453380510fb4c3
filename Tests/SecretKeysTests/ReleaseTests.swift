import ComplexModule
import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// What raw decryptions give away, and released ones do not.
@Suite(.serialized) struct ReleaseTests {
    /// One prime, a small ring: keys are recovered as in the larger ones, only faster.
    private static func parameters() throws -> EncryptionParameters {
        try EncryptionParameters(
            scheme: .ckks, logN: 11, q: Primes.nttPrimes(bits: 50, degree: 2048, count: 2), p: [], alpha: 0,
            security: .insecureForTestsOnly)
    }

    private func withBench(_ body: (borrowing SecretKey, EncryptionContext, PublicKey, RNSPolynomial) throws -> Void)
        throws
    {
        let context = try EncryptionContext.shared(Self.parameters())
        let seed = try Scheme1.seed((0..<32).map { $0 &* 5 })
        let secret = try seed.secretKey(context)
        let publicKey = try seed.publicKey(secret)
        let basis = context.ciphertextBasis(level: 2)
        let zero = RNSPolynomial(basis: basis, form: .evaluation)
        var one = zero
        for row in 0..<2 { one.withMutableRow(row) { $0.update(repeating: 1, count: basis.degree) } }
        let s = try secret.decryptRaw(Ciphertext(context: context, polynomials: [zero, one], scale: 1)).polynomial
        try body(secret, context, publicKey, s)
    }

    private func values(_ count: Int, _ seed: UInt64) -> [Complex<Double>] {
        var random = SeededGenerator(seed)
        return (0..<count).map { _ in
            Complex(.random(in: -1...1, using: &random), .random(in: -1...1, using: &random))
        }
    }

    private func integers(_ polynomial: RNSPolynomial) -> [Int64] {
        ExactPolynomial(lifting: polynomial).doubles.map { Int64($0) }
    }

    private func policy(
        _ parameters: EncryptionParameters, statisticalBits: Int = 30, budget: Int = 16, precision: Double = 0x1p-40,
        level: Int = 2
    ) throws -> FloodingPolicy {
        let noise = StaticNoise(parameters)
        return try FloodingPolicy(
            errorBound: noise.floodingBound(noise.fresh), statisticalBits: statisticalBits, budget: budget,
            precision: precision, level: level, scaleBits: 40)
    }

    @Test("one raw decryption gives the key, and a hundred released ones do not")
    func keyRecovery() throws {
        try withBench { secret, context, publicKey, s in
            let encoder = try CKKSEncoder(context)
            let truth = integers(s)
            #expect(truth.allSatisfy { abs($0) <= 1 })
            let policy = try policy(context.parameters, budget: 100)
            for seed in 0..<100 as Range<UInt64> {
                let plain = try encoder.encode(complex: values(encoder.slotCount, seed), scale: 0x1p40)
                let ciphertext = try publicKey.encrypt(plain)
                if seed < 4 {
                    let raw = try encoder.decodeComplex(secret.decryptRaw(ciphertext))
                    #expect(try KeyRecovery.guess(from: ciphertext, decryptedTo: raw, encoder) == truth)
                }
                let released = try secret.release(ciphertext, policy: policy)
                let guess = try KeyRecovery.guess(from: ciphertext, decryptedTo: released.values, encoder)
                // A coefficient is right by chance, one in 2^50.
                #expect(guess.indices.count { guess[$0] == truth[$0] } < 3)
            }
        }
    }

    /// Sum of products over sums of squares: 1 for equals, 1 / sqrt(N) deviations for strangers.
    private func correlation(_ left: [Double], _ right: [Double]) -> Double {
        let dot = zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }
        let (l, r) = (left.reduce(0) { $0 + $1 * $1 }, right.reduce(0) { $0 + $1 * $1 })
        return dot / (l * r).squareRoot()
    }

    @Test("what is released is uncorrelated with the true error and with the key, budget and all")
    func correlations() throws {
        try withBench { secret, context, publicKey, s in
            let encoder = try CKKSEncoder(context)
            let plain = try encoder.encode(complex: values(encoder.slotCount, 1), scale: 0x1p40)
            let ciphertext = try publicKey.encrypt(plain)
            let error = ExactPolynomial(lifting: try secret.decryptRaw(ciphertext).polynomial - plain.polynomial)
                .doubles
            let key = ExactPolynomial(lifting: s).doubles
            func seen(_ values: [Complex<Double>]) throws -> [Double] {
                let encoded = try encoder.encode(complex: values, scale: 0x1p40)
                return ExactPolynomial(lifting: encoded.polynomial - plain.polynomial).doubles
            }
            // Of a raw decryption everything is seen; the measurement works.
            let raw = try seen(encoder.decodeComplex(secret.decryptRaw(ciphertext)))
            #expect(correlation(raw, error) > 0.999)
            let honest = try policy(context.parameters)
            let bound = honest.errorBound
            let size = error.reduce(0) { $0 + $1 * $1 }.squareRoot()
            #expect(size < bound)
            // Too little noise hides nothing: 16 releases of one result, averaged.
            let narrow = try FloodingPolicy(
                errorBound: size / 400, statisticalBits: 1, budget: 1, precision: 0x1p-40, level: 2, scaleBits: 40)
            for (policy, isEnough) in [(honest, true), (narrow, false)] {
                var mean = [Double](repeating: 0, count: context.degree)
                for _ in 0..<16 {
                    let once = try seen(secret.release(ciphertext, policy: policy).values)
                    mean = zip(mean, once).map { $0 + $1 / 16 }
                }
                // Eight deviations: 2^-49.
                let limit = 8 / Double(context.degree).squareRoot()
                #expect(abs(correlation(mean, key)) < limit)
                if isEnough {
                    #expect(abs(correlation(mean, error)) < limit)
                    let deviation = (mean.reduce(0) { $0 + $1 * $1 } / Double(context.degree)).squareRoot() * 4
                    #expect(abs(deviation / policy.noise.deviation - 1) < 0.15)
                } else {
                    #expect(correlation(mean, error) > 0.5)
                }
            }
        }
    }

    @Test(
        "released values are the message within the policy's disturbance, multiples of the step, and never the same",
        arguments: [1, 3])
    func accuracy(width: Int) throws {
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        try withBench { secret, context, publicKey, _ in
            let encoder = try CKKSEncoder(context)
            let message = values(encoder.slotCount, 3)
            let ciphertext = try publicKey.encrypt(encoder.encode(complex: message, scale: 0x1p40))
            let policy = try policy(context.parameters, statisticalBits: 2, budget: 1, precision: 0.01)
            #expect(policy.step == 0x1p-8)
            let (one, two) = (
                try secret.release(ciphertext, policy: policy), try secret.release(ciphertext, policy: policy)
            )
            #expect(one.values.count == encoder.slotCount && one.policy == policy)
            #expect(one.values != two.values)
            let bound = policy.disturbance(logN: 11) + StaticNoise(context.parameters).fresh.embedding / 0x1p40
            for (value, expected) in zip(one.values + two.values, message + message) {
                #expect(abs(value.real - expected.real) < bound && abs(value.imaginary - expected.imaginary) < bound)
                #expect((value.real / policy.step).rounded() * policy.step == value.real)
            }
            #expect(try secret.release(ciphertext, count: 3, policy: policy).real.count == 3)
        }
    }

    @Test("a ciphertext that the policy is not for is refused by name")
    func refusals() throws {
        try withBench { secret, context, publicKey, _ in
            let encoder = try CKKSEncoder(context)
            let evaluator = CKKSEvaluator(context)
            let fresh = try publicKey.encrypt(encoder.encode([1], scale: 0x1p40))
            let policy = try policy(context.parameters)
            let low = try evaluator.dropLevel(fresh, to: 1)
            #expect(throws: HEError.levelMismatch(1, 2)) { _ = try secret.release(low, policy: policy) }
            let scaled = try Ciphertext(context: context, polynomials: fresh.polynomials, scale: 0x1p41)
            #expect(throws: HEError.scaleMismatch(0x1p41, 0x1p40)) { _ = try secret.release(scaled, policy: policy) }
            let three = try Ciphertext(
                context: context, polynomials: fresh.polynomials + [fresh.polynomials[1]], scale: 0x1p40)
            #expect(throws: HEError.unexpectedPolynomialCount(3, expected: "2: relinearize first")) {
                _ = try secret.release(three, policy: policy)
            }
            let slots = encoder.slotCount
            #expect(throws: HEError.tooManyValues(count: slots + 1, slots: slots)) {
                _ = try secret.release(fresh, count: slots + 1, policy: policy)
            }
            let foreign = try EncryptionContext(#require(ParameterPreset.named("ckks-12")).parameters)
            let zero = RNSPolynomial(basis: foreign.ciphertextBasis(level: 2), form: .evaluation)
            let other = try Ciphertext(context: foreign, polynomials: [zero, zero], scale: 0x1p40)
            #expect(throws: HEError.parameterMismatch) { _ = try secret.release(other, policy: policy) }
        }
    }

    @Test("policies: the formula, and numbers that are refused")
    func policies() throws {
        let policy = try FloodingPolicy(
            errorBound: 1000, statisticalBits: 30, budget: 1024, precision: 1e-3, level: 1, scaleBits: 60)
        #expect(abs(policy.leastDeviation / (110.851252 * 32768 * 1000) - 1) < 1e-6)
        #expect((1..<1.2).contains(policy.noise.deviation / policy.leastDeviation))
        #expect(policy.step == 0x1p-11)
        for (bound, bits, budget, precision, scaleBits) in [
            (0, 30, 1, 1, 40), (-1, 30, 1, 1, 40), (.infinity, 30, 1, 1, 40), (.nan, 30, 1, 1, 40), (1, 0, 1, 1, 40),
            (1, 129, 1, 1, 40), (1, 30, 0, 1, 40), (1, 30, 1 << 41, 1, 40), (1, 30, 1, 0, 40), (1, 30, 1, .nan, 40),
            (1, 30, 1, 1, 0), (1, 30, 1, 1, 121), (0x1p90, 30, 1, 1, 40), (1e-9, 1, 1, 1, 40),
            // Finite, and the deviation is not.
            (1e308, 128, 1 << 40, 1, 40),
        ] as [(Double, Int, Int, Double, Int)] {
            #expect(throws: HEError.self) {
                try FloodingPolicy(
                    errorBound: bound, statisticalBits: bits, budget: budget, precision: precision, level: 1,
                    scaleBits: scaleBits)
            }
        }
    }

    @Test("policies travel as JSON, and are checked when they arrive")
    func coding() throws {
        let policy = try FloodingPolicy(
            errorBound: 1234.5, statisticalBits: 64, budget: 1 << 20, precision: 1e-3, level: 2, scaleBits: 71,
            audience: .shared)
        let bytes = try JSONEncoder().encode(policy)
        #expect(try JSONDecoder().decode(FloodingPolicy.self, from: bytes) == policy)
        let text = String(decoding: bytes, as: UTF8.self)
        for (old, new) in [
            ("1234.5", "0"), ("1234.5", "-1"), ("1234.5", "1e308"), ("1048576", "0"), ("64", "0"), ("71", "0"),
            ("0.00048828125", "0.0005"),
            ("shared", "all"),
        ] {
            #expect(text.contains(old))
            let other = Data(text.replacingOccurrences(of: old, with: new).utf8)
            #expect(throws: (any Error).self) { try JSONDecoder().decode(FloodingPolicy.self, from: other) }
        }
    }
}
