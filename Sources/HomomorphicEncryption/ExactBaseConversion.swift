import CRLWEKernels
import RLWE

/// Conversion of residues modulo D = d_0 d_1 ... to other primes, through the one representative between -D/2 and D/2
/// (Halevi, Polyakov and Shoup, ePrint 2018/117, section 2.2).
///
/// With y_i = [x (D / d_i)^-1] modulo d_i, x is the sum of y_i D / d_i less v D, where v is the sum of y_i / d_i to the
/// nearest integer. The fractions have 55 bits (hkms_nearest_sum_of_fractions): where x is within n 2^-54 D of D/2 or
/// -D/2, n the number of primes, the result may be the other representative.
struct ExactBaseConversion: Sendable {
    private let source: [NTTModulus]
    private let sourceBits: Int
    /// factor (D / d_i)^-1 modulo d_i.
    private let inverses: [UInt64]
    /// floor(2^(63 + bits) / d_i).
    private let reciprocals: [UInt64]
    /// weights[t][i]: D / d_i times the target's factor, modulo target t; at the end -D times it.
    private let weights: [[UInt64]]

    /// - Parameters:
    ///   - factor: what residues are multiplied by before they are converted.
    ///   - targetFactors: what they are multiplied by then, modulo each target; 1 by default.
    init(
        from source: [NTTModulus], to targets: [NTTModulus], multiplyingBy factor: UInt64 = 1,
        targetFactors: [UInt64]? = nil
    ) {
        self.source = source
        sourceBits = source.map(\.bitCount).max() ?? 0
        func product(modulo modulus: NTTModulus, without skipped: Int?) -> UInt64 {
            source.enumerated().reduce(1) { result, element in
                element.offset == skipped ? result : modulus.multiply(result, element.element.value % modulus.value)
            }
        }
        inverses = source.enumerated().map {
            $1.multiply($1.inverse(product(modulo: $1, without: $0)), factor % $1.value)
        }
        // 2^(bits - 1) is below the prime, and the quotient below 2^64.
        reciprocals = source.map { $0.value.dividingFullWidth((1 << UInt64($0.bitCount - 1), 0)).quotient }
        weights = targets.enumerated().map { index, target in
            let factor = targetFactors?[index] ?? 1
            let whole = target.multiply(product(modulo: target, without: nil), factor)
            return source.indices.map { target.multiply(product(modulo: target, without: $0), factor) }
                + [whole == 0 ? 0 : target.value - whole]
        }
    }

    /// Rows that ``prepare(_:into:)`` writes.
    var preparedCount: Int { source.count + 1 }

    /// What all targets share: the y_i, and v after them.
    /// - Parameters:
    ///   - values: rows of the source primes, in the NTT domain.
    ///   - out: ``preparedCount`` rows, in coefficient form.
    func prepare(_ values: UnsafePointer<UInt64>, into out: UnsafeMutablePointer<UInt64>) {
        let degree = source[0].degree
        Parallelism.forEach(below: source.count) { row in
            source[row].inverseTransform(out + row * degree, values + row * degree, factor: inverses[row])
        }
        let rows = source.indices.map { Optional(UnsafePointer(out + $0 * degree)) }
        hkms_nearest_sum_of_fractions(
            out + source.count * degree, rows, reciprocals, source.map { UInt32($0.bitCount) }, source.count, degree)
    }

    /// How target `row` converts what ``prepare(_:into:)`` wrote.
    func conversion(of prepared: UnsafePointer<UInt64>, toRow row: Int) -> NTTModulus.Conversion {
        .weightedSum(rows(prepared), weights: weights[row], start: 0, bits: sourceBits)
    }

    /// Writes the coefficients modulo target `row`.
    func convert(
        _ prepared: UnsafePointer<UInt64>, to target: NTTModulus, row: Int, into out: UnsafeMutablePointer<UInt64>
    ) {
        target.weightedSum(out, rows(prepared), weights: weights[row], start: 0, bits: sourceBits)
    }

    private func rows(_ prepared: UnsafePointer<UInt64>) -> [UnsafePointer<UInt64>] {
        (0..<preparedCount).map { prepared + $0 * source[0].degree }
    }
}
