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

    /// What the kernels reduce with.
    package let constants: hkms_modulus
    /// hkms_ntt_tables of this prime, written in init alone.
    private nonisolated(unsafe) let tables: OpaquePointer

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
        let constants = hkms_modulus(
            q: value, mu: mu, reciprocal: value.dividingFullWidth((1, 0)).quotient, bits: UInt32(bitCount))
        let psi = Primes.leastPrimitiveRoot(order: UInt64(2 * degree), modulo: value)
        guard let tables = withUnsafePointer(to: constants, { hkms_ntt_tables_create(degree, $0, psi) }) else {
            throw .outOfMemory
        }
        self.constants = constants
        self.psi = psi
        self.tables = tables
    }

    deinit { hkms_ntt_tables_destroy(tables) }

    /// floor(s * 2^64 / q) for s below q.
    static func shoupQuotient(_ s: UInt64, modulo q: UInt64) -> UInt64 {
        q.dividingFullWidth((s, 0)).quotient
    }

    /// Transforms N residues in place: position j then holds the value at psi^(2*bitrev(j)+1).
    public func transform(_ row: UnsafeMutablePointer<UInt64>) {
        hkms_ntt_forward(row, tables)
    }

    /// The inverse of ``transform(_:)``.
    public func inverseTransform(_ row: UnsafeMutablePointer<UInt64>) {
        hkms_ntt_inverse(row, tables)
    }

    // MARK: Vectors of N residues

    /// - Parameter words: how many residues, a multiple of 8; N by default.
    public func add(
        _ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ b: UnsafePointer<UInt64>, words: Int? = nil
    ) {
        hkms_add(out, a, b, words ?? degree, value)
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

    /// out = residues of signed coefficients.
    public func reduce(_ out: UnsafeMutablePointer<UInt64>, signed: UnsafePointer<Int64>) {
        withUnsafePointer(to: constants) { hkms_from_signed(out, signed, degree, $0) }
    }

    // MARK: Transforms of what is made on the way

    /// out = the transform of ternary coefficients, packed two bits each.
    public func transformTernary(_ out: UnsafeMutablePointer<UInt64>, _ packed: UnsafePointer<UInt8>) {
        hkms_ntt_forward_ternary(out, packed, tables)
    }

    /// out = the transform of small signed coefficients.
    public func transformSmall(_ out: UnsafeMutablePointer<UInt64>, _ coefficients: UnsafePointer<Int8>) {
        hkms_ntt_forward_small(out, coefficients, tables)
    }

    /// out = -(a * s + e), e the transform of small coefficients: `out` never holds a product without its noise, and
    /// may be `a`.
    /// - Parameter scratch: N words, left as secret as the coefficients.
    public func mask(
        _ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ s: UnsafePointer<UInt64>,
        noise coefficients: UnsafePointer<Int8>, scratch: UnsafeMutablePointer<UInt64>
    ) {
        hkms_ntt_small_negated_plus_product(out, scratch, coefficients, a, s, tables)
    }

    /// out = a * u + e + message, e the transform of small coefficients.
    /// - Parameters:
    ///   - message: nil for none.
    ///   - scratch: N words, left as secret as the coefficients.
    public func encrypt(
        _ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ u: UnsafePointer<UInt64>,
        noise coefficients: UnsafePointer<Int8>, message: UnsafePointer<UInt64>?,
        scratch: UnsafeMutablePointer<UInt64>
    ) {
        hkms_ntt_small_plus_product(out, scratch, coefficients, a, u, message, tables)
    }

    /// out = the inverse transform of `values`, times factor, plus offset; `out` is another row.
    public func inverseTransform(
        _ out: UnsafeMutablePointer<UInt64>, _ values: UnsafePointer<UInt64>, factor: UInt64 = 1, offset: UInt64 = 0
    ) {
        hkms_ntt_inverse_scaled(out, values, factor, offset, tables)
    }

    /// A row of another prime in coefficient form, or a sum of such rows with weights, as a residue of this one.
    public enum Conversion {
        /// The representative in (-prime/2, prime/2].
        case centered(UnsafePointer<UInt64>, prime: UInt64)
        /// start + the sum of rows[j] * weights[j]; the rows are residues of `bits` bits at most.
        case weightedSum([UnsafePointer<UInt64>], weights: [UInt64], start: UInt64, bits: Int)
    }

    /// out = the transform of the converted row.
    public func transform(_ out: UnsafeMutablePointer<UInt64>, _ conversion: Conversion) {
        switch conversion {
        case .centered(let row, let prime): hkms_ntt_forward_centered(out, row, prime, tables)
        case .weightedSum(let rows, let weights, let start, let bits):
            hkms_ntt_forward_weighted_sum(
                out, rows.map(Optional.some), weights, rows.count, start, UInt32(bits), tables)
        }
    }

    /// out = (x - v) * factor, v the transform of the converted row: a division with rounding. `out` may not be `x`.
    public func divide(
        _ out: UnsafeMutablePointer<UInt64>, _ x: UnsafePointer<UInt64>, minus conversion: Conversion, factor: UInt64
    ) {
        switch conversion {
        case .centered(let row, let prime):
            hkms_ntt_centered_scaled_difference(out, out, x, row, prime, factor, tables)
        case .weightedSum(let rows, let weights, let start, let bits):
            hkms_ntt_weighted_sum_scaled_difference(
                out, out, x, rows.map(Optional.some), weights, rows.count, start, UInt32(bits), factor, tables)
        }
    }

    // MARK: Sums of products

    /// out = a * b + c
    public func multiplyPlus(
        _ out: UnsafeMutablePointer<UInt64>, _ a: UnsafePointer<UInt64>, _ b: UnsafePointer<UInt64>,
        _ c: UnsafePointer<UInt64>
    ) {
        withUnsafePointer(to: constants) { hkms_multiply_plus(out, a, b, c, degree, $0) }
    }

    /// out0 = the sum of x[j] * y0[j], out1 = the sum of x[j] * y1[j].
    /// - Parameter words: how many residues, a multiple of 8; N by default.
    public func multiplyAccumulate(
        _ out0: UnsafeMutablePointer<UInt64>, _ out1: UnsafeMutablePointer<UInt64>, _ x: [UnsafePointer<UInt64>],
        _ y0: [UnsafePointer<UInt64>], _ y1: [UnsafePointer<UInt64>], words: Int? = nil
    ) {
        let (x, y0, y1) = (x.map(Optional.some), y0.map(Optional.some), y1.map(Optional.some))
        withUnsafePointer(to: constants) {
            hkms_multiply_accumulate_many(out0, out1, x, y0, y1, $0, x.count, words ?? degree)
        }
    }

    /// out = start + the sum of rows[j] * weights[j]; the rows are residues of other primes, of `bits` bits at most.
    /// - Parameter words: how many residues, a multiple of 8; N by default.
    public func weightedSum(
        _ out: UnsafeMutablePointer<UInt64>, _ rows: [UnsafePointer<UInt64>], weights: [UInt64], start: UInt64,
        bits: Int, words: Int? = nil
    ) {
        let rows = rows.map(Optional.some)
        withUnsafePointer(to: constants) {
            hkms_weighted_sum(out, rows, weights, rows.count, start, $0, UInt32(bits), words ?? degree)
        }
    }

    // MARK: Single residues, of public data

    public func multiply(_ a: UInt64, _ b: UInt64) -> UInt64 { Primes.multiply(a, b, modulo: value) }
    public func inverse(_ a: UInt64) -> UInt64 { Primes.inverse(a, modulo: value) }

    /// The product of any numbers, modulo this prime.
    public func product(of numbers: some Sequence<UInt64>) -> UInt64 { numbers.reduce(1) { multiply($0, $1 % value) } }

    /// For each of some primes the product of the others, modulo this prime: what the Chinese remainder theorem weighs
    /// residues with.
    public func cofactors(of primes: [NTTModulus]) -> [UInt64] {
        primes.indices.map { skipped in product(of: primes.indices.filter { $0 != skipped }.map { primes[$0].value }) }
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
    /// No memory for the tables of a transform.
    case outOfMemory

    public var description: String {
        switch self {
        case .notAnNTTPrime(let value, let degree):
            "\(value) is not a prime below 2^60 that is 1 modulo \(2 * degree)"
        case .outOfMemory: "no memory for the tables of a transform"
        }
    }
}
