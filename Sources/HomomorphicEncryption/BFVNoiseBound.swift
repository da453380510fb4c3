import RealModule

/// What the noise of a BFV ciphertext stays below, computed from parameters and operations alone, never from a key.
///
/// The noise e of a ciphertext is its phase less Q/t times its message. Decryption is right while every coefficient of
/// e is below Q/2t. A bound is one for all coefficients at once; it fails with a probability below 2^-128, over keys
/// and encryptions, for ciphertexts that came of honest encryptions by the operations that were counted here. The
/// messages may be any. docs/noise.md derives it.
public struct BFVNoiseBound: Sendable {
    public let context: EncryptionContext
    /// Number of primes.
    public let level: Int
    /// log2 of a coefficient's standard deviation, were all slots of the noise alike.
    private var deviationBits: Double
    /// The power of s in the largest term of the noise.
    private var secretPower: Int
    /// Other random factors of that term: what uniform polynomials and errors bring.
    private var factors: Int
    /// False if a message may have gathered the noise in few slots.
    private var isSpread: Bool

    private static let failureBits = 128.0
    /// Centered binomial error over 42 bits.
    private static let errorVariance = 10.5
    private static let roundingVariance = 1.0 / 12

    private init(
        _ context: EncryptionContext, level: Int, variance: Double, secretPower: Int, factors: Int
    ) {
        self.context = context
        self.level = level
        deviationBits = .log2(variance) / 2
        self.secretPower = secretPower
        self.factors = factors
        isSpread = true
    }

    // MARK: Fresh ciphertexts

    /// - Throws: ``HEError/invalidLevel(_:maximum:)``, ``HEError/invalidParameters(reason:)`` for CKKS parameters.
    public static func publicKeyEncryption(
        _ context: EncryptionContext, level: Int? = nil
    ) throws(HEError) -> BFVNoiseBound {
        let level = try checked(context, level)
        // e_0 - e u + e_1 s, and the rounding of the message, within 1/2.
        let variance = errorVariance * (1 + 2 * secretVariance(context)) + 0.25
        return BFVNoiseBound(context, level: level, variance: variance, secretPower: 1, factors: 1)
    }

    /// - Throws: ``HEError/invalidLevel(_:maximum:)``, ``HEError/invalidParameters(reason:)`` for CKKS parameters.
    public static func secretKeyEncryption(
        _ context: EncryptionContext, level: Int? = nil
    ) throws(HEError) -> BFVNoiseBound {
        let level = try checked(context, level)
        return BFVNoiseBound(context, level: level, variance: errorVariance + 0.25, secretPower: 0, factors: 1)
    }

    private static func checked(_ context: EncryptionContext, _ level: Int?) throws(HEError) -> Int {
        try context.require(.bfv)
        let level = level ?? context.maximumLevel
        try context.requireLevel(level)
        return level
    }

    // MARK: Operations

    /// Of a sum or difference, of the operands whichever they are: the same one twice, too.
    /// - Throws: ``HEError/levelMismatch(_:_:)``, ``HEError/parameterMismatch``.
    public func adding(_ other: BFVNoiseBound) throws(HEError) -> BFVNoiseBound {
        try requireSameShape(other)
        var result = combined(with: other)
        result.deviationBits = Self.sum(deviationBits, other.deviationBits)
        return result
    }

    /// Of a sum of `count` such ciphertexts.
    /// - Parameter count: at least 1.
    public func repeated(_ count: Int) -> BFVNoiseBound {
        var result = self
        result.deviationBits += .log2(Double(max(1, count)))
        return result
    }

    /// Of a sum or difference with a plaintext, which is rounded.
    public func addingPlaintext() -> BFVNoiseBound {
        var result = self
        result.deviationBits = Self.sum(deviationBits, -1)
        return result
    }

    /// Of a product with a plaintext.
    public func multipliedByPlaintext() -> BFVNoiseBound {
        var result = self
        // Any message: a polynomial of coefficients within t/2.
        result.deviationBits += .log2(degree) / 2 + .log2(t / 2)
        result.isSpread = false
        return result
    }

