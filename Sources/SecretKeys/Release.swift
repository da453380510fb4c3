import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule
import SecretMemory

/// What leaves after a decryption: the slots, with noise that hides the ciphertext's own, rounded.
public struct ReleasedValues: Sendable {
    /// Multiples of the policy's step, slot by slot.
    public let values: [Complex<Double>]
    /// The policy that they were released under.
    public let policy: FloodingPolicy

    /// Real parts.
    public var real: [Double] { values.map(\.real) }
}

extension SecretKey {
    /// Decrypts, floods, decodes and rounds: the way out for results that others may see (docs/release.md).
    ///
    /// Discrete Gaussian noise from 32 fresh bytes of the system's generator is added to every coefficient before
    /// anything is decoded; the message without it is never outside of locked memory. Rounding is done to what was
    /// flooded, and gives nothing away.
    ///
    /// Each call spends one of ``FloodingPolicy/budget`` releases; counting them is the caller's. The bound behind the
    /// policy is that of honest encryptions through one circuit: whether this ciphertext is the result of that circuit
    /// is for the caller to have settled. Of a ciphertext that somebody crafted, a release gives the key away.
    /// - Parameter count: slots that are released, from the first; all where nil.
    /// - Throws: ``HEError`` for a ciphertext of other parameters, another level or another scale than the policy's,
    ///   or with three polynomials; ``SecretMemoryError``.
    public borrowing func release(
        _ ciphertext: Ciphertext, count: Int? = nil, policy: FloodingPolicy
    ) throws -> ReleasedValues {
        try context.require(.ckks)
        try policy.validate()
        guard ciphertext.context.parameterDigest == context.parameterDigest else { throw HEError.parameterMismatch }
        try policy.check(ciphertext)
        let key = try SecretBytes(randomCount: 32)
        let noise = try policy.noise.samples(context.degree, key: key)
        let flooded = try coefficients(ciphertext, plus: noise)
        let slots = try CKKSEncoder(context).decodeComplex(
            coefficients: flooded, scale: ciphertext.scale, count: count)
        func rounded(_ value: Double) -> Double { (value / policy.step).rounded() * policy.step }
        return ReleasedValues(values: slots.map { Complex(rounded($0.real), rounded($0.imaginary)) }, policy: policy)
    }

    /// c_0 + c_1 s plus the noise, as coefficients modulo each prime.
    private borrowing func coefficients(
        _ ciphertext: Ciphertext, plus noise: borrowing GaussianSamples
    ) throws -> RNSPolynomial {
        let basis = context.ciphertextBasis(level: ciphertext.level)
        let degree = context.degree
        let (c0, c1) = (ciphertext.polynomials[0], ciphertext.polynomials[1])
        var message = RNSPolynomial(uninitialized: basis, form: .coefficient)
        message.markConfidential()
        try message.withMutableRows { rows in
            try Parallelism.forEach(below: basis.count) { row in
                defer { SecretMemory.wipeDeadStack() }
                let modulus = basis.moduli[row]
                var scratch = try SecretBytes(count: 2 * degree * 8)
                scratch.withUnsafeMutableWords { s in
                    expand(modulus, into: s)
                    let sum = s + degree
                    c1.withRow(row) { c1 in c0.withRow(row) { modulus.multiplyPlus(sum, c1, s, $0) } }
                    modulus.inverseTransform(sum)
                    noise.add(to: sum, modulus: modulus, scratch: s)
                    (rows + row * degree).update(from: sum, count: degree)
                }
            }
        }
        return message
    }
}
