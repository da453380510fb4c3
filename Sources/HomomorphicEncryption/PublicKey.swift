import RLWE

/// The public encryption key (b, a) with b = -(a s + e), over all primes q, in the NTT domain.
public struct PublicKey: Sendable {
    public let context: EncryptionContext
    public let b: RNSPolynomial
    /// Expanded from ``rho``.
    public let a: RNSPolynomial
    /// 32 bytes that `a` is made from.
    public let rho: [UInt8]
    public let generation: UInt32

    /// Expands the uniform half.
    public init(context: EncryptionContext, b: RNSPolynomial, rho: [UInt8], generation: UInt32) throws {
        let basis = context.ciphertextBasis(level: context.maximumLevel)
        guard b.form == .evaluation, b.basis.isCompatible(with: basis), rho.count == 32 else {
            throw HEError.parameterMismatch
        }
        self.context = context
        self.b = b
        self.rho = rho
        self.generation = generation
        a = try UniformHalf.expand(rho: rho, digit: 0, basis: basis) { UInt32($0) }
    }

    /// A key whose maker has expanded the uniform half already.
    package init(context: EncryptionContext, b: RNSPolynomial, a: RNSPolynomial, rho: [UInt8], generation: UInt32) {
        self.context = context
        self.b = b
        self.a = a
        self.rho = rho
        self.generation = generation
    }
}

/// The uniform halves of public objects, from their public seeds.
public enum UniformHalf {
    /// - Parameter rowLabel: the row number that the suite gives to row `index` of `basis`.
    public static func expand(
        rho: [UInt8], digit: Int, basis: RNSBasis, rowLabel: (Int) -> UInt32
    ) throws -> RNSPolynomial {
        var a = RNSPolynomial(uninitialized: basis, form: .evaluation)
        try a.withMutableRows { rows in
            try Parallelism.forEach(below: basis.count) { row in
                try Samplers.uniformRow(
                    rows + row * basis.degree, modulus: basis.moduli[row], publicSeed: rho, digit: UInt32(digit),
                    row: rowLabel(row))
            }
        }
        return a
    }
}
