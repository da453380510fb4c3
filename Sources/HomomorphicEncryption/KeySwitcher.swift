import RLWE

/// Hybrid key switching at one level: digits of `alpha` primes, raised to the modulus Q_l * P, times the
/// key, and divided by P (Han and Ki, "Better Bootstrapping for Approximate Homomorphic Encryption",
/// 2020, section 3; base conversion as in Halevi, Polyakov and Shoup, 2019).
final class KeySwitcher: Sendable {
    private let context: EncryptionContext
    private let level: Int
    private let digits: [Digit]
    private let specialBasis: BaseConversion
    /// P^-1 modulo each q.
    private let specialInverses: [UInt64]

    private struct Digit: Sendable {
        let range: Range<Int>
        let conversion: BaseConversion
    }

    init(context: EncryptionContext, level: Int) throws(HEError) {
        let parameters = context.parameters
        guard parameters.alpha > 0 else {
            throw .invalidParameters(reason: "parameters without special primes cannot switch keys")
        }
        let keyBasis = context.keyBasis(level: level)
        let specialBits = EncryptionParameters.log2(parameters.p)
        var digits: [Digit] = []
        for index in 0..<parameters.digitCount(level: level) {
            let range = context.digitRange(index, level: level)
            let digitBits = EncryptionParameters.log2(parameters.q[range])
            // The noise of a switch is about digit * N * sigma / P: one bit of slack for primes of equal length.
            guard specialBits + 1 >= digitBits else {
                throw .specialModulusTooSmall(specialBits: Int(specialBits), digitBits: Int(digitBits.rounded(.up)))
            }
            digits.append(
                Digit(
                    range: range, conversion: BaseConversion(from: Array(keyBasis.moduli[range]), to: keyBasis.moduli)))
        }
        self.context = context
        self.level = level
        self.digits = digits
        let ciphertextModuli = context.ciphertextBasis(level: level).moduli
        specialBasis = BaseConversion(from: context.specialModuli, to: ciphertextModuli)
        specialInverses = ciphertextModuli.map { modulus in
            modulus.inverse(modulus.product(of: parameters.p))
        }
    }

    /// The digits of a polynomial, raised to Q_l P: what every key switch of it needs, whatever the key.
    struct Decomposition {
        /// raised[j]: digit j over the key basis, in the NTT domain.
        fileprivate let raised: [RNSPolynomial]
        fileprivate let level: Int

        /// The digits of the image under X -> X^g: raising and transforming commute with it, because residues are
        /// centered.
        func applying(_ automorphism: GaloisAutomorphism) -> Decomposition {
            Decomposition(raised: raised.map { $0.applying(automorphism) }, level: level)
        }
    }

    /// - Parameter polynomial: NTT domain, over q_0 ..< q_level.
    func decompose(_ polynomial: RNSPolynomial) -> Decomposition {
        let keyBasis = context.keyBasis(level: level)
        let prepared = prepareDigits(polynomial)
        let degree = context.degree
        let raised = digits.indices.map { index in
            var raised = RNSPolynomial(uninitialized: keyBasis, form: .evaluation)
            polynomial.withRows { original in
                prepared.withRows { prepared in
                    raised.withMutableRows { rows in
                        Parallelism.forEach(below: keyBasis.count) { row in
                            raise(index, row, original, prepared, into: rows + row * degree)
                        }
                    }
                }
            }
            return raised
        }
        return Decomposition(raised: raised, level: level)
    }

    /// The coefficients of a polynomial, ready to be raised.
    private func prepareDigits(_ polynomial: RNSPolynomial) -> RNSPolynomial {
        var prepared = RNSPolynomial(uninitialized: polynomial.basis, form: .coefficient)
        let degree = context.degree
        polynomial.withRows { values in
            prepared.withMutableRows { rows in
                for digit in digits {
                    let first = digit.range.lowerBound * degree
                    digit.conversion.prepare(values + first, into: rows + first)
                }
            }
        }
        return prepared
    }

    /// Row `row` over the key basis of digit `index`, in the NTT domain.
    private func raise(
        _ index: Int, _ row: Int, _ original: UnsafePointer<UInt64>, _ prepared: UnsafePointer<UInt64>,
        into out: UnsafeMutablePointer<UInt64>
    ) {
        let digit = digits[index]
        // Rows of the digit's own primes are there already, transformed.
        if digit.range.contains(row) {
            out.update(from: original + row * context.degree, count: context.degree)
        } else {
            let source = prepared + digit.range.lowerBound * context.degree
            context.keyBasis(level: level).moduli[row].transform(
                out, digit.conversion.conversion(of: source, toRow: row))
        }
    }

