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
            modulus.inverse(parameters.p.reduce(1) { modulus.multiply($0, $1 % modulus.value) })
        }
    }

    /// (b, a) parts that decrypt, under the key's secret, to `polynomial` times the key's source secret.
    /// - Parameter polynomial: NTT domain, over q_0 ..< q_level.
    func apply(_ key: EvaluationKey, to polynomial: RNSPolynomial) throws(HEError) -> (RNSPolynomial, RNSPolynomial) {
        try context.require(key.context)
        guard key.id.level >= level else { throw .keyLevelTooLow(keyLevel: key.id.level, needed: level) }
        let keyBasis = context.keyBasis(level: level)
        var coefficients = polynomial
        coefficients.inverseTransform()
        var sumB = RNSPolynomial(basis: keyBasis, form: .evaluation)
        var sumA = RNSPolynomial(basis: keyBasis, form: .evaluation)
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: context.degree) { scratch in
            let raised = scratch.baseAddress!
            for (index, digit) in digits.enumerated() {
                let source = digit.conversion.prepare(coefficients, firstRow: digit.range.lowerBound)
                for (row, modulus) in keyBasis.moduli.enumerated() {
                    // Rows of the digit's own primes are there already, transformed.
                    if digit.range.contains(row) {
                        polynomial.withRow(row) { raised.update(from: $0, count: context.degree) }
                    } else {
                        digit.conversion.convert(source, toRow: row, raised)
                        modulus.transform(raised)
                    }
                    let keyRow = row < level ? row : key.id.level + row - level
                    key.b[index].withRow(keyRow) { b in sumB.withMutableRow(row) { modulus.multiplyAdd($0, raised, b) }
                    }
                    key.a[index].withRow(keyRow) { a in sumA.withMutableRow(row) { modulus.multiplyAdd($0, raised, a) }
                    }
                }
            }
        }
        return (divideBySpecialModulus(sumB), divideBySpecialModulus(sumA))
    }

    /// round(x / P) over q_0 ..< q_level.
    private func divideBySpecialModulus(_ x: RNSPolynomial) -> RNSPolynomial {
        let basis = context.ciphertextBasis(level: level)
        // Only the special rows leave the NTT domain.
        var special = RNSPolynomial(uninitialized: RNSBasis(context.specialModuli), form: .coefficient)
        for (row, modulus) in context.specialModuli.enumerated() {
            x.withRow(level + row) { source in
                special.withMutableRow(row) {
                    $0.update(from: source, count: context.degree)
                    modulus.inverseTransform($0)
                }
            }
        }
        let prepared = specialBasis.prepare(special, firstRow: 0)
        var result = RNSPolynomial(uninitialized: basis, form: .evaluation)
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: context.degree) { scratch in
            let remainder = scratch.baseAddress!
            for (row, modulus) in basis.moduli.enumerated() {
                specialBasis.convert(prepared, toRow: row, remainder)
                modulus.transform(remainder)
                x.withRow(row) { source in
                    result.withMutableRow(row) {
                        modulus.subtract($0, source, remainder)
                        modulus.multiply($0, $0, scalar: specialInverses[row])
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
    private let targets: [NTTModulus]
    /// (D / d_i)^-1 modulo d_i.
    private let inverses: [UInt64]
    /// weights[t][i]: D / d_i modulo target t.
    private let weights: [[UInt64]]
    /// Sum of floor(d_i / 2) D / d_i, modulo each target.
    private let targetHalves: [UInt64]

    init(from source: [NTTModulus], to targets: [NTTModulus]) {
        self.source = source
        self.targets = targets
        func product(modulo modulus: NTTModulus, without skipped: Int?) -> UInt64 {
            source.enumerated().reduce(1) { result, element in
                element.offset == skipped ? result : modulus.multiply(result, element.element.value % modulus.value)
            }
        }
        inverses = source.enumerated().map { $1.inverse(product(modulo: $1, without: $0)) }
        weights = targets.map { target in source.indices.map { product(modulo: target, without: $0) } }
        targetHalves = zip(targets, weights).map { target, weights in
            zip(source, weights).reduce(0) { sum, term in
                (sum + target.multiply(term.0.value / 2 % target.value, term.1)) % target.value
            }
        }
    }

    /// What all targets share: x itself for one prime, else [x * (D / d_i)^-1 + floor(d_i / 2)] modulo each d_i.
    /// - Parameter firstRow: the row of `polynomial` (coefficient form) that holds the first source prime.
    func prepare(_ polynomial: RNSPolynomial, firstRow: Int) -> RNSPolynomial {
        var prepared = RNSPolynomial(uninitialized: RNSBasis(source), form: .coefficient)
        for (row, modulus) in source.enumerated() {
            polynomial.withRow(firstRow + row) { words in
                prepared.withMutableRow(row) { out in
                    if source.count == 1 {
                        out.update(from: words, count: modulus.degree)
                    } else {
                        modulus.multiply(out, words, scalar: inverses[row])
                        for index in 0..<modulus.degree {
                            let sum = out[index] + modulus.value / 2
                            out[index] = sum >= modulus.value ? sum - modulus.value : sum
                        }
                    }
                }
            }
        }
        return prepared
    }

    /// Residues modulo target `row` of what ``prepare(_:firstRow:)`` saw.
    func convert(_ prepared: RNSPolynomial, toRow row: Int, _ out: UnsafeMutablePointer<UInt64>) {
        let target = targets[row]
        if source.count == 1 {
            prepared.withRow(0) { target.reduceCentered(out, $0, from: source[0]) }
            return
        }
        let half = targetHalves[row]
        let start = half == 0 ? 0 : target.value - half
        out.update(repeating: start, count: target.degree)
        for index in source.indices {
            prepared.withRow(index) { target.multiplyAdd(out, $0, scalar: weights[row][index]) }
        }
    }
}
