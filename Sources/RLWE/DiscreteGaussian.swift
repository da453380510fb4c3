import CRLWEKernels
import SecretMemory

/// The discrete Gaussian over the integers, D_sigma(x) proportional to exp(-x^2 / (2 sigma^2)), for wide sigma.
///
/// A sample is x_0 + k_1 (x_1 + k_2 (x_2 + ...)), the x_j independent samples of deviation 8 and each k_j 2, 3 or 4:
/// a convolution of discrete Gaussians (Peikert, "An Efficient and Parallel Gaussian Sampler for Lattices", CRYPTO
/// 2010, section 3; Micciancio and Walter, "Gaussian Sampling over the Integers: Efficient, Generic, Constant-Time",
/// CRYPTO 2017, section 4). Integers alone decide a sample, with no jump and no address that depends on one.
///
/// **How near.** Let x come from deviation 8 and y from sigma. Then x + k y = z has the probability
/// `exp(-z^2 / (2 (64 + k^2 sigma^2)))` times the sum of `exp(-(y - c)^2 / (2 t^2))` over all integers y, where
/// `1/t^2 = k^2/64 + 1/sigma^2` and c depends on z. By Poisson's formula that sum is a constant times 1 + d, |d| at
/// most `2 exp(-2 pi^2 t^2)`, but for terms too small to name. With k at most 4 and sigma at least 8, t^2 is at least
/// 64/17 (which is what smoothing means here: t is past the smoothing parameter of the integers), so |d| <= 2^-106.
/// All probabilities of a sample of up to 64 terms are therefore within a factor of 1 +- 2^-98 of the ideal ones, and
/// the rounding of the base table adds a statistical distance of 2^-114 (docs/release.md).
public struct DiscreteGaussian: Sendable, Hashable {
    /// sigma, to the precision of a Double.
    public let deviation: Double
    /// k_1, k_2, ...
    let factors: [Int]

    /// Deviations that can be had.
    public static let deviations = 8.0...0x1p104
    private static let base = 8.0
    /// Weights of the samples of one word are at most this: 104 times their sum stays below 2^62.
    private static let largestWeight = 1 << 52

    /// The narrowest of those that are at least as wide as asked: by less than an eighth from 2^14 on.
    /// - Returns: nil for a deviation outside ``deviations``.
    public init?(deviationAtLeast asked: Double) {
        guard Self.deviations.contains(asked) else { return nil }
        var best: (deviation: Double, factors: [Int])?
        // Fours alone are wider than 4^count times the base by a thirtieth.
        let least = max(0, (Int((asked / Self.base).exponent) - 1) / 2)
        for count in least...least + 8 {
            for threes in 0...min(count, 6) {
                for twos in 0...min(count - threes, 2) {
                    let factors =
                        [Int](repeating: 4, count: count - threes - twos) + [Int](repeating: 3, count: threes)
                        + [Int](repeating: 2, count: twos)
                    let deviation = Self.deviation(factors)
                    if deviation >= asked, deviation < best?.deviation ?? .infinity { best = (deviation, factors) }
                }
            }
            // More factors make wider ones only.
            if let best, Self.deviation([Int](repeating: 3, count: count)) > best.deviation { break }
        }
        guard let best else { return nil }
        deviation = best.deviation
        factors = best.factors
    }

    private static func deviation(_ factors: [Int]) -> Double {
        let square = factors.reversed().reduce(base * base) { base * base + Double($1 * $1) * $0 }
        return square.squareRoot()
    }

    /// So many independent samples.
    /// - Parameters:
    ///   - count: a power of two, at least 8.
    ///   - key: 32 fresh random bytes; the same key gives the same samples. Term j of samples 4096 c ... is made of
    ///     the words of ``Keystream`` (key, x: j, y: c), two a sample.
    public func samples(_ count: Int, key: borrowing SecretBytes) throws -> GaussianSamples {
        let (low, high, step) = weights
        var samples = try GaussianSamples(count: count, isWide: !high.isEmpty, step: step)
        try samples.add(key: key, terms: 0..<low.count, weights: low, isHigh: false)
        if !high.isEmpty {
            try samples.add(key: key, terms: low.count..<low.count + high.count, weights: high, isHigh: true)
        }
        return samples
    }

