import ComplexModule
import HomomorphicEncryption
import RLWE
import SecretKeys
import TestSupport
import Testing

/// The static bounds against exact errors: never exceeded, and how far above they are.
@Suite struct StaticNoiseTests {
    /// log2 of bound over error, in the Euclidean norm of the coefficients and in the largest slot.
    private func slack(_ error: RNSPolynomial, _ bound: ErrorBound, _ bench: NoiseBench) throws -> (Double, Double) {
        let coefficients = ExactPolynomial(lifting: error).doubles
        let euclidean = coefficients.reduce(0) { $0 + $1 * $1 }.squareRoot()
        let embedding = try bench.slots(error).reduce(0) { max($0, $1.length) }
        return (.log2(bound.euclidean / euclidean), .log2(bound.embedding / embedding))
    }

    private func expect(
        _ slack: (Double, Double), euclidean: ClosedRange<Double>, embedding: ClosedRange<Double>, _ name: Comment
    ) {
        #expect(euclidean.contains(slack.0), "\(name): \(slack.0) bits, coefficients")
        #expect(embedding.contains(slack.1), "\(name): \(slack.1) bits, slots")
    }

    private func values(_ bench: NoiseBench, _ seed: UInt64) -> [Complex<Double>] {
        var random = SeededGenerator(seed)
        return (0..<bench.encoder.slotCount).map { _ in
            Complex(length: .random(in: 0.5...1, using: &random), phase: .random(in: -3.2...3.2, using: &random))
        }
    }

    @Test(
        "fresh encryptions, switches, rescalings and squares stay below",
        arguments: ParameterPreset.all.filter { $0.parameters.logN <= 14 })
    func operations(preset: ParameterPreset) throws {
        let bench = try NoiseBench(preset)
        let noise = StaticNoise(preset.parameters)
        let level = bench.context.maximumLevel
        let message = try bench.plaintext(values(bench, 1))
        let fresh = try bench.publicKey.encrypt(message)
        let freshError = try bench.phase(fresh) - message.polynomial
        expect(try slack(freshError, noise.fresh, bench), euclidean: 3...5, embedding: 3...7, "fresh")

        let rotation = try bench.key(.galois, element: bench.element(1))
        let relinearization = try bench.key(.relinearization)
        let keys = EvaluationKeySet([rotation, relinearization])
        let rotated = try bench.evaluator.rotate(fresh, by: 1, keys: keys)
        let automorphism = GaloisAutomorphism.shared(element: bench.element(1), degree: bench.degree)
        let switched = try bench.phase(rotated) - bench.phase(fresh).applying(automorphism)
        expect(
            try slack(switched, noise.keySwitch(level: level), bench), euclidean: 3...7, embedding: 8...14, "switch")

        // m^2 exactly, and rescaled: its difference from the exact quotient is the rounding.
        let square = try bench.evaluator.square(fresh, keys: keys)
        let squareError = try bench.phase(square) - message.polynomial * message.polynomial
        let magnitude = try bench.slots(message.polynomial).reduce(0) { max($0, $1.length) }
        let squareBound = noise.fresh.squared(magnitude: magnitude) + noise.keySwitch(level: level)
        expect(try slack(squareError, squareBound, bench), euclidean: 3...6, embedding: 3...8, "square")
        guard level > 1 else { return }
        let last = preset.parameters.q[level - 1]
        let rescaled = try bench.phase(bench.evaluator.rescale(square))
        let before = ExactPolynomial(lifting: try bench.phase(square)).divided(by: last)
        var quotient = before.residues(rescaled.basis)
        quotient.transform()
        // Half of one for the division above.
        let rounding = try slack(rescaled - quotient, noise.rescaled(.zero, by: [last]), bench)
        #expect(rounding.0 > 2.5 && rounding.1 > 2.5, "rescaling: \(rounding)")
    }

    @Test("the norms of what is drawn: keys, masks and errors, over many keys")
    func draws() throws {
        let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
        let noise = StaticNoise(parameters)
        for seed in 1...8 as ClosedRange<UInt8> {
            let bench = try NoiseBench(parameters, scaleBits: 31, seed: 2 * seed + 1)
            let plain = try bench.plaintext(values(bench, UInt64(seed)))
            let error = try bench.phase(bench.publicKey.encrypt(plain)) - plain.polynomial
            let slack = try slack(error, noise.fresh, bench)
            #expect(slack.0 > 3 && slack.1 > 3)
        }
    }
}
