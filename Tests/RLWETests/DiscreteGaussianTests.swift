import CRLWEKernels
import Foundation
import RLWE
import SecretMemory
import TestSupport
import Testing

/// The sampler of flooding noise against the ideal discrete Gaussian. Keys are fixed, so each statistic is one number
/// for ever; limits lie six deviations out.
@Suite struct DiscreteGaussianTests {
    private let count = 1 << 16

    private func key(_ number: UInt8) throws -> SecretBytes {
        try SecretBytes(copying: (0..<32).map { $0 &* number &+ number })
    }

    private func samples(_ gaussian: DiscreteGaussian, key number: UInt8, count: Int? = nil) throws -> [Int128] {
        let key = try key(number)
        return try gaussian.samples(count ?? self.count, key: key).integersForTests()
    }

    private static let widths = [8, 30, 100, 1000, 0x1p20, 0x1p40, 0x1p50, 0x1p60, 0x1p67, 0x1p90]

    /// Chi-square in deviations from its mean, for counts of bins with these probabilities.
    private func chiSquare(_ counts: [Int], _ probabilities: [Double]) -> Double {
        let total = Double(counts.reduce(0, +))
        let sum = zip(counts, probabilities).reduce(0) {
            $0 + (Double($1.0) - total * $1.1) * (Double($1.0) - total * $1.1) / (total * $1.1)
        }
        let freedom = Double(counts.count - 1)
        return (sum - freedom) / (2 * freedom).squareRoot()
    }

    @Test("deviations: at least as asked, less than an eighth more, and none outside of the range")
    func deviations() throws {
        var random = SeededGenerator(1)
        for _ in 0..<2000 {
            let asked = exp2(Double.random(in: 14...104, using: &random))
            let made = try #require(DiscreteGaussian(deviationAtLeast: asked)).deviation
            #expect(made >= asked && made < 9 / 8 * asked, "\(asked)")
        }
        #expect(DiscreteGaussian(deviationAtLeast: 8)?.deviation == 8)
        for asked in [8.1, 12, 16, 24, 31, 40, 100, 700, 5000] {
            let made = try #require(DiscreteGaussian(deviationAtLeast: asked)).deviation
            #expect(made >= asked && made < 2.3 * asked)
        }
        for outside in [0, 7.9, 0x1p105, .infinity, .nan, -8] as [Double] {
            #expect(DiscreteGaussian(deviationAtLeast: outside) == nil)
        }
    }

    @Test("the base table: each entry is a tail probability, to 40 bits")
    func table() {
        let weights = (0...300).map { exp(-Double($0 * $0) / 128) }
        let total = weights[0] + 2 * weights.dropFirst().reduce(0, +)
        // The magnitude that a random number of 126 bits gives, and both signs of it.
        func magnitude(_ number: UInt128) -> Int64 {
            let (high, low) = (UInt64(truncatingIfNeeded: number >> 63), UInt64(truncatingIfNeeded: number) & .max >> 1)
            var words = [UInt64](repeating: 0, count: 8)
            (words[0], words[1]) = (high << 1, low << 1)
            (words[2], words[3]) = (high << 1 | 1, low << 1 | 1)
            var sums = [Int64](repeating: 0, count: 4)
            hkms_gaussian_add(&sums, words, 4, 1)
            #expect(sums[0] == -sums[1])
            return sums[0]
        }
        // tail[i - 1]: of magnitudes from i on.
        let sums = weights.dropFirst().reversed().reduce(into: [0.0]) { $0.append($0[$0.count - 1] + 2 * $1) }
        let tail = Array(sums.reversed())
        for index in 1...104 {
            let entry = tail[index - 1] / total * 0x1p126
            guard entry > 0x1p45 else { continue }
            let near = UInt128(entry * (1 - 0x1p-40))
            let past = UInt128(entry * (1 + 0x1p-40))
            #expect(magnitude(near) == index && magnitude(past) == index - 1, "entry \(index)")
        }
        #expect(magnitude(0) == 104)
        #expect(magnitude((1 << 126) - 1) == 0)
    }

    @Test("moments up to the sixth, and symmetry", arguments: widths)
    func moments(asked: Double) throws {
        let gaussian = try #require(DiscreteGaussian(deviationAtLeast: asked))
        let values = try samples(gaussian, key: 3).map { Double($0) / gaussian.deviation }
        let n = Double(values.count)
        // Moments of the normal distribution, and the variance of each sample's contribution to them.
        for (power, expected, variance) in [
            (1, 0.0, 1.0), (2, 1, 2), (3, 0, 15), (4, 3, 96), (5, 0, 945), (6, 15, 10170),
        ] {
            let moment = values.reduce(0) { $0 + pow($1, Double(power)) } / n
            #expect(abs(moment - expected) < 6 * (variance / n).squareRoot(), "moment \(power): \(moment)")
        }
        let (positive, negative) = (values.count { $0 > 0 }, values.count { $0 < 0 })
        #expect(abs(Double(positive - negative)) < 6 * n.squareRoot())
    }

