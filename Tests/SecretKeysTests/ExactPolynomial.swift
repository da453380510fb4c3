import RLWE

/// A polynomial modulo X^N + 1 with integer coefficients, exactly: two's complement numbers of `width`
/// words. Slow and plain, with no code of the library under test but the list of its primes.
struct ExactPolynomial: Equatable {
    let degree: Int
    /// 64-bit words of a coefficient; the caller sees to it that every value fits.
    let width: Int
    /// Coefficient k from word k * width, least significant word first.
    private(set) var words: [UInt64]

    init(degree: Int, width: Int) {
        self.degree = degree
        self.width = width
        words = [UInt64](repeating: 0, count: degree * width)
    }

    init(_ coefficients: [Int64], width: Int) {
        self.init(degree: coefficients.count, width: width)
        for (k, value) in coefficients.enumerated() {
            for index in 0..<width {
                words[k * width + index] = index == 0 ? UInt64(bitPattern: value) : value < 0 ? .max : 0
            }
        }
    }

    /// The same numbers in wider words.
    func extended(to width: Int) -> ExactPolynomial {
        var result = ExactPolynomial(degree: degree, width: width)
        for k in 0..<degree {
            for index in 0..<width {
                result.words[k * width + index] =
                    index < self.width ? words[k * self.width + index] : isNegative(k) ? .max : 0
            }
        }
        return result
    }

    // MARK: The ring

    static func + (left: ExactPolynomial, right: ExactPolynomial) -> ExactPolynomial {
        var result = left
        for k in 0..<left.degree { result.accumulate(k, right, k, negated: false) }
        return result
    }

    static func - (left: ExactPolynomial, right: ExactPolynomial) -> ExactPolynomial {
        var result = left
        for k in 0..<left.degree { result.accumulate(k, right, k, negated: true) }
        return result
    }

    static prefix func - (polynomial: ExactPolynomial) -> ExactPolynomial {
        ExactPolynomial(degree: polynomial.degree, width: polynomial.width) - polynomial
    }

