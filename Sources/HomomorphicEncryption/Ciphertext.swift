import RLWE

/// An RLWE ciphertext: two polynomials, or three before relinearization, in the NTT domain over the
/// first `level` primes. Its phase is c_0 + c_1 s + c_2 s^2.
public struct Ciphertext: Sendable {
    public let context: EncryptionContext
    /// 2 or 3.
    public let polynomials: [RNSPolynomial]
    /// What the encrypted values are multiplied by; 1 in BFV, where Q/t does that.
    public let scale: Double

    /// - Throws: ``HEError`` where count, basis or scale do not fit the context.
    public init(context: EncryptionContext, polynomials: [RNSPolynomial], scale: Double) throws(HEError) {
        guard (2...3).contains(polynomials.count) else {
            throw .unexpectedPolynomialCount(polynomials.count, expected: "2 or 3")
        }
        switch context.parameters.scheme {
        case .ckks: guard scale.isFinite, scale >= 1 else { throw .invalidScale(scale) }
        case .bfv: guard scale == 1 else { throw .invalidScale(scale) }
        }
        let level = polynomials[0].rowCount
        try context.requireLevel(level)
        for polynomial in polynomials {
            guard polynomial.form == .evaluation,
                polynomial.basis.isCompatible(with: context.ciphertextBasis(level: level))
            else { throw .parameterMismatch }
        }
        self.context = context
        self.polynomials = polynomials
        self.scale = scale
    }

    /// Number of primes; multiplications that a rescaling circuit has left is one less.
    public var level: Int { polynomials[0].rowCount }
}
