import RLWE
import RealModule

/// For whom a result is meant. Noise is the same for both: an owner's copy of a result may be shown to others later.
public enum ReleaseAudience: String, Sendable, Hashable, Codable, CaseIterable {
    /// Members of the owner.
    case owner
    /// Anybody whom the owner shows it to.
    case shared
}

/// How a decryption is flooded before it leaves: fresh discrete Gaussian noise on every coefficient, then rounding.
///
/// With B a bound on the Euclidean norm of a result's error over its N coefficients, the noise has the deviation
/// `sqrt(12 tau) 2^(s/2) B`: tau releases then differ from what the exact results alone would give by a
/// Kullback-Leibler divergence of at most 2^-s / 24 (Li, Micciancio, Schultz-Wu and Sorrell, "Securing Approximate
/// Homomorphic Encryption Using Differential Privacy", CRYPTO 2022; derivation, and which norm, in docs/release.md).
public struct FloodingPolicy: Sendable, Hashable, Codable {
    /// B, of the decrypted polynomial before it is divided by the scale.
    public let errorBound: Double
    /// s: statistical security in bits, 1 to 128.
    public let statisticalBits: Int
    /// tau: releases of the key set's life, 1 to 2^40.
    public let budget: Int
    /// The rounding step of released values: a power of two.
    public let step: Double
    /// Primes of the results; 0 for any level.
    public let level: Int
    /// log2 of the results' scale, to whole numbers.
    public let scaleBits: Int
    public let audience: ReleaseAudience

    /// What is advised at least: one chance in 2^30 (docs/release.md says of what).
    public static let defaultStatisticalBits = 30

    /// - Parameter precision: asked of the results, absolute; ``step`` is the power of two in (precision / 4,
    ///   precision / 2].
    /// - Throws: ``HEError/invalidParameters(reason:)`` for numbers out of range, or noise wider than can be made.
    public init(
        errorBound: Double, statisticalBits: Int = defaultStatisticalBits, budget: Int, precision: Double, level: Int,
        scaleBits: Int, audience: ReleaseAudience = .owner
    ) throws(HEError) {
        guard precision.isFinite, precision > 0x1p-50, precision < 0x1p50 else {
            throw .invalidParameters(reason: "a precision is between 2^-50 and 2^50")
        }
        self.errorBound = errorBound
        self.statisticalBits = statisticalBits
        self.budget = budget
        step = Double(sign: .plus, exponent: Int(precision.exponent) - 1, significand: 1)
        self.level = level
        self.scaleBits = scaleBits
        self.audience = audience
        try validate()
    }

    /// For a policy that came from elsewhere.
    /// - Throws: ``HEError/invalidParameters(reason:)``.
    public func validate() throws(HEError) {
        guard errorBound.isFinite, errorBound > 0, (1...128).contains(statisticalBits), (1...1 << 40).contains(budget),
            step.isFinite, step > 0, step.significand == 1, level >= 0, (1...120).contains(scaleBits)
        else { throw .invalidParameters(reason: "the flooding policy's numbers are out of range") }
        let deviation = leastDeviation
        guard deviation.isFinite, DiscreteGaussian(deviationAtLeast: deviation) != nil else {
            throw .invalidParameters(reason: "noise of deviation \(deviation) is outside what can be made")
        }
    }

    /// The same rules for ciphertexts of another error and level.
    /// - Throws: ``HEError/invalidParameters(reason:)``.
    public func applied(toErrorBound errorBound: Double, level: Int) throws(HEError) -> FloodingPolicy {
        // Of twice the step follows the step.
        try FloodingPolicy(
            errorBound: errorBound, statisticalBits: statisticalBits, budget: budget, precision: 2 * step,
            level: level, scaleBits: scaleBits, audience: audience)
    }

    /// Refuses what is not released under this policy; needs no secret.
    /// - Throws: ``HEError`` for another level or another scale than the policy's, or three polynomials.
    public func check(_ ciphertext: Ciphertext) throws(HEError) {
        guard ciphertext.polynomials.count == 2 else {
            throw .unexpectedPolynomialCount(ciphertext.polynomials.count, expected: "2: relinearize first")
        }
        guard level == 0 || ciphertext.level == level else { throw .levelMismatch(ciphertext.level, level) }
        let scale = Double.exp2(Double(scaleBits))
        // Scales drift by the distance of primes from powers of two; more is another circuit's.
        guard (ciphertext.scale / scale - 1).magnitude <= 0x1p-10 else {
            throw .scaleMismatch(ciphertext.scale, scale)
        }
    }

    private enum CodingKeys: String, CodingKey {
        case errorBound, statisticalBits, budget, step, level, scaleBits, audience
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        errorBound = try container.decode(Double.self, forKey: .errorBound)
        statisticalBits = try container.decode(Int.self, forKey: .statisticalBits)
        budget = try container.decode(Int.self, forKey: .budget)
        step = try container.decode(Double.self, forKey: .step)
        level = try container.decode(Int.self, forKey: .level)
        scaleBits = try container.decode(Int.self, forKey: .scaleBits)
        audience = try container.decode(ReleaseAudience.self, forKey: .audience)
        try validate()
    }

    /// sqrt(12 tau) 2^(s/2) B.
    public var leastDeviation: Double { Self.deviationPerBound(statisticalBits, budget) * errorBound }

    /// sqrt(12 tau) 2^(s/2).
    static func deviationPerBound(_ statisticalBits: Int, _ budget: Int) -> Double {
        (12 * Double(budget)).squareRoot() * .exp2(Double(statisticalBits) / 2)
    }

    /// The noise that is added: what can be made, at least as wide as ``leastDeviation``.
    public var noise: DiscreteGaussian {
        // A value of this type has passed the check.
        DiscreteGaussian(deviationAtLeast: leastDeviation)!
    }

    /// What no real or imaginary part of a release's slots is moved by, divided by the scale, but with probability
    /// 2^-40: the N/2 slots' noise is a sum of N terms, subgaussian of variance N sigma^2 / 2 in each part; then half
    /// a step for rounding.
    /// - Parameter logN: of the ring.
    public func disturbance(logN: Int) -> Double {
        Self.largestNoise(logN: logN) * noise.deviation / .exp2(Double(scaleBits)) + step / 2
    }

    /// The same, in deviations of a coefficient.
    static func largestNoise(logN: Int) -> Double {
        let degree = Double(1 << logN)
        // N parts, two signs.
        return (degree / 2).squareRoot() * (2 * (.log(2 * degree) + 40 * .log(2))).squareRoot()
    }

    /// log2 of what no coefficient of the noise passes, but with probability 2^-128: 14.2 deviations for the largest ring.
    public var noiseBits: Double { .log2(14.5 * noise.deviation) }
}