    /// Of a product, relinearized.
    /// - Throws: ``HEError/levelMismatch(_:_:)``, ``HEError/parameterMismatch``, ``HEError/invalidParameters(reason:)``
    ///   without special primes.
    public func multiplied(by other: BFVNoiseBound) throws(HEError) -> BFVNoiseBound {
        try requireSameShape(other)
        var result = combined(with: other)
        let secret = Self.secretVariance(context)
        // e meets t/Q times the other's c_0 + c_1 s, which is uniform whatever the message, and t/Q times its error.
        let factor = degree * (t * t * (1 + secret) * Self.roundingVariance + 0.25)
        // One operand is rounded to a modulus P above Q: less than as if to Q.
        let switching = Self.roundingVariance * (1 + secret)
        let rounding = Self.roundingVariance * (1 + secret + secret * secret)
        let errors = Self.sum(Self.sum(deviationBits, other.deviationBits), .log2(switching) / 2)
        result.deviationBits = Self.sum(errors + .log2(factor) / 2, .log2(rounding) / 2)
        result.secretPower = max(result.secretPower + 1, 2)
        result.factors += 1
        return try result.keySwitched()
    }

    /// Of a rotation of the rows or of the columns.
    /// - Throws: ``HEError/invalidParameters(reason:)`` without special primes.
    public func rotated() throws(HEError) -> BFVNoiseBound { try keySwitched() }

    /// After primes were dropped.
    /// - Throws: ``HEError/invalidLevel(_:maximum:)``.
    public func droppingLevel(to lower: Int) throws(HEError) -> BFVNoiseBound {
        guard (1...level).contains(lower) else { throw .invalidLevel(lower, maximum: level) }
        let rounding = .log2(Self.roundingVariance * (1 + Self.secretVariance(context))) / 2
        var bits = deviationBits
        for prime in context.parameters.q[lower..<level].reversed() {
            bits = Self.sum(bits - .log2(Double(prime)), rounding)
        }
        var result = BFVNoiseBound(
            context, level: lower, variance: 1, secretPower: max(secretPower, 1), factors: max(factors, 1))
        result.deviationBits = bits
        result.isSpread = isSpread
        return result
    }

    private func keySwitched() throws(HEError) -> BFVNoiseBound {
        let parameters = context.parameters
        guard parameters.alpha > 0 else {
            throw .invalidParameters(reason: "parameters without special primes have no evaluation keys")
        }
        let special = EncryptionParameters.log2(parameters.p)
        let digits = (0..<parameters.digitCount(level: level)).reduce(0.0) { sum, index in
            let range = context.digitRange(index, level: level)
            let ratio = Double.exp2(EncryptionParameters.log2(parameters.q[range]) - special)
            return sum + Double(range.count) * Self.roundingVariance * ratio * ratio
        }
        let variance =
            degree * Self.errorVariance * digits
            + Double(parameters.p.count) * Self.roundingVariance * (1 + Self.secretVariance(context))
        var result = self
        result.deviationBits = Self.sum(deviationBits, .log2(variance) / 2)
        result.secretPower = max(secretPower, 1)
        result.factors = max(factors, 2)
        return result
    }

    // MARK: The bound

    /// log2 of what every coefficient of the noise is below.
    public var bits: Double { Self.sum(normalBits, jumpBits) }

    /// log2 of Q/2t at this level: what the noise may not reach.
    public var limitBits: Double {
        // Decryption's own rounding is off by n 2^-53 of it at most.
        context.modulusBits(level: level) - 1 - .log2(t) - 0x1p-40
    }

    /// How many bits the bound is below the limit; negative where decryption may fail.
    public var marginBits: Double { limitBits - bits }

    /// log2 of the largest coefficient to be expected, for comparison: not a bound.
    public var typicalBits: Double {
        // Ordered, the powers of n slots are near ln(n / (j - 1/2)).
        let slots = context.degree / 2
        let mean = (1...slots).reduce(0.0) {
            $0 + .pow(.log(Double(slots) / (Double($1) - 0.5)), secretPower)
        }
        return deviationBits + .log2(mean / Double(slots)) / 2 + .log2(2 * .log(2 * degree)) / 2
    }

    /// - Throws: ``HEError/decryptionMayFail(noiseBits:limitBits:)``.
    public func requireDecryptable() throws(HEError) {
        guard marginBits > 0 else {
            throw .decryptionMayFail(noiseBits: Int(bits.rounded(.up)), limitBits: Int(limitBits.rounded(.down)))
        }
    }