    /// (b, a) parts that decrypt, under the key's secret, to `polynomial` times the key's source secret.
    /// - Parameter polynomial: NTT domain, over q_0 ..< q_level.
    func apply(_ key: EvaluationKey, to polynomial: RNSPolynomial) throws(HEError) -> (RNSPolynomial, RNSPolynomial) {
        try require(key)
        let prepared = prepareDigits(polynomial)
        let degree = context.degree
        return try polynomial.withRows { original throws(HEError) in
            try prepared.withRows { prepared throws(HEError) in
                // Row by row, so that no more than one row of each digit is there at a time and stays in the cache.
                try sums([key]) { row, body in
                    RowPool.withScratch(words: digits.count * degree) { raised in
                        body(
                            digits.indices.map { index in
                                if digits[index].range.contains(row) { return original + row * degree }
                                let out = raised + index * degree
                                raise(index, row, original, prepared, into: out)
                                return UnsafePointer(out)
                            })
                    }
                }
            }
        }
    }

    /// The same for a polynomial that is decomposed already.
    func apply(_ key: EvaluationKey, to digits: Decomposition) throws(HEError) -> (RNSPolynomial, RNSPolynomial) {
        try require(key)
        precondition(digits.level == level, "digits of this level")
        defer { withExtendedLifetime(digits) {} }
        let raised = digits.raised.map { $0.withRows { $0 } }
        return try sums([key]) { row, body in body(raised.map { $0 + row * context.degree }) }
    }

    /// The sum, over several automorphisms, of what the image of `polynomial` makes with the automorphism's key: its
    /// digits are made once, and the sum is divided by P once (as Bossuat, Mouchet, Troncoso-Pastoriza and Hubaux,
    /// "Efficient Bootstrapping for Approximate Homomorphic Encryption with Non-Sparse Keys", 2021, section 4, sum
    /// before they divide).
    /// - Parameter polynomial: NTT domain, over q_0 ..< q_level.
    func applySum(
        _ terms: [(automorphism: GaloisAutomorphism, key: EvaluationKey)], to polynomial: RNSPolynomial
    ) throws(HEError) -> (RNSPolynomial, RNSPolynomial) {
        for term in terms { try require(term.key) }
        let prepared = prepareDigits(polynomial)
        let degree = context.degree
        return try polynomial.withRows { original throws(HEError) in
            try prepared.withRows { prepared throws(HEError) in
                try sums(terms.map(\.key)) { row, body in
                    RowPool.withScratch(words: (terms.count + 1) * digits.count * degree) { scratch in
                        let raised = digits.indices.map { index in
                            if digits[index].range.contains(row) { return original + row * degree }
                            raise(index, row, original, prepared, into: scratch + index * degree)
                            return UnsafePointer(scratch + index * degree)
                        }
                        var images: [UnsafePointer<UInt64>] = []
                        for term in terms {
                            for digit in raised {
                                let out = scratch + (digits.count + images.count) * degree
                                term.automorphism.permute(out, digit)
                                images.append(UnsafePointer(out))
                            }
                        }
                        body(images)
                    }
                }
            }
        }
    }

    /// The sums of digits times the keys' halves, divided by P. `raised` hands out a row of every digit, key after key.
    private func sums(
        _ keys: [EvaluationKey], raised: (_ row: Int, _ body: ([UnsafePointer<UInt64>]) -> Void) -> Void
    ) throws(HEError) -> (RNSPolynomial, RNSPolynomial) {
        let keyBasis = context.keyBasis(level: level)
        let degree = context.degree
        var halves: [[RNSPolynomial]] = []
        for key in keys {
            do { halves.append(try key.a) } catch {
                throw .malformedObject(reason: "the uniform halves of a key cannot be made from its seed")
            }
        }
        defer { withExtendedLifetime((keys, halves)) {} }
        // For each digit of each key, where the halves are, and the rows of q that they have, which may be more.
        let pieces = zip(keys, halves).flatMap { key, halves in
            digits.indices.map { (b: key.b[$0].withRows { $0 }, a: halves[$0].withRows { $0 }, level: key.id.level) }
        }
        var sumB = RNSPolynomial(uninitialized: keyBasis, form: .evaluation)
        var sumA = RNSPolynomial(uninitialized: keyBasis, form: .evaluation)
        sumB.withMutableRows { outB in
            sumA.withMutableRows { outA in
                Parallelism.forEach(below: keyBasis.count) { row in
                    raised(row) { x in
                        let rows = pieces.map { (row < level ? row : $0.level + row - level) * degree }
                        keyBasis.moduli[row].multiplyAccumulate(
                            outB + row * degree, outA + row * degree, x, zip(pieces, rows).map { $0.b + $1 },
                            zip(pieces, rows).map { $0.a + $1 })
                    }
                }
            }
        }
        return (divideBySpecialModulus(sumB), divideBySpecialModulus(sumA))
    }

