import CRLWEKernels

/// An NTT-friendly prime with the constants of its arithmetic and transforms for one degree.
///
/// Immutable and shared: polynomials point to it.
public final class NTTModulus: Sendable {
    /// The prime, at least 2N + 1 and below 2^60, with `value % (2N) == 1`.
    public let value: UInt64
    /// N, the number of coefficients.
    public let degree: Int
    /// Bit length of ``value``: what one packed residue takes.
    public let bitCount: Int
    /// The least primitive 2N-th root of unity.
    public let psi: UInt64

    let constants: hkms_modulus
    private let forward: TwiddleTable
    private let inverse: TwiddleTable
    private let degreeInverse: UInt64
    private let degreeInverseShoup: UInt64

    /// - Parameters:
    ///   - value: a prime below 2^60 with `value % (2 * degree) == 1`.
    ///   - degree: a power of two, 2^3 to 2^17.
    /// - Throws: ``RLWEError/notAnNTTPrime(_:degree:)``.
    public init(value: UInt64, degree: Int) throws(RLWEError) {
        guard degree >= 8, degree <= 1 << 17, degree.nonzeroBitCount == 1, value < 1 << 60, value > 2 * UInt64(degree),
            value % UInt64(2 * degree) == 1, Primes.isPrime(value)
        else { throw .notAnNTTPrime(value, degree: degree) }
        self.value = value
        self.degree = degree
        bitCount = 64 - value.leadingZeroBitCount
        // floor(2^(2*bits) / q): the high word of the dividend is 2^(2*bits - 64), below q because 2*bits - 64 < bits.
        let doubled = 2 * bitCount
        let mu: UInt64
        if doubled >= 64 {
            mu = value.dividingFullWidth((1 << UInt64(doubled - 64), 0)).quotient
        } else {
            mu = (1 << UInt64(doubled)) / value
        }
        constants = hkms_modulus(
            q: value, mu: mu, reciprocal: value.dividingFullWidth((1, 0)).quotient, bits: UInt32(bitCount))
        psi = Primes.leastPrimitiveRoot(order: UInt64(2 * degree), modulo: value)
        let psiInverse = Primes.inverse(psi, modulo: value)
        forward = TwiddleTable(root: psi, degree: degree, modulus: value)
        inverse = TwiddleTable(root: psiInverse, degree: degree, modulus: value)
        degreeInverse = Primes.inverse(UInt64(degree), modulo: value)
        degreeInverseShoup = Self.shoupQuotient(degreeInverse, modulo: value)
    }

    /// floor(s * 2^64 / q) for s below q.
    static func shoupQuotient(_ s: UInt64, modulo q: UInt64) -> UInt64 {
        q.dividingFullWidth((s, 0)).quotient
    }

    /// Transforms N residues in place: position j then holds the value at psi^(2*bitrev(j)+1).
    public func transform(_ row: UnsafeMutablePointer<UInt64>) {
        hkms_ntt_forward(row, degree, value, forward.powers, forward.quotients)
    }

    /// The inverse of ``transform(_:)``.
    public func inverseTransform(_ row: UnsafeMutablePointer<UInt64>) {
        hkms_ntt_inverse(row, degree, value, inverse.powers, inverse.quotients, degreeInverse, degreeInverseShoup)
    }

    // MARK: Vectors of N residues

    public func add(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ b: UnsafePointer<UInt64>) {
        hkms_add(out, a, b, degree, value)
    }

    public func subtract(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ b: UnsafePointer<UInt64>) {
        hkms_subtract(out, a, b, degree, value)
    }

    public func negate(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>) {
        hkms_negate(out, a, degree, value)
    }

    public func multiply(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ b: UnsafePointer<UInt64>) {
        withUnsafePointer(to: constants) { hkms_multiply(out, a, b, degree, $0) }
    }

    /// accumulator += a * b
    public func multiplyAdd(
        _ accumulator: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ b: UnsafePointer<UInt64>
    ) {
        withUnsafePointer(to: constants) { hkms_multiply_add(accumulator, a, b, degree, $0) }
    }

