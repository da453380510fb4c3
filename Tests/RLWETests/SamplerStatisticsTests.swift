import Foundation
import RLWE
import SecretMemory
import TestSupport
import Testing

/// The samplers' distributions, by tests that are common in statistics.
///
/// Keys are fixed, so each statistic is one number for ever. Limits lie six deviations out: a sampler that
/// passes is right up to that, and a changed sampler fails.
@Suite struct SamplerStatisticsTests {
    private let degree = 1 << 17

    private func key(_ number: UInt8) throws -> SecretBytes {
        try SecretBytes(copying: (0..<32).map { $0 &* number })
    }

    private func ternary(_ number: UInt8, x: UInt32 = 0) throws -> [Int] {
        let key = try key(number)
        let packed = try Samplers.ternary(degree: degree, key: key, x: x, y: 0)
        return packed.withUnsafeBytes { bytes in
            bytes.flatMap { byte in [0, 2, 4, 6].map { Int(byte >> UInt8($0) & 3) - 1 } }
        }
    }

    private func noise(_ number: UInt8, x: UInt32 = 0) throws -> [Int] {
        let key = try key(number)
        let noise = try Samplers.noise(degree: degree, key: key, x: x, y: 0)
        return noise.withUnsafeBytes { $0.map { Int(Int8(bitPattern: $0)) } }
    }

    /// Chi-square in deviations from its mean: (chi^2 - k) / sqrt(2 k) for k degrees of freedom.
    private func chiSquare(_ counts: [Int], _ probabilities: [Double]) -> Double {
        let total = Double(counts.reduce(0, +))
        let sum = zip(counts, probabilities).reduce(0) {
            $0 + (Double($1.0) - total * $1.1) * (Double($1.0) - total * $1.1) / (total * $1.1)
        }
        let freedom = Double(counts.count - 1)
        return (sum - freedom) / (2 * freedom).squareRoot()
    }

    /// Sum of products over sqrt(n) deviations: normal for independent values of mean 0.
    private func correlation(_ left: some Sequence<Int>, _ right: some Sequence<Int>) -> Double {
        var (sum, squares) = (0.0, 0.0)
        for (a, b) in zip(left, right) {
            sum += Double(a * b)
            squares += Double(a * b) * Double(a * b)
        }
        return sum / squares.squareRoot()
    }

    @Test("ternary values, pairs and triples of neighbours are uniform", arguments: [1, 3, 5] as [UInt8])
    func ternary(number: UInt8) throws {
        let values = try ternary(number)
        for length in 1...3 {
            let bins = [3, 9, 27][length - 1]
            var counts = [Int](repeating: 0, count: bins)
            for start in stride(from: 0, through: values.count - length, by: length) {
                counts[values[start..<start + length].reduce(0) { $0 * 3 + $1 + 1 }] += 1
            }
            let statistic = chiSquare(counts, [Double](repeating: 1 / Double(bins), count: bins))
            #expect(abs(statistic) < 6)
        }
        // Mean 0 and variance 2/3, whose estimate has the variance (2/3 - 4/9) / N.
        let n = Double(degree)
        #expect(abs(Double(values.reduce(0, +))) < 6 * (n * 2 / 3).squareRoot())
        #expect(abs(Double(values.reduce(0) { $0 + $1 * $1 }) - n * 2 / 3) < 6 * (n * 2 / 9).squareRoot())
    }

    /// Binomial coefficients of 42: the weight of e is that of 21 + e.
    private let weights: [Double] = (0..<42).reduce([1.0]) { row, _ in
        zip(row + [0], [0] + row).map(+)
    }