    private func require(_ key: EvaluationKey) throws(HEError) {
        try context.require(key.context)
        guard key.id.level >= level else { throw .keyLevelTooLow(keyLevel: key.id.level, needed: level) }
    }

    /// round(x / P) over q_0 ..< q_level. Only the special rows leave the NTT domain.
    private func divideBySpecialModulus(_ x: RNSPolynomial) -> RNSPolynomial {
        let basis = context.ciphertextBasis(level: level)
        let degree = context.degree
        var result = RNSPolynomial(uninitialized: basis, form: .evaluation)
        RowPool.withScratch(words: context.specialModuli.count * degree) { special in
            x.withRows { rows in
                specialBasis.prepare(rows + level * degree, into: special)
                result.withMutableRows { out in
                    Parallelism.forEach(below: level) { row in
                        basis.moduli[row].divide(
                            out + row * degree, rows + row * degree,
                            minus: specialBasis.conversion(of: special, toRow: row), factor: specialInverses[row])
                    }
                }
            }
        }
        return result
    }
}

/// Conversion of centered residues from a few primes to others.
///
/// From one prime it is exact. From n primes it is a sum of n terms, each uniform between -D/2 and D/2 for
/// their product D: right modulo D, within n D / 2, and zero on average. A mean would be one constant in all
/// coefficients, which adds up to 2N/pi times as much in the slots nearest to 1 (docs/noise.md).
struct BaseConversion: Sendable {
    private let source: [NTTModulus]
    private let sourceBits: Int
    private let targets: [NTTModulus]
    /// (D / d_i)^-1 modulo d_i.
    private let inverses: [UInt64]
    /// weights[t][i]: D / d_i modulo target t.
    private let weights: [[UInt64]]
    /// Minus the sum of floor(d_i / 2) D / d_i, modulo each target.
    private let starts: [UInt64]

    init(from source: [NTTModulus], to targets: [NTTModulus]) {
        self.source = source
        self.targets = targets
        sourceBits = source.map(\.bitCount).max() ?? 0
        inverses = source.enumerated().map { index, prime in prime.inverse(prime.cofactors(of: source)[index]) }
        let weights = targets.map { $0.cofactors(of: source) }
        starts = zip(targets, weights).map { target, weights in
            let halves = zip(source, weights).reduce(0) { sum, term in
                (sum + target.multiply(term.0.value / 2 % target.value, term.1)) % target.value
            }
            return halves == 0 ? 0 : target.value - halves
        }
        self.weights = weights
    }

    /// What all targets share: x itself for one prime, else [x * (D / d_i)^-1 + floor(d_i / 2)] modulo each d_i.
    /// - Parameters:
    ///   - values: rows of the source primes, in the NTT domain.
    ///   - out: as many rows, in coefficient form.
    func prepare(_ values: UnsafePointer<UInt64>, into out: UnsafeMutablePointer<UInt64>) {
        let degree = source[0].degree
        Parallelism.forEach(below: source.count) { row in
            source[row].inverseTransform(
                out + row * degree, values + row * degree, factor: source.count == 1 ? 1 : inverses[row],
                offset: source.count == 1 ? 0 : source[row].value / 2)
        }
    }

    /// How target `row` converts what ``prepare(_:into:)`` wrote.
    func conversion(of prepared: UnsafePointer<UInt64>, toRow row: Int) -> NTTModulus.Conversion {
        if source.count == 1 { return .centered(prepared, prime: source[0].value) }
        return .weightedSum(
            source.indices.map { prepared + $0 * source[0].degree }, weights: weights[row], start: starts[row],
            bits: sourceBits)
    }
}
