import RLWE

/// Exact arithmetic on BFV ciphertexts: sums and products of N integers modulo t. Levels are tracked and must agree;
/// nothing is aligned silently. What noise a circuit makes is for ``BFVCircuitProfile`` to say beforehand.
public struct BFVEvaluator: CiphertextEvaluator {
    public static let scheme = Scheme.bfv
    public let context: EncryptionContext

    /// - Throws: ``HEError/invalidParameters(reason:)`` for CKKS parameters,
    ///   ``HEError/plaintextModulusDoesNotBatch(t:degree:example:)``.
    public init(_ context: EncryptionContext) throws(HEError) {
        _ = try context.plaintextBasis()
        self.context = context
    }

    // MARK: Addition

    public func add(_ ciphertext: Ciphertext, _ plaintext: BFVPlaintext) throws(HEError) -> Ciphertext {
        let message = try scaled(plaintext, for: ciphertext)
        return try replacingFirst(of: ciphertext) { $0 + message }
    }

    public func subtract(_ ciphertext: Ciphertext, _ plaintext: BFVPlaintext) throws(HEError) -> Ciphertext {
        let message = try scaled(plaintext, for: ciphertext)
        return try replacingFirst(of: ciphertext) { $0 - message }
    }

    private func scaled(_ plaintext: BFVPlaintext, for ciphertext: Ciphertext) throws(HEError) -> RNSPolynomial {
        try require(ciphertext)
        try context.require(plaintext)
        return try context.messageScaling(level: ciphertext.level).scaled(plaintext)
    }

    // MARK: Multiplication

    /// Slot-wise product with known values.
    public func multiply(_ ciphertext: Ciphertext, _ plaintext: BFVPlaintext) throws(HEError) -> Ciphertext {
        try require(ciphertext)
        try context.require(plaintext)
        let factor = try context.messageScaling(level: ciphertext.level).lifted(plaintext)
        return try Ciphertext(context: context, polynomials: ciphertext.polynomials.map { $0 * factor }, scale: 1)
    }

    /// Slot-wise product, three polynomials long.
    public func multiplyWithoutRelinearization(
        _ left: Ciphertext, _ right: Ciphertext
    ) throws(HEError) -> Ciphertext {
        try requireFactors(left, right)
        return try Ciphertext(
            context: context,
            polynomials: context.multiplier(level: left.level).product(
                left.polynomials, right.polynomials, tensor: tensorProduct), scale: 1)
    }

    // MARK: Levels

    /// Divides by the last primes, with rounding: the same message over a shorter modulus, with noise that much smaller
    /// and the rounding added. Everything after it is faster.
    public func dropLevel(_ ciphertext: Ciphertext, to level: Int) throws(HEError) -> Ciphertext {
        try require(ciphertext)
        guard (1...ciphertext.level).contains(level) else { throw .invalidLevel(level, maximum: ciphertext.level) }
        return try Ciphertext(
            context: context,
            polynomials: ciphertext.polynomials.map { polynomial in
                (level..<ciphertext.level).reduce(polynomial) { divided, _ in context.divideByLastPrime(divided) }
            }, scale: 1)
    }

    // MARK: Rotation

    /// Moves column i + steps to column i, cyclically, in both rows; negative steps go the other way.
    public func rotateRows(
        _ ciphertext: Ciphertext, by steps: Int, keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        try applyRotation(ciphertext, by: steps, keys: keys)
    }

    /// The rotations of one ciphertext by several steps, bit for bit those of ``rotateRows(_:by:keys:)``, for less.
    /// - Returns: one a step, in their order.
    public func rotateRows(
        _ ciphertext: Ciphertext, bySteps steps: [Int], keys: EvaluationKeySet
    ) throws(HEError) -> [Ciphertext] {
        try applyRotations(ciphertext, bySteps: steps, keys: keys)
    }

    /// Swaps the two rows: what rotates each column. Its key is that of Galois element 2N - 1.
    public func rotateColumns(_ ciphertext: Ciphertext, keys: EvaluationKeySet) throws(HEError) -> Ciphertext {
        try applyGalois(ciphertext, element: 2 * context.degree - 1, steps: nil, keys: keys)
    }
}