    @Test("chi-square, value by value where values are few", arguments: [8, 20, 100])
    func values(asked: Double) throws {
        let gaussian = try #require(DiscreteGaussian(deviationAtLeast: asked))
        let sigma = gaussian.deviation
        // Values with at least some tens of samples; all others are one bin.
        let edge = Int(2.8 * sigma)
        let weights = (-edge...edge).map { exp(-Double($0 * $0) / (2 * sigma * sigma)) }
        let total = (-Int(14 * sigma)...Int(14 * sigma)).reduce(0.0) {
            $0 + exp(-Double($1 * $1) / (2 * sigma * sigma))
        }
        var counts = [Int](repeating: 0, count: weights.count + 1)
        for number in [5, 7] as [UInt8] {
            for value in try samples(gaussian, key: number) {
                let value = Int(value)
                counts[abs(value) <= edge ? value + edge : weights.count] += 1
            }
        }
        let inside = weights.reduce(0, +) / total
        #expect(abs(chiSquare(counts, weights.map { $0 / total } + [1 - inside])) < 6)
    }

    @Test("chi-square over 64 bins, tails, and low digits that are uniform", arguments: widths.dropFirst(3))
    func bins(asked: Double) throws {
        let gaussian = try #require(DiscreteGaussian(deviationAtLeast: asked))
        let integers = try samples(gaussian, key: 9)
        var counts = [Int](repeating: 0, count: 64)
        for value in integers {
            let below = 0.5 * erfc(-(Double(value) + 0.5) / gaussian.deviation / 2.0.squareRoot())
            counts[min(63, Int(below * 64))] += 1
        }
        #expect(abs(chiSquare(counts, [Double](repeating: 1 / 64, count: 64))) < 6)
        let n = Double(integers.count)
        for distance in [2, 3, 4] as [Double] {
            let expected = n * erfc(distance / 2.0.squareRoot())
            let found = integers.count { abs(Double($0)) > distance * gaussian.deviation }
            #expect(abs(Double(found) - expected) < 6 * expected.squareRoot() + 2, "beyond \(distance)")
        }
        #expect(integers.allSatisfy { abs(Double($0)) < 7 * gaussian.deviation })
        for modulus in [3, 16, 1009] as [Int128] {
            var residues = [Int](repeating: 0, count: Int(modulus))
            for value in integers { residues[Int((value % modulus + modulus) % modulus)] += 1 }
            #expect(abs(chiSquare(residues, [Double](repeating: 1 / Double(modulus), count: Int(modulus)))) < 6)
        }
    }

    @Test("samples of one call, and of two calls, are independent", arguments: [8, 0x1p30, 0x1p70])
    func independence(asked: Double) throws {
        let gaussian = try #require(DiscreteGaussian(deviationAtLeast: asked))
        func normalized(_ number: UInt8) throws -> [Double] {
            try samples(gaussian, key: number).map { Double($0) / gaussian.deviation }
        }
        let (first, second) = (try normalized(11), try normalized(13))
        let limit = 6 * Double(count).squareRoot()
        for lag in [1, 2, 64, 2048, 4096, 8192] {
            let sum = zip(first, first.dropFirst(lag)).reduce(0) { $0 + $1.0 * $1.1 }
            #expect(abs(sum) < limit, "lag \(lag)")
            let squares = zip(first, first.dropFirst(lag)).reduce(0) { $0 + ($1.0 * $1.0 - 1) * ($1.1 * $1.1 - 1) / 2 }
            #expect(abs(squares) < limit, "squares, lag \(lag)")
        }
        #expect(abs(zip(first, second).reduce(0) { $0 + $1.0 * $1.1 }) < limit)
        let key = try key(11)
        let again = try gaussian.samples(count, key: key).integersForTests().map { Double($0) / gaussian.deviation }
        #expect(again == first)
        // As many as are asked: the shorter draw begins the longer one.
        #expect(try samples(gaussian, key: 11, count: 4096) == samples(gaussian, key: 11).prefix(4096).map { $0 })
    }

    @Test("modulo primes the samples are what they are as integers", arguments: [8, 0x1p40, 0x1p58, 0x1p75, 0x1p104])
    func residues(asked: Double) throws {
        let gaussian = try #require(DiscreteGaussian(deviationAtLeast: asked))
        let degree = 2048
        let key = try key(17)
        let samples = try gaussian.samples(degree, key: key)
        let integers = samples.integersForTests()
        for bits in [20, 49, 60] {
            let modulus = try NTTModulus(
                value: Primes.nttPrimes(bits: bits, degree: degree, count: 1)[0], degree: degree)
            var row = (0..<degree).map { UInt64($0) }
            var scratch = [UInt64](repeating: 0, count: degree)
            samples.add(to: &row, modulus: modulus, scratch: &scratch)
            let q = Int128(modulus.value)
            #expect(row.indices.allSatisfy { Int128(row[$0]) == ((integers[$0] + Int128($0)) % q + q) % q })
        }
    }
}
