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

    init(_ basis: RNSBasis) {
        self.basis = basis
        inverses = basis.moduli.enumerated().map { i, modulus in
            (0..<i).map { modulus.inverse(basis.moduli[$0].value % modulus.value) }
        }
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

    /// The N centered coefficients of a polynomial in coefficient form.
    func centered(_ polynomial: RNSPolynomial) -> [Double] {
        let degree = basis.degree
        let count = basis.count
        let words = count + 1
        var rows: [[UInt64]] = []
        for row in 0..<count {
            rows.append(polynomial.withRow(row) { Array(UnsafeBufferPointer(start: $0, count: degree)) })
        }
        // Mixed-radix digits: x = d_0 + d_1 q_0 + d_2 q_0 q_1 + ...
        for i in 1..<Swift.max(count, 1) where count > 1 {
            let modulus = basis.moduli[i]
            for j in 0..<i {
                let inverse = inverses[i][j]
                let digits = rows[j]
                rows[i].withUnsafeMutableBufferPointer { out in
                    digits.withUnsafeBufferPointer { lower in
                        modulus.subtractReducing(out.baseAddress!, lower.baseAddress!)
                        modulus.multiply(out.baseAddress!, out.baseAddress!, scalar: inverse)
                    }
                }
            }
        }
        let modulus = products[count]
        var sum = [UInt64](repeating: 0, count: words)
        return (0..<degree).map { k in
            for index in 0..<words { sum[index] = 0 }
            for i in 0..<count {
                var carry: UInt64 = 0
                let digit = rows[i][k]
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
                    let (first, overflow1) = modulus[index].subtractingReportingOverflow(sum[index])
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
}

extension NTTModulus {
    /// out = out - (any words) modulo this prime.
    fileprivate func subtractReducing(_ out: UnsafeMutablePointer<UInt64>, _ words: UnsafePointer<UInt64>) {
        withUnsafeTemporaryAllocation(of: UInt64.self, capacity: degree) { reduced in
            reduce(reduced.baseAddress!, words)
            subtract(out, out, reduced.baseAddress!)
        }
    }
}