    /// out = a * scalar; `a` may hold any words, `scalar` is below the modulus.
    public func multiply(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, scalar: UInt64) {
        hkms_multiply_scalar(out, a, degree, value, scalar, Self.shoupQuotient(scalar, modulo: value))
    }

    /// accumulator += a * scalar; `a` may hold any words, `scalar` is below the modulus.
    public func multiplyAdd(
        _ accumulator: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, scalar: UInt64
    ) {
        hkms_multiply_scalar_add(accumulator, a, degree, value, scalar, Self.shoupQuotient(scalar, modulo: value))
    }

    /// out = a modulo this prime, for any words.
    public func reduce(_ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>) {
        withUnsafePointer(to: constants) { hkms_reduce(out, a, degree, $0) }
    }

    /// out = the representative of `a` in (-from/2, from/2], modulo this prime.
    public func reduceCentered(
        _ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, from: NTTModulus
    ) {
        withUnsafePointer(to: constants) { hkms_reduce_centered(out, a, degree, from.value, $0) }
    }

    /// out = residues of signed coefficients.
    public func reduce(_ out: UnsafeMutablePointer<UInt64>, signed: UnsafePointer<Int64>) {
        withUnsafePointer(to: constants) { hkms_from_signed(out, signed, degree, $0) }
    }

    /// out = residues of small signed coefficients.
    public func expandSmall(_ out: UnsafeMutablePointer<UInt64>, _ coefficients: UnsafePointer<Int8>) {
        hkms_small_expand(out, coefficients, degree, value)
    }

    /// out = residues of ternary coefficients packed two bits each.
    public func expandTernary(_ out: UnsafeMutablePointer<UInt64>, _ packed: UnsafePointer<UInt8>) {
        hkms_ternary_expand(out, packed, degree, value)
    }

    // MARK: Single residues, of public data

    public func multiply(_ a: UInt64, _ b: UInt64) -> UInt64 { Primes.multiply(a, b, modulo: value) }
    public func inverse(_ a: UInt64) -> UInt64 { Primes.inverse(a, modulo: value) }
}

/// Powers of a root in bit-reversed order with their Shoup quotients.
private final class TwiddleTable: @unchecked Sendable {
    // Sendable: written in init alone.
    let powers: UnsafeMutablePointer<UInt64>
    let quotients: UnsafeMutablePointer<UInt64>

    init(root: UInt64, degree: Int, modulus: UInt64) {
        powers = .allocate(capacity: degree)
        quotients = .allocate(capacity: degree)
        let shift = UInt64.bitWidth - degree.trailingZeroBitCount
        var power: UInt64 = 1
        for i in 0..<degree {
            let position = Int(UInt64(i).bitSwapped >> UInt64(shift))
            powers[position] = power
            quotients[position] = NTTModulus.shoupQuotient(power, modulo: modulus)
            power = Primes.multiply(power, root, modulo: modulus)
        }
    }

    deinit {
        powers.deallocate()
        quotients.deallocate()
    }
}

extension UInt64 {
    /// The bits in reverse order.
    var bitSwapped: UInt64 {
        var x = byteSwapped
        x = ((x >> 4) & 0x0F0F_0F0F_0F0F_0F0F) | ((x & 0x0F0F_0F0F_0F0F_0F0F) << 4)
        x = ((x >> 2) & 0x3333_3333_3333_3333) | ((x & 0x3333_3333_3333_3333) << 2)
        x = ((x >> 1) & 0x5555_5555_5555_5555) | ((x & 0x5555_5555_5555_5555) << 1)
        return x
    }
}

/// Errors of ring arithmetic.
public enum RLWEError: Error, Equatable, Sendable, CustomStringConvertible {
    /// Not a prime below 2^60 that is 1 modulo 2N.
    case notAnNTTPrime(UInt64, degree: Int)

    public var description: String {
        switch self {
        case .notAnNTTPrime(let value, let degree):
            "\(value) is not a prime below 2^60 that is 1 modulo \(2 * degree)"
        }
    }
}
