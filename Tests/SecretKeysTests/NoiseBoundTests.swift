import ComplexModule
import Foundation
import HomomorphicEncryption
import RLWE
import TestSupport
import Testing

/// Each operation's exact error against docs/noise.md: below the bound, and no more than two bits below it.
///
/// The bound fails with probability 2^-40 and the largest of thousands of errors has a narrow distribution,
/// so the fresh randomness of encryption never decides a test.
@Suite struct NoiseBoundTests {
    private func values(_ bench: NoiseBench, _ seed: UInt64) -> [Complex<Double>] {
        var random = SeededGenerator(seed)
        return (0..<bench.encoder.slotCount).map { _ in
            Complex(length: .random(in: 0.5...1, using: &random), phase: .random(in: -3.2...3.2, using: &random))
        }
    }

    private func expectTight(
        _ error: RNSPolynomial, _ bench: NoiseBench, variance: Double? = nil, power: [Double], per divisor: Double = 1,
        _ name: Comment
    ) throws {
        let slots = try bench.slots(error).map { $0 / Complex(divisor) }
        let slack = NoiseMeasurement(slots: slots, power: power).slack
        #expect((0...2).contains(slack), name)
        guard let variance else { return }
        let coefficients = ExactPolynomial(lifting: error).doubles.map { $0 / divisor }
        let coefficientSlack = NoiseMeasurement(coefficients: coefficients, variance: variance).slack
        #expect((0...2).contains(coefficientSlack), name)
    }

    @Test("fresh encryptions and their sums", arguments: ParameterPreset.all)
    func fresh(preset: ParameterPreset) throws {
        let bench = try NoiseBench(preset)
        let n = bench.degree
        let power = bench.freshPublicPower()
        let variance = NoiseModel.freshPublic(degree: n)
        for level in [1, bench.context.maximumLevel] {
            let (x, y) = (
                try bench.plaintext(values(bench, 1), level: level), try bench.plaintext(values(bench, 2), level: level)
            )
            let (cx, cy) = (try bench.publicKey.encrypt(x), try bench.publicKey.encrypt(y))
            let ex = try bench.phase(cx) - x.polynomial
            try expectTight(ex, bench, variance: variance, power: power, "public key")
            let sum = try bench.phase(bench.evaluator.add(cx, cy)) - (x.polynomial + y.polynomial)
            try expectTight(sum, bench, variance: 2 * variance, power: power.map { 2 * $0 }, "sum")
            let difference = try bench.phase(bench.evaluator.subtract(cx, y)) - (x.polynomial - y.polynomial)
            #expect((difference - ex).isZero, "a plaintext adds no error of its own")
            let negated = try bench.phase(bench.evaluator.negate(cx)) + x.polynomial
            #expect((negated + ex).isZero)
            let es = try bench.phase(bench.encryptSymmetric(x)) - x.polynomial
            let flat = [Double](repeating: Double(n) * NoiseModel.freshSecret, count: n / 2)
            try expectTight(es, bench, variance: NoiseModel.freshSecret, power: flat, "secret key")
        }
    }

    /// Levels at which a preset's switches are measured: all of the smaller ones, few of the larger.
    private func levels(_ preset: ParameterPreset) -> [Int] {
        let top = preset.parameters.q.count
        if SoakTests.enabled || preset.parameters.logN < 14 { return Array(1...top) }
        return preset.parameters.logN == 14 ? [2, 5, 8] : [2, preset.parameters.alpha + 1]
    }

    @Test("products, rescaling, rotation and conjugation", arguments: ParameterPreset.all)
    func operations(preset: ParameterPreset) throws {
        let bench = try NoiseBench(preset)
        let evaluator = bench.evaluator
        let fresh = bench.freshPublicPower()
        let levels = levels(preset)
        let keyLevel = levels.max() ?? 1
        let relinearization = try bench.key(.relinearization, level: keyLevel)
        let rotation = try bench.key(.galois, element: bench.element(1), level: keyLevel)
        let conjugation = try bench.key(.galois, element: 2 * bench.degree - 1, level: keyLevel)
        let keys = EvaluationKeySet([relinearization, rotation, conjugation])
        let relinearizationErrors = try bench.errorPower(of: relinearization)
        for level in levels {
            let x = try bench.plaintext(values(bench, 3), level: level)
            let cx = try bench.publicKey.encrypt(x)
            let phase = try bench.phase(cx)
            for (key, image) in [
                (rotation, try evaluator.rotate(cx, by: 1, keys: keys)),
                (conjugation, try evaluator.conjugate(cx, keys: keys)),
            ] {
                let automorphism = GaloisAutomorphism.shared(element: Int(key.id.galois), degree: bench.degree)
                try expectTight(
                    bench.phase(image) - phase.applying(automorphism), bench,
                    variance: NoiseModel.keySwitching(bench.parameters, level: level),
                    power: bench.keySwitchingPower(try bench.errorPower(of: key), level: level),
                    "Galois \(key.id.galois), level \(level)")
            }
            guard level > 1 else { continue }
            let y = try bench.plaintext(values(bench, 4), level: level)
            let cy = try bench.publicKey.encrypt(y)
            let (mx, my) = (try bench.slots(x.polynomial), try bench.slots(y.polynomial))
            let known = try bench.phase(evaluator.multiply(cx, y)) - x.polynomial * y.polynomial
            try expectTight(known, bench, power: zip(fresh, my).map { $0 * $1.lengthSquared }, "known factor")
            let product = try evaluator.multiply(cx, cy, keys: keys)
            let switching = bench.keySwitchingPower(relinearizationErrors, level: level)
            let power = mx.indices.map { i in
                fresh[i] * (mx[i].lengthSquared + my[i].lengthSquared + fresh[i]) + switching[i]
            }
            let productPhase = try bench.phase(product)
            try expectTight(productPhase - x.polynomial * y.polynomial, bench, power: power, "product, level \(level)")

            // q phase' - phase, which is q times the error of rounding.
            let rescaled = try bench.phase(evaluator.rescale(product))
            let last = bench.parameters.q[level - 1]
            var scaled = RNSPolynomial(uninitialized: rescaled.basis, form: .evaluation)
            for (row, modulus) in rescaled.basis.moduli.enumerated() {
                rescaled.withRow(row) { source in
                    scaled.withMutableRow(row) { modulus.multiply($0, source, scalar: last % modulus.value) }
                }
            }
            // One prime alone may be too short for q times an error of some hundred units.
            guard level > 2 else { continue }
            try expectTight(
                scaled - productPhase.prefix(rescaled.basis), bench,
                variance: NoiseModel.rescaling(degree: bench.degree), power: bench.rescalingPower(),
                per: Double(last), "rescaling, level \(level)")
        }
    }
}

/// Longer runs of the same tests, for `HKMS_SOAK=1`.
enum SoakTests {
    static let enabled = ProcessInfo.processInfo.environment["HKMS_SOAK"] == "1"
}
