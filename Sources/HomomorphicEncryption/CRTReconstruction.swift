import CRLWEKernels
import RLWE

/// Residues of several primes back to centered numbers, exact before the one rounding to Double.
///
/// Garner's mixed-radix digits (Knuth, TAOCP 2, 4.3.2), then multi-word integers, so that the sign is
/// never a guess.
struct CRTReconstruction {
    private let basis: RNSBasis
    /// inverses[i][j]: (q_0 ... q_(i-1))'s part: q_j^-1 modulo q_i, j < i.
    private let inverses: [[UInt64]]
    /// q_0 * ... * q_(k-1) as little-endian words, for k = 0 ... count.
    private let products: [[UInt64]]
    private let half: [UInt64]
    /// So many of the first primes, three at most, have a product below 2^126.
    private let smallCount: Int

    init(_ basis: RNSBasis) {
        self.basis = basis
        inverses = basis.moduli.enumerated().map { i, modulus in
            (0..<i).map { modulus.inverse(basis.moduli[$0].value % modulus.value) }
        }
        var bits = 0
        smallCount = Swift.max(
            1,
            basis.moduli.prefix(3).prefix {
                bits += $0.bitCount
                return bits <= 126
            }.count)
        let words = basis.count + 1
        var product = [UInt64](repeating: 0, count: words)
        product[0] = 1
        var products = [product]
        for modulus in basis.moduli {
            product = Self.multiply(product, modulus.value)
            products.append(product)
        }
        self.products = products
        half = (0..<words).map { index in
            product[index] >> 1 | (index + 1 < words ? product[index + 1] << 63 : 0)
        }
    }

    private static func multiply(_ number: [UInt64], _ factor: UInt64) -> [UInt64] {
        var result = number
        var carry: UInt64 = 0
        for index in result.indices {
            let (high, low) = number[index].multipliedFullWidth(by: factor)
            let (sum, overflow) = low.addingReportingOverflow(carry)
            result[index] = sum
            carry = high + (overflow ? 1 : 0)
        }
        return result
    }

    /// Writes the N centered coefficients of a polynomial in coefficient form.
    func center(_ polynomial: RNSPolynomial, into out: UnsafeMutablePointer<Double>) {
        if centerSmall(polynomial, into: out) { return }
        centerAny(polynomial, into: out)
    }

    /// The road of all messages that fit a few of the primes, as they do after the first levels: their number is
    /// computed from those primes alone, and is the right one if it has the residues modulo all others.
    /// - Returns: false if it has not.
    private func centerSmall(_ polynomial: RNSPolynomial, into out: UnsafeMutablePointer<Double>) -> Bool {
        let degree = basis.degree
        let few = Swift.min(basis.count, smallCount)
        return RowPool.withScratch(words: (few + 2) * degree, isConfidential: true) { scratch in
            let digits = (0..<few).map { scratch + $0 * degree }
            let negative = scratch + few * degree
            let sum = negative + degree
            for row in 0..<few { polynomial.withRow(row) { digits[row].update(from: $0, count: degree) } }
            mixRadices(digits)
            func prime(_ index: Int) -> UInt64 { index < few ? basis.moduli[index].value : 0 }
            hkms_center_digits_variable_time(
                out, negative, digits[0], few > 1 ? digits[1] : nil, few > 2 ? digits[2] : nil, degree, prime(0),
                prime(1), prime(2))
            for row in few..<Swift.max(few, basis.count) {
                let modulus = basis.moduli[row]
                modulus.reduce(sum, digits[0])
                var product: UInt64 = 1
                for index in 0..<few {
                    if index > 0 { modulus.multiplyAdd(sum, digits[index], scalar: product) }
                    product = modulus.multiply(product, basis.moduli[index].value % modulus.value)
                }
                let agrees = polynomial.withRow(row) {
                    hkms_equals_centered_variable_time($0, sum, negative, degree, product, modulus.value) == 1
                }
                guard agrees else { return false }
            }
            return true
        }
    }

    /// Mixed-radix digits of the first rows, in place: x = d_0 + d_1 q_0 + d_2 q_0 q_1 + ...
    private func mixRadices(_ rows: [UnsafeMutablePointer<UInt64>]) {
        for i in rows.indices.dropFirst() {
            let modulus = basis.moduli[i]
            for j in 0..<i {
                modulus.subtractReducing(rows[i], rows[j])
                modulus.multiply(rows[i], rows[i], scalar: inverses[i][j])
            }
        }
    }

    private func centerAny(_ polynomial: RNSPolynomial, into out: UnsafeMutablePointer<Double>) {
        let degree = basis.degree
        let count = basis.count
        let words = count + 1
        RowPool.withScratch(words: count * degree, isConfidential: true) { scratch in
            let rows = (0..<count).map { scratch + $0 * degree }
            for row in 0..<count { polynomial.withRow(row) { rows[row].update(from: $0, count: degree) } }
            mixRadices(rows)
            var sum = [UInt64](repeating: 0, count: words)
            for k in 0..<degree { out[k] = centered(&sum) { rows[$0][k] } }
        }
    }

    /// The number of these digits; `sum` is room for its words.
    private func centered(_ sum: inout [UInt64], _ digit: (Int) -> UInt64) -> Double {
        let words = sum.count
        for index in 0..<words { sum[index] = 0 }
        for i in 0..<basis.count {
            var carry: UInt64 = 0
            let digit = digit(i)
            for index in 0..<words {
                let (high, low) = products[i][index].multipliedFullWidth(by: digit)
                let (first, overflow1) = low.addingReportingOverflow(carry)
                let (second, overflow2) = first.addingReportingOverflow(sum[index])
                sum[index] = second
                carry = high &+ (overflow1 ? 1 : 0) &+ (overflow2 ? 1 : 0)
            }
        }
        var negative = false
        for index in stride(from: words - 1, through: 0, by: -1) where sum[index] != half[index] {
            negative = sum[index] > half[index]
            break
        }
        if negative {
            var borrow: UInt64 = 0
            for index in 0..<words {
                let (first, overflow1) = products[basis.count][index].subtractingReportingOverflow(sum[index])
                let (second, overflow2) = first.subtractingReportingOverflow(borrow)
                sum[index] = second
                borrow = (overflow1 ? 1 : 0) + (overflow2 ? 1 : 0)
            }
        }
        var magnitude = 0.0
        for index in stride(from: words - 1, through: 0, by: -1) {
            magnitude = magnitude * 0x1p64 + Double(sum[index])
        }
        return negative ? -magnitude : magnitude
    }
}

extension NTTModulus {
    /// out = out - (any words) modulo this prime.
    fileprivate func subtractReducing(_ out: UnsafeMutablePointer<UInt64>, _ words: UnsafePointer<UInt64>) {
        RowPool.withScratch(words: degree, isConfidential: true) { reduced in
            reduce(reduced, words)
            subtract(out, out, reduced)
        }
    }
}
