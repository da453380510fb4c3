import RLWE

/// A ciphertext as it is made under the secret key: c_0, and 32 bytes that c_1 is made from, which is uniform. Half the
/// bytes of what it expands to; only a fresh ciphertext can be had like this.
public struct SeededCiphertext: Sendable {
    public let context: EncryptionContext
    /// In the NTT domain, over the first ``level`` primes.
    public let c0: RNSPolynomial
    /// 32 bytes that c_1 is made from; a seed is for one ciphertext alone.
    public let rho: [UInt8]
    /// What the encrypted values are multiplied by; 1 in BFV.
    public let scale: Double

    /// - Throws: ``HEError`` where basis, form, seed or scale do not fit the context.
    public init(context: EncryptionContext, c0: RNSPolynomial, rho: [UInt8], scale: Double) throws(HEError) {
        guard rho.count == 32 else { throw .malformedObject(reason: "the seed of a ciphertext has 32 bytes") }
        // What a ciphertext of two such polynomials must be.
        _ = try Ciphertext(context: context, polynomials: [c0, c0], scale: scale)
        self.context = context
        self.c0 = c0
        self.rho = rho
        self.scale = scale
    }

    public var level: Int { c0.rowCount }

    /// With c_1 made from its seed.
    public func expanded() throws -> Ciphertext {
        let c1 = try UniformHalf.expand(rho: rho, digit: 0, basis: c0.basis) { UInt32($0) }
        return try Ciphertext(context: context, polynomials: [c0, c1], scale: scale)
    }
}
