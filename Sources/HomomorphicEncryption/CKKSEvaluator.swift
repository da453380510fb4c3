import RLWE
import RealModule

/// Arithmetic on CKKS ciphertexts. Levels and scales are tracked and must agree; nothing is aligned
/// silently.
public struct CKKSEvaluator: CiphertextEvaluator {
    public static let scheme = Scheme.ckks
    public let context: EncryptionContext

    public init(_ context: EncryptionContext) { self.context = context }

    // MARK: Addition

    public func add(_ ciphertext: Ciphertext, _ plaintext: CKKSPlaintext) throws(HEError) -> Ciphertext {
        try requireSameShape(ciphertext, plaintext)
        return try replacingFirst(of: ciphertext) { $0 + plaintext.polynomial }
    }

    public func subtract(_ ciphertext: Ciphertext, _ plaintext: CKKSPlaintext) throws(HEError) -> Ciphertext {
        try requireSameShape(ciphertext, plaintext)
        return try replacingFirst(of: ciphertext) { $0 - plaintext.polynomial }
    }

    // MARK: Multiplication

    /// Slot-wise product with known values; the scales multiply.
    public func multiply(_ ciphertext: Ciphertext, _ plaintext: CKKSPlaintext) throws(HEError) -> Ciphertext {
        try require(ciphertext)
        try context.require(plaintext)
        try requireSameLevel(ciphertext.level, plaintext.level)
        let scale = try productScale(ciphertext.scale, plaintext.scale, level: ciphertext.level)
        return try Ciphertext(
            context: context, polynomials: ciphertext.polynomials.map { $0 * plaintext.polynomial }, scale: scale)
    }

    /// Slot-wise product, three polynomials long; the scales multiply.
    public func multiplyWithoutRelinearization(
        _ left: Ciphertext, _ right: Ciphertext
    ) throws(HEError) -> Ciphertext {
        try requireFactors(left, right)
        let scale = try productScale(left.scale, right.scale, level: left.level)
        return try Ciphertext(
            context: context, polynomials: tensorProduct(left.polynomials, right.polynomials), scale: scale)
    }

    // MARK: Levels

    /// Divides by the last prime of the level, with rounding: one level and that much scale less.
    public func rescale(_ ciphertext: Ciphertext) throws(HEError) -> Ciphertext {
        try require(ciphertext)
        let level = ciphertext.level
        guard level > 1 else { throw .noLevelsLeft }
        let last = ciphertext.polynomials[0].basis.moduli[level - 1]
        let scale = ciphertext.scale / Double(last.value)
        guard scale >= 1 else { throw .invalidScale(scale) }
        return try Ciphertext(
            context: context, polynomials: ciphertext.polynomials.map { context.divideByLastPrime($0) }, scale: scale)
    }

    /// Drops primes without touching the scale.
    public func dropLevel(_ ciphertext: Ciphertext, to level: Int) throws(HEError) -> Ciphertext {
        try require(ciphertext)
        guard (1...ciphertext.level).contains(level) else { throw .invalidLevel(level, maximum: ciphertext.level) }
        let basis = context.ciphertextBasis(level: level)
        return try Ciphertext(
            context: context, polynomials: ciphertext.polynomials.map { $0.prefix(basis) }, scale: ciphertext.scale)
    }

    // MARK: Rotation

    /// Moves slot i + steps to slot i, cyclically; negative steps go the other way.
    public func rotate(
        _ ciphertext: Ciphertext, by steps: Int, keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        try applyRotation(ciphertext, by: steps, keys: keys)
    }

    /// The rotations of one ciphertext by several steps, bit for bit those of ``rotate(_:by:keys:)``, for less.
    /// - Returns: one a step, in their order.
    public func rotate(
        _ ciphertext: Ciphertext, bySteps steps: [Int], keys: EvaluationKeySet
    ) throws(HEError) -> [Ciphertext] {
        try applyRotations(ciphertext, bySteps: steps, keys: keys)
    }

    /// The ciphertext and its rotations by several steps, added up: less work, and less noise, than to rotate first.
    /// - Parameter steps: as ``rotate(_:by:keys:)`` takes them; each that moves something has a key.
    public func addRotations(
        _ ciphertext: Ciphertext, bySteps steps: [Int], keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        try addGaloisImages(ciphertext, bySteps: steps, keys: keys)
    }

    /// Complex conjugate of every slot.
    public func conjugate(_ ciphertext: Ciphertext, keys: EvaluationKeySet) throws(HEError) -> Ciphertext {
        try applyGalois(ciphertext, element: 2 * context.degree - 1, steps: nil, keys: keys)
    }

    // MARK: Checks

    private func requireSameShape(_ ciphertext: Ciphertext, _ plaintext: CKKSPlaintext) throws(HEError) {
        try require(ciphertext)
        try context.require(plaintext)
        try requireSameLevel(ciphertext.level, plaintext.level)
        try requireSameScale(ciphertext.scale, plaintext.scale)
    }

    private func productScale(_ left: Double, _ right: Double, level: Int) throws(HEError) -> Double {
        let scale = left * right
        // Not the logarithm of the product, which may be infinite.
        let bits = Double.log2(left) + Double.log2(right)
        let modulusBits = context.modulusBits(level: level)
        // One bit for the sign: values of magnitude 1 must still fit.
        guard bits + 1 < modulusBits else {
            throw .scaleOverflow(scaleBits: Int(bits.rounded(.up)), modulusBits: Int(modulusBits))
        }
        return scale
    }
}