    /// All slots together: a normal deviate whose variance has the mean of (|s|^2)^k, k! times that of |s|^2 itself.
    private var normalBits: Double {
        guard isSpread else { return -.infinity }
        let deviations = 2 * (.log(2 * degree) + Self.failureBits * .log(2))
        return deviationBits + (.log2(deviations) + Self.logFactorial(Double(secretPower)) / .log(2)) / 2
    }

    /// One slot alone, the power of which is a product of exponentials: what it passes with a probability of 2^-128 by
    /// the best of Markov's inequalities for its moments.
    private var jumpBits: Double {
        let rarity = .log(degree / 2) + Self.failureBits * .log(2)
        var least = Double.infinity
        for moment in stride(from: 0.5, through: 128, by: 0.5) {
            let log =
                rarity + Self.logFactorial(moment * Double(secretPower))
                + Double(factors) * Self.logFactorial(moment)
            least = min(least, log / moment)
        }
        let slots = isSpread ? degree / 2 : 1
        return deviationBits + (1 + least / .log(2) - .log2(slots)) / 2
    }

    // MARK: Arithmetic

    private var degree: Double { Double(context.degree) }
    private var t: Double { Double(context.parameters.t) }

    /// Mean of |s|^2 in a slot: 2N/3.
    private static func secretVariance(_ context: EncryptionContext) -> Double { 2 * Double(context.degree) / 3 }

    /// log2(2^a + 2^b)
    private static func sum(_ a: Double, _ b: Double) -> Double {
        max(a, b) + .log2(1 + .exp2(min(a, b) - max(a, b)))
    }

    private static func logFactorial(_ x: Double) -> Double { .logGamma(x + 1) }

    private func combined(with other: BFVNoiseBound) -> BFVNoiseBound {
        var result = self
        result.secretPower = max(secretPower, other.secretPower)
        result.factors = max(factors, other.factors)
        result.isSpread = isSpread && other.isSpread
        return result
    }

    private func requireSameShape(_ other: BFVNoiseBound) throws(HEError) {
        try context.require(other.context)
        guard level == other.level else { throw .levelMismatch(level, other.level) }
    }
}

/// A BFV circuit in one line of steps, each done to all ciphertexts that are there: enough to say beforehand whether
/// its results can be decrypted.
public struct BFVCircuitProfile: Sendable, Hashable {
    public enum Step: Sendable, Hashable {
        /// Sums of so many ciphertexts, at least 1.
        case sum(Int)
        /// A sum or difference with a plaintext.
        case addPlaintext
        /// A product with a plaintext.
        case multiplyPlaintext
        /// A product of two ciphertexts, relinearized.
        case multiply
        /// A rotation of rows or columns.
        case rotate
        /// Modulus switching to a level.
        case dropLevel(Int)
    }

    public var steps: [Step]
    /// Where the circuit begins; nil for the highest.
    public var level: Int?

    public init(_ steps: [Step], level: Int? = nil) {
        self.steps = steps
        self.level = level
    }

    /// The bound of the results, from encryptions under the public key.
    /// - Throws: ``HEError`` for a level that is none, or keys that these parameters do not have.
    public func noiseBound(_ context: EncryptionContext) throws(HEError) -> BFVNoiseBound {
        var bound = try BFVNoiseBound.publicKeyEncryption(context, level: level)
        for step in steps {
            switch step {
            case .sum(let count):
                guard count >= 1 else { throw .invalidParameters(reason: "a sum has at least one term") }
                bound = bound.repeated(count)
            case .addPlaintext: bound = bound.addingPlaintext()
            case .multiplyPlaintext: bound = bound.multipliedByPlaintext()
            case .multiply: bound = try bound.multiplied(by: bound)
            case .rotate: bound = try bound.rotated()
            case .dropLevel(let level): bound = try bound.droppingLevel(to: level)
            }
        }
        return bound
    }

    /// Whether every result is decrypted rightly but for a probability below 2^-128.
    /// - Throws: ``HEError/decryptionMayFail(noiseBits:limitBits:)``, and what ``noiseBound(_:)`` throws.
    public func check(_ context: EncryptionContext) throws(HEError) {
        try noiseBound(context).requireDecryptable()
    }
}