    /// Schoolbook: N^2 products, each modulo 2^(64 width), which two's complement makes right for both signs.
    static func * (left: ExactPolynomial, right: ExactPolynomial) -> ExactPolynomial {
        let (degree, width) = (left.degree, left.width)
        var result = ExactPolynomial(degree: degree, width: width)
        let opposite = -left
        result.words.withUnsafeMutableBufferPointer { out in
            left.words.withUnsafeBufferPointer { plus in
                opposite.words.withUnsafeBufferPointer { minus in
                    right.words.withUnsafeBufferPointer { factor in
                        for i in 0..<degree {
                            for j in 0..<degree {
                                // X^N = -1.
                                let source = i + j < degree ? plus : minus
                                let target = (i + j) & (degree - 1)
                                for x in 0..<width {
                                    let word = source[i * width + x]
                                    var carry: UInt64 = 0
                                    for y in 0..<width - x {
                                        let (high, low) = word.multipliedFullWidth(by: factor[j * width + y])
                                        let (first, overflow1) = low.addingReportingOverflow(carry)
                                        let slot = target * width + x + y
                                        let (second, overflow2) = out[slot].addingReportingOverflow(first)
                                        out[slot] = second
                                        carry = high &+ (overflow1 ? 1 : 0) &+ (overflow2 ? 1 : 0)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return result
    }

    /// Each coefficient times one factor, modulo 2^(64 width), which two's complement makes right for both signs.
    func multiplied(by factor: UInt64) -> ExactPolynomial {
        var result = self
        for k in 0..<degree {
            var carry: UInt64 = 0
            for index in k * width..<(k + 1) * width {
                let (high, low) = words[index].multipliedFullWidth(by: factor)
                let (sum, overflow) = low.addingReportingOverflow(carry)
                result.words[index] = sum
                carry = high &+ (overflow ? 1 : 0)
            }
        }
        return result
    }

    /// X -> X^element.
    func applying(_ element: Int) -> ExactPolynomial {
        var result = ExactPolynomial(degree: degree, width: width)
        for k in 0..<degree {
            let image = k * element % (2 * degree)
            result.accumulate(image % degree, self, k, negated: image >= degree)
        }
        return result
    }

    private mutating func accumulate(_ k: Int, _ other: ExactPolynomial, _ otherK: Int, negated: Bool) {
        var carry = negated
        for index in 0..<width {
            let word = other.words[otherK * width + index]
            let (first, overflow1) = words[k * width + index].addingReportingOverflow(negated ? ~word : word)
            let (second, overflow2) = first.addingReportingOverflow(carry ? 1 : 0)
            words[k * width + index] = second
            carry = overflow1 || overflow2
        }
    }

    // MARK: Numbers

    private func isNegative(_ k: Int) -> Bool { words[(k + 1) * width - 1] >> 63 == 1 }

    /// |coefficient k|, least significant word first.
    private func magnitude(_ k: Int) -> [UInt64] {
        var value = Array(words[k * width..<(k + 1) * width])
        guard isNegative(k) else { return value }
        var carry = true
        for index in value.indices {
            (value[index], carry) = (~value[index]).addingReportingOverflow(carry ? 1 : 0)
        }
        return value
    }

    /// The coefficients, each rounded to the nearest few units in the last place of a Double.
    var doubles: [Double] {
        (0..<degree).map { k in
            let value = magnitude(k).reversed().reduce(0) { $0 * 0x1p64 + Double($1) }
            return isNegative(k) ? -value : value
        }
    }

    /// Each coefficient over `divisor`, to the nearest integer; an odd divisor has no ties.
    func divided(by divisor: UInt64) -> ExactPolynomial {
        var result = ExactPolynomial(degree: degree, width: width)
        for k in 0..<degree {
            var quotient = magnitude(k)
            var remainder: UInt64 = 0
            for index in quotient.indices.reversed() {
                (quotient[index], remainder) = divisor.dividingFullWidth((remainder, quotient[index]))
            }
            var carry = remainder > divisor / 2
            for index in quotient.indices {
                (quotient[index], carry) = quotient[index].addingReportingOverflow(carry ? 1 : 0)
            }
            let positive = ExactPolynomial(one: quotient)
            result.accumulate(k, positive, 0, negated: isNegative(k))
        }
        return result
    }

    private init(one coefficient: [UInt64]) {
        degree = 1
        width = coefficient.count
        words = coefficient
    }

    // MARK: To residues and back

    /// Residues modulo each prime of a basis, in coefficient form.
    func residues(_ basis: RNSBasis) -> RNSPolynomial {
        var result = RNSPolynomial(basis: basis, form: .coefficient)
        let magnitudes = (0..<degree).map { (isNegative($0), magnitude($0)) }
        for (row, modulus) in basis.moduli.enumerated() {
            result.withMutableRow(row) { out in
                for (k, (negative, value)) in magnitudes.enumerated() {
                    let residue = value.reversed().reduce(UInt64(0)) {
                        modulus.value.dividingFullWidth(($0, $1)).remainder
                    }
                    out[k] = negative && residue != 0 ? modulus.value - residue : residue
                }
            }
        }
        return result
    }

    /// The one polynomial with these residues and coefficients in -Q/2 ..< Q/2, by the Chinese remainder
    /// theorem as it is written: the sum of r_i (Q/q_i) ((Q/q_i)^-1 mod q_i), less a multiple of Q.
    init(lifting polynomial: RNSPolynomial) {
        var polynomial = polynomial
        polynomial.inverseTransform()
        let moduli = polynomial.basis.moduli
        // Room for the sum of all terms, below Q times their number, and for the sign.
        let width = moduli.reduce(8) { $0 + $1.bitCount } / 64 + 1
        self.init(degree: polynomial.degree, width: width)
        func product(without skipped: Int?) -> [UInt64] {
            var result = [UInt64](repeating: 0, count: width)
            result[0] = 1
            for (index, modulus) in moduli.enumerated() where index != skipped {
                var carry: UInt64 = 0
                for word in 0..<width {
                    let (high, low) = result[word].multipliedFullWidth(by: modulus.value)
                    let (sum, overflow) = low.addingReportingOverflow(carry)
                    result[word] = sum
                    carry = high &+ (overflow ? 1 : 0)
                }
            }
            return result
        }
        let modulus = product(without: nil)
        let half = modulus.indices.map {
            modulus[$0] >> 1 | ($0 + 1 < width ? modulus[$0 + 1] << 63 : 0)
        }
        let cofactors = moduli.indices.map { product(without: $0) }
        let inverses = moduli.enumerated().map { i, prime in
            prime.inverse(
                moduli.enumerated().reduce(UInt64(1)) {
                    $1.offset == i ? $0 : prime.multiply($0, $1.element.value % prime.value)
                })
        }
        let rows = moduli.indices.map { row in
            polynomial.withRow(row) { Array(UnsafeBufferPointer(start: $0, count: polynomial.degree)) }
        }
        func exceeds(_ value: UnsafeMutablePointer<UInt64>, _ bound: [UInt64], orEquals: Bool) -> Bool {
            for index in stride(from: width - 1, through: 0, by: -1) where value[index] != bound[index] {
                return value[index] > bound[index]
            }
            return orEquals
        }
        func subtract(_ value: UnsafeMutablePointer<UInt64>) {
            var borrow: UInt64 = 0
            for index in 0..<width {
                let (first, overflow1) = value[index].subtractingReportingOverflow(modulus[index])
                let (second, overflow2) = first.subtractingReportingOverflow(borrow)
                value[index] = second
                borrow = overflow1 || overflow2 ? 1 : 0
            }
        }
        words.withUnsafeMutableBufferPointer { words in
            for k in 0..<polynomial.degree {
                guard let sum = words.baseAddress.map({ $0 + k * width }) else { return }
                for (i, prime) in moduli.enumerated() {
                    let factor = prime.multiply(rows[i][k], inverses[i])
                    cofactors[i].withUnsafeBufferPointer { cofactor in
                        var carry: UInt64 = 0
                        for index in 0..<width {
                            let (high, low) = cofactor[index].multipliedFullWidth(by: factor)
                            let (first, overflow1) = low.addingReportingOverflow(carry)
                            let (second, overflow2) = sum[index].addingReportingOverflow(first)
                            sum[index] = second
                            carry = high &+ (overflow1 ? 1 : 0) &+ (overflow2 ? 1 : 0)
                        }
                    }
                }
                while exceeds(sum, modulus, orEquals: true) { subtract(sum) }
                if exceeds(sum, half, orEquals: false) { subtract(sum) }
            }
        }
    }
}