    @Test("errors are centered binomial over 42 bits, tails included", arguments: [1, 3, 5] as [UInt8])
    func error(number: UInt8) throws {
        let values = try noise(number)
        let n = Double(degree)
        // All below -10 and above 10 count as one value: some 0.1 % each.
        let edge = 10
        var counts = [Int](repeating: 0, count: 2 * edge + 3)
        for value in values { counts[max(-edge - 1, min(edge + 1, value)) + edge + 1] += 1 }
        let probabilities = (-edge - 1...edge + 1).map { value in
            let all = abs(value) <= edge ? value...value : value < 0 ? -21...value : value...21
            return all.reduce(0) { $0 + weights[21 + $1] } / 0x1p42
        }
        #expect(abs(chiSquare(counts, probabilities)) < 6)
        // The first four moments against those of the weights.
        func moment(_ power: Int) -> Double {
            (-21...21).reduce(0) { $0 + pow(Double($1), Double(power)) * weights[21 + $1] } / 0x1p42
        }
        for power in 1...4 {
            let mean = values.reduce(0) { $0 + pow(Double($1), Double(power)) } / n
            let deviation = ((moment(2 * power) - moment(power) * moment(power)) / n).squareRoot()
            #expect(abs(mean - moment(power)) < 6 * deviation, "moment \(power)")
        }
        #expect(abs(moment(2) - 10.5) < 1e-9)
        // Beyond 17 lie 6 in 10^9 of all errors, so none of this sample; beyond 12 lie 9 in an average sample.
        #expect(values.allSatisfy { abs($0) <= 17 })
        #expect(values.contains { abs($0) > 12 })
    }

    @Test("streams of different places and neighbours in one stream do not correlate")
    func independence() throws {
        let streams = try (0..<4).map { try noise(7, x: UInt32($0)) } + [try noise(9)]
        for i in streams.indices {
            for j in 0..<i { #expect(abs(correlation(streams[i], streams[j])) < 6) }
            for lag in [1, 2, 3, 4, 64] {
                #expect(abs(correlation(streams[i].dropFirst(lag), streams[i])) < 6)
            }
        }
        let secrets = try (0..<3).map { try ternary(7, x: UInt32($0)) }
        for i in secrets.indices {
            for j in 0..<i { #expect(abs(correlation(secrets[i], secrets[j])) < 6) }
            for lag in [1, 2, 4, 64] {
                #expect(abs(correlation(secrets[i].dropFirst(lag), secrets[i])) < 6)
            }
        }
    }

    /// Bit lengths and places in them: a prime just above a power of two rejects half of all words, one just
    /// below it almost none.
    static let moduli: [UInt64] = {
        let degree = 1 << 15
        let top = [40, 60].compactMap { Primes.nttPrimes(bits: $0, degree: degree, count: 1).first }
        // 786433 = 3 * 2^18 + 1.
        return [65537, 786_433] + top
    }()

    @Test("uniform residues are uniform, whatever share of words is rejected", arguments: moduli)
    func uniform(prime: UInt64) throws {
        let degree = 1 << 15
        let modulus = try NTTModulus(value: prime, degree: degree)
        var all: [UInt64] = []
        for row in 0..<UInt32(8) {
            var words = [UInt64](repeating: 0, count: modulus.degree)
            try Samplers.uniformRow(
                &words, modulus: modulus, publicSeed: [UInt8](repeating: 5, count: 32), digit: 2, row: row)
            all += words
        }
        #expect(all.allSatisfy { $0 < prime })
        let n = Double(all.count)
        // Kolmogorov and Smirnov: chance passes 2.5 / sqrt(n) with probability 2 exp(-12.5).
        let sorted = all.sorted()
        let distance = sorted.indices.reduce(0.0) {
            let expected = (Double(sorted[$1]) + 0.5) / Double(prime)
            return max($0, abs(expected - Double($1) / n), abs(expected - Double($1 + 1) / n))
        }
        #expect(distance < 2.5 / n.squareRoot())
        // 256 bins of almost equal width, and the lowest bits.
        var bins = [Int](repeating: 0, count: 256)
        var bits = [Int](repeating: 0, count: 64)
        for word in all {
            bins[Int(prime.dividingFullWidth(word.multipliedFullWidth(by: 256)).quotient)] += 1
            bits[Int(word & 63)] += 1
        }
        #expect(abs(chiSquare(bins, [Double](repeating: 1 / 256, count: 256))) < 6)
        #expect(abs(chiSquare(bits, [Double](repeating: 1 / 64, count: 64))) < 6)
    }
}
