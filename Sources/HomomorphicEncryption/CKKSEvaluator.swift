import RLWE
import RealModule

/// Arithmetic on CKKS ciphertexts. Levels and scales are tracked and must agree; nothing is aligned
/// silently.
public struct CKKSEvaluator: Sendable {
    public let context: EncryptionContext

    public init(_ context: EncryptionContext) { self.context = context }

    // MARK: Addition

    public func add(_ left: Ciphertext, _ right: Ciphertext) throws(HEError) -> Ciphertext {
        try requireSameShape(left, right)
        return try combine(left, right) { $0 + $1 }
    }

    public func subtract(_ left: Ciphertext, _ right: Ciphertext) throws(HEError) -> Ciphertext {
        try requireSameShape(left, right)
        return try combine(left, right) { $0 - $1 }
    }

    public func negate(_ ciphertext: Ciphertext) throws(HEError) -> Ciphertext {
        try context.require(ciphertext.context)
        return try Ciphertext(
            context: context, polynomials: ciphertext.polynomials.map { -$0 }, scale: ciphertext.scale)
    }

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
        try context.require(ciphertext.context)
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
        try context.require(left.context)
        try context.require(right.context)
        try requireSameLevel(left.level, right.level)
        for factor in [left, right] where factor.polynomials.count != 2 {
            throw .unexpectedPolynomialCount(factor.polynomials.count, expected: "2: relinearize first")
        }
        let scale = try productScale(left.scale, right.scale, level: left.level)
        let (l, r) = (left.polynomials, right.polynomials)
        var middle = l[0] * r[1]
        middle.addProduct(l[1], r[0])
        return try Ciphertext(context: context, polynomials: [l[0] * r[0], middle, l[1] * r[1]], scale: scale)
    }

    /// Slot-wise product, relinearized; the scales multiply.
    public func multiply(
        _ left: Ciphertext, _ right: Ciphertext, keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        try relinearize(multiplyWithoutRelinearization(left, right), keys: keys)
    }

    /// Slot-wise square, relinearized.
    public func square(_ ciphertext: Ciphertext, keys: EvaluationKeySet) throws(HEError) -> Ciphertext {
        try multiply(ciphertext, ciphertext, keys: keys)
    }

    /// Back to two polynomials; two already are no error.
    public func relinearize(_ ciphertext: Ciphertext, keys: EvaluationKeySet) throws(HEError) -> Ciphertext {
        try context.require(ciphertext.context)
        guard ciphertext.polynomials.count == 3 else { return ciphertext }
        guard let key = keys.relinearization else { throw .missingRelinearizationKey }
        let (b, a) = try context.keySwitcher(level: ciphertext.level).apply(key, to: ciphertext.polynomials[2])
        return try Ciphertext(
            context: context, polynomials: [ciphertext.polynomials[0] + b, ciphertext.polynomials[1] + a],
            scale: ciphertext.scale)
    }

    // MARK: Levels

    /// Divides by the last prime of the level, with rounding: one level and that much scale less.
    public func rescale(_ ciphertext: Ciphertext) throws(HEError) -> Ciphertext {
        try context.require(ciphertext.context)
        let level = ciphertext.level
        guard level > 1 else { throw .noLevelsLeft }
        let last = ciphertext.polynomials[0].basis.moduli[level - 1]
        let scale = ciphertext.scale / Double(last.value)
        guard scale >= 1 else { throw .invalidScale(scale) }
        return try Ciphertext(
            context: context, polynomials: ciphertext.polynomials.map { divideByLastPrime($0) }, scale: scale)
    }

    private func divideByLastPrime(_ polynomial: RNSPolynomial) -> RNSPolynomial {
        let basis = context.ciphertextBasis(level: polynomial.rowCount - 1)
        let last = polynomial.basis.moduli[basis.count]
        let inverses = context.rescaling(level: polynomial.rowCount)
        let degree = context.degree
        var result = RNSPolynomial(uninitialized: basis, form: .evaluation)
        RowPool.withScratch(words: degree) { remainder in
            polynomial.withRows { rows in
                last.inverseTransform(remainder, rows + basis.count * degree)
                result.withMutableRows { out in
                    Parallelism.forEach(below: basis.count) { row in
                        basis.moduli[row].divide(
                            out + row * degree, rows + row * degree,
                            minus: .centered(remainder, prime: last.value), factor: inverses[row])
                    }
                }
            }
        }
        return result
    }

    /// Drops primes without touching the scale.
    public func dropLevel(_ ciphertext: Ciphertext, to level: Int) throws(HEError) -> Ciphertext {
        try context.require(ciphertext.context)
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
        let element = GaloisAutomorphism.element(rotatingBy: steps, degree: context.degree)
        return try applyGalois(ciphertext, element: element, steps: steps, keys: keys)
    }

    /// The rotations of one ciphertext by several steps, bit for bit those of ``rotate(_:by:keys:)``: its digits are
    /// made once for all of them ("hoisting"; Halevi and Shoup, "Faster Homomorphic Linear Transformations in HElib",
    /// 2018, section 5).
    /// - Returns: one a step, in their order.
    public func rotate(
        _ ciphertext: Ciphertext, bySteps steps: [Int], keys: EvaluationKeySet
    ) throws(HEError) -> [Ciphertext] {
        try requireTwoPolynomials(ciphertext)
        let elements = steps.map { GaloisAutomorphism.element(rotatingBy: $0, degree: context.degree) }
        guard elements.contains(where: { $0 != 1 }) else { return steps.map { _ in ciphertext } }
        for (element, steps) in zip(elements, steps) where element != 1 && keys.galois[UInt32(element)] == nil {
            throw .missingGaloisKey(element: element, steps: steps)
        }
        let switcher = try context.keySwitcher(level: ciphertext.level)
        let digits = switcher.decompose(ciphertext.polynomials[1])
        var rotated: [Ciphertext] = []
        for element in elements {
            guard element != 1, let key = keys.galois[UInt32(element)] else {
                rotated.append(ciphertext)
                continue
            }
            let automorphism = GaloisAutomorphism.shared(element: element, degree: context.degree)
            let (b, a) = try switcher.apply(key, to: digits.applying(automorphism))
            rotated.append(
                try Ciphertext(
                    context: context, polynomials: [ciphertext.polynomials[0].applying(automorphism) + b, a],
                    scale: ciphertext.scale))
        }
        return rotated
    }

    /// Complex conjugate of every slot.
    public func conjugate(_ ciphertext: Ciphertext, keys: EvaluationKeySet) throws(HEError) -> Ciphertext {
        try applyGalois(ciphertext, element: 2 * context.degree - 1, steps: nil, keys: keys)
    }

    private func requireTwoPolynomials(_ ciphertext: Ciphertext) throws(HEError) {
        try context.require(ciphertext.context)
        guard ciphertext.polynomials.count == 2 else {
            throw .unexpectedPolynomialCount(ciphertext.polynomials.count, expected: "2: relinearize first")
        }
    }

    private func applyGalois(
        _ ciphertext: Ciphertext, element: Int, steps: Int?, keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        try requireTwoPolynomials(ciphertext)
        guard element != 1 else { return ciphertext }
        guard let key = keys.galois[UInt32(element)] else { throw .missingGaloisKey(element: element, steps: steps) }
        let automorphism = GaloisAutomorphism.shared(element: element, degree: context.degree)
        let rotated = ciphertext.polynomials.map { $0.applying(automorphism) }
        let (b, a) = try context.keySwitcher(level: ciphertext.level).apply(key, to: rotated[1])
        return try Ciphertext(context: context, polynomials: [rotated[0] + b, a], scale: ciphertext.scale)
    }

    /// The same message under another secret, by a ``EvaluationKeyKind/switching`` key.
    public func switchSecret(_ ciphertext: Ciphertext, with key: EvaluationKey) throws(HEError) -> Ciphertext {
        try context.require(ciphertext.context)
        guard key.id.kind == .switching else {
            throw .unexpectedObject(found: "a \(key.id.kind) key", expected: "a switching key")
        }
        guard ciphertext.polynomials.count == 2 else {
            throw .unexpectedPolynomialCount(ciphertext.polynomials.count, expected: "2: relinearize first")
        }
        let (b, a) = try context.keySwitcher(level: ciphertext.level).apply(key, to: ciphertext.polynomials[1])
        return try Ciphertext(
            context: context, polynomials: [ciphertext.polynomials[0] + b, a], scale: ciphertext.scale)
    }

    // MARK: Checks

    /// Scales that came by different roads differ in their last bits; no more is forgiven.
    private func requireSameScale(_ left: Double, _ right: Double) throws(HEError) {
        guard (left - right).magnitude <= 1e-12 * left else { throw .scaleMismatch(left, right) }
    }

    private func requireSameLevel(_ left: Int, _ right: Int) throws(HEError) {
        guard left == right else { throw .levelMismatch(left, right) }
    }

    private func requireSameShape(_ left: Ciphertext, _ right: Ciphertext) throws(HEError) {
        try context.require(left.context)
        try context.require(right.context)
        try requireSameLevel(left.level, right.level)
        try requireSameScale(left.scale, right.scale)
    }

    private func requireSameShape(_ ciphertext: Ciphertext, _ plaintext: CKKSPlaintext) throws(HEError) {
        try context.require(ciphertext.context)
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

    private func combine(
        _ left: Ciphertext, _ right: Ciphertext, _ body: (RNSPolynomial, RNSPolynomial) -> RNSPolynomial
    ) throws(HEError) -> Ciphertext {
        let count = max(left.polynomials.count, right.polynomials.count)
        // What was not relinearized has one more.
        func polynomial(_ ciphertext: Ciphertext, _ index: Int) -> RNSPolynomial {
            index < ciphertext.polynomials.count
                ? ciphertext.polynomials[index]
                : RNSPolynomial(basis: left.polynomials[0].basis, form: .evaluation)
        }
        let sums = (0..<count).map { body(polynomial(left, $0), polynomial(right, $0)) }
        return try Ciphertext(context: context, polynomials: sums, scale: left.scale)
    }

    private func replacingFirst(
        of ciphertext: Ciphertext, _ body: (RNSPolynomial) -> RNSPolynomial
    ) throws(HEError) -> Ciphertext {
        var polynomials = ciphertext.polynomials
        polynomials[0] = body(polynomials[0])
        return try Ciphertext(context: context, polynomials: polynomials, scale: ciphertext.scale)
    }
}
