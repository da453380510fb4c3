import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule
import Testing

/// Distributions of what keys and fresh ciphertexts hide, as `NoiseTests` has their variance, closer.
///
/// Keys are fixed by their seeds. Encryptions are not: their limits are ones that chance passes less than
/// once in 10^9 runs.
@Suite struct NoiseStatisticsTests {
    /// Sum of products in deviations of its own: normal for independent factors of mean 0.
    private func correlation(_ left: [Int64], _ right: [Int64]) -> Double {
        let products = zip(left, right).map { Double($0 * $1) }
        return products.reduce(0, +) / products.reduce(0) { $0 + $1 * $1 }.squareRoot()
    }

    @Test("a derived secret is uniform ternary", arguments: ParameterPreset.all)
    func secret(preset: ParameterPreset) throws {
        let bench = try NoiseBench(preset)
        let s = bench.secretCoefficients
        let third = Double(s.count) / 3
        let chiSquare = [-1, 0, 1].reduce(0) { sum, value in
            let count = Double(s.reduce(0) { $0 + ($1 == value ? 1 : 0) })
            return sum + (count - third) * (count - third) / third
        }
        // Two degrees of freedom: a fixed number, and 18 has the probability exp(-9).
        #expect(chiSquare < 18)
        #expect(s.allSatisfy { abs($0) <= 1 })
        // In slots: 2N/3 on average, nowhere more than the bound.
        let power = bench.secretPower
        let mean = power.reduce(0, +) / Double(power.count)
        #expect(abs(mean / (Double(s.count) * NoiseModel.secretVariance) - 1) < 0.05)
        #expect(power.allSatisfy { $0 < NoiseModel.largestSecretPower(degree: bench.degree) })
    }

    @Test("errors of every digit of every key have their variance and do not correlate")
    func keyErrors() throws {
        let preset = try #require(ParameterPreset.named("ckks-14"))
        let bench = try NoiseBench(preset)
        var errors = try bench.keys(rotations: [1]).flatMap { try bench.errors(of: $0) }
        #expect(errors.count == 12)
        let n = Double(bench.degree)
        for error in errors {
            #expect(error.allSatisfy { abs($0) <= 21 })
            // Variance of e^2: the fourth moment, 3 * 10.5^2 - 42 / 8, less 10.5^2.
            let variance = error.reduce(0) { $0 + Double($1 * $1) } / n
            #expect(abs(variance - 10.5) < 6 * ((2 * 10.5 * 10.5 - 5.25) / n).squareRoot())
            #expect(abs(Double(error.reduce(0, +))) < 6 * (10.5 * n).squareRoot())
        }
        errors.append(bench.secretCoefficients)
        for i in errors.indices {
            for j in 0..<i { #expect(abs(correlation(errors[i], errors[j])) < 6) }
        }
    }

    @Test("fresh noise has the variance that this key gives it, within 3 %", arguments: ParameterPreset.all)
    func variance(preset: ParameterPreset) throws {
        let bench = try NoiseBench(preset)
        let n = Double(bench.degree)
        let zero = try bench.plaintext([], level: 1)
        let norm = bench.secretCoefficients.reduce(0) { $0 + Double($1 * $1) }
        let errorNorm = bench.publicErrorPower.reduce(0, +) * 2 / n
        // Given s and e: 10.5 (1 + |s|^2) + |e|^2 2/3.
        let expected = NoiseModel.errorVariance * (1 + norm) + NoiseModel.secretVariance * errorNorm
        #expect(abs(expected / NoiseModel.freshPublic(degree: bench.degree) - 1) < 0.05)
        var sum = 0.0
        let runs = max(2, (1 << 18) / bench.degree)
        for _ in 0..<runs {
            let noise = ExactPolynomial(lifting: try bench.phase(bench.publicKey.encrypt(zero))).doubles
            sum += noise.reduce(0) { $0 + $1 * $1 }
        }
        #expect(abs(sum / Double(runs) / n / expected - 1) < 0.03)
    }

    @Test("a slot's noise over its deviation is complex normal", arguments: [true, false])
    func slots(publicKey: Bool) throws {
        let bench = try NoiseBench(try #require(ParameterPreset.named("ckks-12")))
        let zero = try bench.plaintext([], level: 1)
        let flat = [Double](repeating: Double(bench.degree) * NoiseModel.freshSecret, count: bench.degree / 2)
        let power = publicKey ? bench.freshPublicPower() : flat
        var squares: [Double] = []
        for _ in 0..<32 {
            let ciphertext = try publicKey ? bench.publicKey.encrypt(zero) : bench.encryptSymmetric(zero)
            squares += zip(try bench.slots(bench.phase(ciphertext)), power).map { $0.lengthSquared / $1 }
        }
        // The square of a complex normal's length is exponential. Kolmogorov and Smirnov: chance passes
        // 4 / sqrt(n) with probability 2 exp(-32); half of that is left for the sums that are not quite normal.
        squares.sort()
        let n = Double(squares.count)
        let distance = squares.indices.reduce(0.0) {
            let expected = 1 - Double.exp(-squares[$1])
            return max($0, abs(expected - Double($1) / n), abs(expected - Double($1 + 1) / n))
        }
        #expect(distance < 4 / n.squareRoot())
    }
}
