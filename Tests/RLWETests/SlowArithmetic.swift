import RLWE
import TestSupport

func mulMod(_ a: UInt64, _ b: UInt64, _ q: UInt64) -> UInt64 {
    q.dividingFullWidth(a.multipliedFullWidth(by: b)).remainder
}

func addMod(_ a: UInt64, _ b: UInt64, _ q: UInt64) -> UInt64 { (a + b) % q }

func power(_ base: UInt64, _ exponent: UInt64, _ q: UInt64) -> UInt64 {
    (0..<exponent).reduce(1) { result, _ in mulMod(result, base, q) }
}

func reverse(_ index: Int, bits: Int) -> Int {
    (0..<bits).reduce(0) { $0 | (index >> $1 & 1) << (bits - 1 - $1) }
}

func polynomial(_ rows: [[UInt64]], _ basis: RNSBasis) -> RNSPolynomial {
    var result = RNSPolynomial(basis: basis, form: .coefficient)
    for (index, row) in rows.enumerated() {
        result.withMutableRow(index) { out in for (k, word) in row.enumerated() { out[k] = word } }
    }
    return result
}

func rows(_ polynomial: RNSPolynomial) -> [[UInt64]] {
    (0..<polynomial.rowCount).map { row in
        polynomial.withRow(row) { Array(UnsafeBufferPointer(start: $0, count: polynomial.degree)) }
    }
}

func residues(seed: UInt64, _ count: Int, below bound: UInt64) -> [UInt64] {
    var words = SeededGenerator(seed)
    return words.residues(count, below: bound)
}