    /// Weights of the terms: of those whose sum is one word, of the others over `step`, and that.
    private var weights: (low: [Int], high: [Int], step: UInt64) {
        var low = [1]
        var high: [Int] = []
        var step = 1
        for factor in factors {
            if high.isEmpty, low[low.count - 1] * factor <= Self.largestWeight {
                low.append(low[low.count - 1] * factor)
            } else if high.isEmpty {
                step = low[low.count - 1] * factor
                high = [1]
            } else {
                high.append(high[high.count - 1] * factor)
            }
        }
        return (low, high, UInt64(step))
    }
}

/// Samples of ``DiscreteGaussian`` in locked memory, wiped at their end: one signed word each, or two.
public struct GaussianSamples: ~Copyable, Sendable {
    /// How many.
    public let count: Int
    /// The low words of all, then the high ones where there are any: a sample is low + step * high.
    private var words: SecretBytes
    private let isWide: Bool
    private let step: UInt64

    fileprivate init(count: Int, isWide: Bool, step: UInt64) throws {
        precondition(count >= 8 && count.nonzeroBitCount == 1, "a power of two")
        words = try SecretBytes(count: count * (isWide ? 16 : 8))
        self.count = count
        self.isWide = isWide
        self.step = step
    }

    fileprivate mutating func add(
        key: borrowing SecretBytes, terms: Range<Int>, weights: [Int], isHigh: Bool
    ) throws {
        let count = count
        try words.withUnsafeMutableBytes { bytes in
            try Self.add(
                bytes.baseAddress!.assumingMemoryBound(to: Int64.self) + (isHigh ? count : 0), count, key, terms,
                weights)
        }
    }

    private static func add(
        _ sums: UnsafeMutablePointer<Int64>, _ count: Int, _ key: borrowing SecretBytes, _ terms: Range<Int>,
        _ weights: [Int]
    ) throws {
        let piece = min(count, Keystream.pieceWords / 2)
        try key.withUnsafeBytes { key in
            try Parallelism.forEach(below: count / piece) { index in
                defer { SecretMemory.wipeDeadStack() }
                let key = try SecretBytes(copying: key)
                for (term, weight) in zip(terms, weights) {
                    var stream = Keystream(key: key, x: UInt32(term), y: UInt32(index))
                    try stream.forEachPiece(of: 2 * piece) { start, words in
                        hkms_gaussian_add(
                            sums + index * piece + start / 2, words.baseAddress, words.count / 2, Int64(weight))
                    }
                }
            }
        }
    }

    /// Adds the samples to residues modulo one prime.
    /// - Parameters:
    ///   - row: ``count`` residues.
    ///   - scratch: room for as many, left with what is as secret as the samples.
    public borrowing func add(
        to row: UnsafeMutablePointer<UInt64>, modulus: NTTModulus, scratch: UnsafeMutablePointer<UInt64>
    ) {
        precondition(count == modulus.degree, "one sample a coefficient")
        words.withUnsafeBytes { bytes in
            let low = bytes.baseAddress!.assumingMemoryBound(to: Int64.self)
            modulus.reduce(scratch, signed: low)
            modulus.add(row, row, scratch)
            guard isWide else { return }
            modulus.reduce(scratch, signed: low + count)
            modulus.multiplyAdd(row, scratch, scalar: step % modulus.value)
        }
    }

    /// The samples as numbers, which nothing wipes: for tests of the distribution.
    package borrowing func integersForTests() -> [Int128] {
        words.withUnsafeBytes { bytes in
            func word(_ index: Int) -> Int128 {
                Int128(bytes.loadUnaligned(fromByteOffset: index * 8, as: Int64.self))
            }
            return (0..<count).map { word($0) + (isWide ? Int128(step) * word(count + $0) : 0) }
        }
    }
}
