import RLWE

/// What evaluation has in common in all schemes: addition, key switching, automorphisms. A scheme adds what its
/// plaintexts, products and levels need.
public protocol CiphertextEvaluator: Sendable {
    static var scheme: Scheme { get }
    var context: EncryptionContext { get }

    /// The product, three polynomials long.
    func multiplyWithoutRelinearization(_ left: Ciphertext, _ right: Ciphertext) throws(HEError) -> Ciphertext
}

extension CiphertextEvaluator {
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
        try require(ciphertext)
        return try Ciphertext(
            context: context, polynomials: ciphertext.polynomials.map { -$0 }, scale: ciphertext.scale)
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

    func replacingFirst(
        of ciphertext: Ciphertext, _ body: (RNSPolynomial) -> RNSPolynomial
    ) throws(HEError) -> Ciphertext {
        var polynomials = ciphertext.polynomials
        polynomials[0] = body(polynomials[0])
        return try Ciphertext(context: context, polynomials: polynomials, scale: ciphertext.scale)
    }

    // MARK: Multiplication

    /// Slot-wise product, relinearized; in CKKS the scales multiply.
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
        try require(ciphertext)
        guard ciphertext.polynomials.count == 3 else { return ciphertext }
        guard let key = keys.relinearization else { throw .missingRelinearizationKey }
        let (b, a) = try context.keySwitcher(level: ciphertext.level).apply(key, to: ciphertext.polynomials[2])
        return try Ciphertext(
            context: context, polynomials: [ciphertext.polynomials[0] + b, ciphertext.polynomials[1] + a],
            scale: ciphertext.scale)
    }

    /// (l_0 + l_1 s) (r_0 + r_1 s), by powers of s.
    func tensorProduct(_ left: [RNSPolynomial], _ right: [RNSPolynomial]) -> [RNSPolynomial] {
        var middle = left[0] * right[1]
        middle.addProduct(left[1], right[0])
        return [left[0] * right[0], middle, left[1] * right[1]]
    }

    // MARK: Automorphisms

    /// Slot i takes what was in slot i + steps, in every cycle of slots.
    func applyRotation(
        _ ciphertext: Ciphertext, by steps: Int, keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        let element = GaloisAutomorphism.element(rotatingBy: steps, degree: context.degree)
        return try applyGalois(ciphertext, element: element, steps: steps, keys: keys)
    }

    /// The same for several steps: the digits of the ciphertext are made once for all of them ("hoisting"; Halevi and
    /// Shoup, "Faster Homomorphic Linear Transformations in HElib", 2018, section 5).
    /// - Returns: one a step, in their order.
    func applyRotations(
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

    /// The ciphertext and its rotations by several steps, added up: less work, and less noise, than to rotate first.
    func addGaloisImages(
        _ ciphertext: Ciphertext, bySteps steps: [Int], keys: EvaluationKeySet
    ) throws(HEError) -> Ciphertext {
        try requireTwoPolynomials(ciphertext)
        var terms: [(automorphism: GaloisAutomorphism, key: EvaluationKey)] = []
        var (sum0, sum1) = (ciphertext.polynomials[0], ciphertext.polynomials[1])
        for steps in steps {
            let element = GaloisAutomorphism.element(rotatingBy: steps, degree: context.degree)
            guard element != 1 else {
                sum0 += ciphertext.polynomials[0]
                sum1 += ciphertext.polynomials[1]
                continue
            }
            guard let key = keys.galois[UInt32(element)] else {
                throw .missingGaloisKey(element: element, steps: steps)
            }
            terms.append((GaloisAutomorphism.shared(element: element, degree: context.degree), key))
        }
        if !terms.isEmpty {
            for term in terms { sum0 += ciphertext.polynomials[0].applying(term.automorphism) }
            let (b, a) = try context.keySwitcher(level: ciphertext.level).applySum(terms, to: ciphertext.polynomials[1])
            sum0 += b
            sum1 += a
        }
        return try Ciphertext(context: context, polynomials: [sum0, sum1], scale: ciphertext.scale)
    }

    /// - Parameter steps: what to name if the key is missing.
    func applyGalois(
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
        try require(ciphertext)
        guard key.id.kind == .switching else {
            throw .unexpectedObject(found: "a \(key.id.kind) key", expected: "a switching key")
        }
        try requireTwoPolynomials(ciphertext)
        let (b, a) = try context.keySwitcher(level: ciphertext.level).apply(key, to: ciphertext.polynomials[1])
        return try Ciphertext(
            context: context, polynomials: [ciphertext.polynomials[0] + b, a], scale: ciphertext.scale)
    }

    // MARK: Checks

    /// - Throws: ``HEError/parameterMismatch``, ``HEError/invalidParameters(reason:)`` for another scheme's parameters.
    func require(_ ciphertext: Ciphertext) throws(HEError) {
        try context.require(Self.scheme)
        try context.require(ciphertext.context)
    }

    func requireTwoPolynomials(_ ciphertext: Ciphertext) throws(HEError) {
        try require(ciphertext)
        guard ciphertext.polynomials.count == 2 else {
            throw .unexpectedPolynomialCount(ciphertext.polynomials.count, expected: "2: relinearize first")
        }
    }

    /// Both are of these parameters, at one level and two polynomials long.
    func requireFactors(_ left: Ciphertext, _ right: Ciphertext) throws(HEError) {
        try require(left)
        try require(right)
        try requireSameLevel(left.level, right.level)
        try requireTwoPolynomials(left)
        try requireTwoPolynomials(right)
    }

    func requireSameLevel(_ left: Int, _ right: Int) throws(HEError) {
        guard left == right else { throw .levelMismatch(left, right) }
    }

    /// Scales that came by different roads differ in their last bits; no more is forgiven.
    func requireSameScale(_ left: Double, _ right: Double) throws(HEError) {
        guard (left - right).magnitude <= 1e-12 * left else { throw .scaleMismatch(left, right) }
    }

    private func requireSameShape(_ left: Ciphertext, _ right: Ciphertext) throws(HEError) {
        try require(left)
        try require(right)
        try requireSameLevel(left.level, right.level)
        try requireSameScale(left.scale, right.scale)
    }
}

extension EncryptionContext {
    /// A polynomial over the last prime of its level, each coefficient rounded: modulus switching, and what rescaling
    /// does.
    /// - Parameter polynomial: in the NTT domain, at a level above 1.
    func divideByLastPrime(_ polynomial: RNSPolynomial) -> RNSPolynomial {
        let basis = ciphertextBasis(level: polynomial.rowCount - 1)
        let last = polynomial.basis.moduli[basis.count]
        let inverses = rescaling(level: polynomial.rowCount)
        let degree = degree
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
}
