import CRLWEKernels
import RLWE

/// Conversion of residues modulo D = d_0 d_1 ... to other primes, through the one representative between -D/2 and D/2
/// (Halevi, Polyakov and Shoup, ePrint 2018/117, section 2.2).
///
/// With y_i = [x (D / d_i)^-1] modulo d_i, x is the sum of y_i D / d_i less v D, where v is the sum of y_i / d_i to the
/// nearest integer. v is computed in doubles (hkms_nearest_sum_of_fractions): where x is within n (n + 9) 2^-54 D of D/2
/// or -D/2, n the number of primes, the result may be the other representative.
struct ExactBaseConversion: Sendable {
    private let source: [NTTModulus]
    private let sourceBits: Int
    /// The factor times (D / d_i)^-1, modulo d_i.
    private let factors: [UInt64]
    /// 1 / d_i
    private let inverses: [Double]
    /// weights[t][i]: D / d_i times the target's factor, modulo target t; at the end -D times it.
    private let weights: [[UInt64]]

    /// - Parameters:
    ///   - sourceFactors: what residues are multiplied by before they are converted, modulo each d_i.
    ///   - targetFactors: what they are multiplied by then, modulo each target.
    init(
        from source: [NTTModulus], to targets: [NTTModulus], multiplyingBy sourceFactors: [UInt64]? = nil,
        then targetFactors: [UInt64]? = nil
    ) {
        self.source = source
        sourceBits = source.map(\.bitCount).max() ?? 0
        factors = source.enumerated().map { index, prime in
            prime.multiply(prime.inverse(prime.cofactors(of: source)[index]), sourceFactors?[index] ?? 1)
        }
        inverses = source.map { 1 / Double($0.value) }
        weights = targets.enumerated().map { index, target in
            let factor = targetFactors?[index] ?? 1
            let whole = target.multiply(target.product(of: source.map(\.value)), factor)
            return target.cofactors(of: source).map { target.multiply($0, factor) }
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
            source[row].inverseTransform(out + row * degree, values + row * degree, factor: factors[row])
        }
        complete(out)
    }

    /// Writes v after the y_i.
    func complete(_ prepared: UnsafeMutablePointer<UInt64>) {
        let degree = source[0].degree
        hkms_nearest_sum_of_fractions(
            prepared + source.count * degree, source.indices.map { UnsafePointer(prepared + $0 * degree) }, inverses,
            source.count, UInt32(sourceBits), degree)
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
