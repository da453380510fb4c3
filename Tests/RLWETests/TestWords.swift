import RLWE

/// Reproducible words (SplitMix64, Steele, Lea and Flood, 2014).
struct TestWords: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    mutating func residues(_ count: Int, below bound: UInt64) -> [UInt64] {
        (0..<count).map { _ in UInt64.random(in: 0..<bound, using: &self) }
    }
}

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
    var words = TestWords(seed: seed)
    return words.residues(count, below: bound)
}
