import RLWE
import Synchronization

/// A BFV message: a polynomial modulo t. It belongs to no level: what uses it brings it to that of the ciphertext.
public struct BFVPlaintext: Sendable {
    /// One row, coefficients modulo t.
    public let polynomial: RNSPolynomial

    /// Any polynomial is taken; what uses a plaintext refuses another basis or form.
    public init(polynomial: RNSPolynomial) { self.polynomial = polynomial }
}

/// Encodes vectors of up to N integers modulo t into plaintexts and back.
///
/// The slots are a matrix of two rows of N/2: values 0 ..< N/2 are the first row, the others the second. Products and
/// sums act on each slot modulo t. Rotations move the columns, cyclically, in both rows at once; another one swaps the
/// rows. Slot i of the first row is the value at psi^(3^i), that of the second at psi^(-3^i), psi a primitive 2N-th
/// root of unity modulo t (Smart and Vercauteren, "Fully homomorphic SIMD operations", ePrint 2011/133).
public struct BFVEncoder: Sendable {
    public let context: EncryptionContext
    private let basis: RNSBasis
    /// positions[i]: where the NTT has slot i.
    private let positions: [Int32]

    private static let tables = Mutex<[Int: [Int32]]>([:])

    /// - Throws: ``HEError/invalidParameters(reason:)`` for CKKS parameters,
    ///   ``HEError/plaintextModulusDoesNotBatch(t:degree:example:)``.
    public init(_ context: EncryptionContext) throws(HEError) {
        basis = try context.plaintextBasis()
        self.context = context
        let degree = context.degree
        positions = Self.tables.withLock { table in
            let made = table[degree] ?? Self.positions(degree: degree)
            table[degree] = made
            return made
        }
    }

    /// Position j of the NTT holds the value at psi^(2 * bitrev(j) + 1).
    private static func positions(degree: Int) -> [Int32] {
        let logN = degree.trailingZeroBitCount
        func position(_ exponent: Int) -> Int32 {
            let index = (exponent - 1) / 2
            return Int32((0..<logN).reduce(0) { $0 << 1 | (index >> $1) & 1 })
        }
        var powers = [1]
        while powers.count < degree / 2 { powers.append(powers[powers.count - 1] * 3 & (2 * degree - 1)) }
        return powers.map(position) + powers.map { position(2 * degree - $0) }
    }

    /// The smallest prime above 2^16 that has N slots: 65537 up to N = 2^15.
    /// - Parameter degree: N.
    public static func batchingModulus(degree: Int) -> UInt64 {
        let step = UInt64(2 * degree)
        return sequence(first: (1 << 16) / step * step + 1) { $0 + step }.first { $0 > 1 << 16 && Primes.isPrime($0) }
            ?? 65537
    }

    /// Integers that one plaintext holds: N.
    public var slotCount: Int { context.degree }
    /// Columns of the matrix: N/2.
    public var columnCount: Int { context.degree / 2 }
    /// t.
    public var modulus: UInt64 { context.parameters.t }
    /// The signed numbers modulo t: -(t-1)/2 ... (t-1)/2.
    public var signedRange: ClosedRange<Int64> {
        let half = Int64(modulus / 2)
        return -half...half
    }

    /// Encodes signed integers of ``signedRange``; slots beyond them are zero.
    /// - Throws: ``HEError/tooManyValues(count:slots:)``, ``HEError/integerOutOfRange(index:range:)``.
    public func encode(_ values: [Int64]) throws(HEError) -> BFVPlaintext {
        let modulus = Int64(modulus)
        // The sign bit, as a mask: values are messages.
        return try encode(values, range: signedRange) { UInt64(bitPattern: $0 + ($0 >> 63 & modulus)) }
    }

    /// Encodes residues in 0 ..< t; slots beyond them are zero.
    /// - Throws: ``HEError/tooManyValues(count:slots:)``, ``HEError/integerOutOfRange(index:range:)``.
    public func encode(residues values: [UInt64]) throws(HEError) -> BFVPlaintext {
        try encode(values, range: 0...Int64(modulus - 1)) { $0 }
    }

    private func encode<Integer: FixedWidthInteger>(
        _ values: [Integer], range: ClosedRange<Int64>, residue: (Integer) -> UInt64
    ) throws(HEError) -> BFVPlaintext {
        guard values.count <= slotCount else { throw .tooManyValues(count: values.count, slots: slotCount) }
        if let index = values.firstIndex(where: { $0 < range.lowerBound || $0 > range.upperBound }) {
            throw .integerOutOfRange(index: index, range: range)
        }
        var polynomial = RNSPolynomial(basis: basis, form: .evaluation)
        polynomial.markConfidential()
        polynomial.withMutableRow(0) { row in
            for (value, position) in zip(values, positions) { row[Int(position)] = residue(value) }
        }
        polynomial.inverseTransform()
        return BFVPlaintext(polynomial: polynomial)
    }

    /// The first `count` slots (all by default) as signed integers of ``signedRange``.
    /// - Throws: ``HEError/tooManyValues(count:slots:)``, ``HEError/parameterMismatch``.
    public func decode(_ plaintext: BFVPlaintext, count: Int? = nil) throws(HEError) -> [Int64] {
        let (half, modulus) = (Int64(modulus / 2), Int64(modulus))
        return try decode(plaintext, count: count) {
            let value = Int64($0)
            return value - ((half - value) >> 63 & modulus)
        }
    }

    /// The first `count` slots (all by default) as residues in 0 ..< t.
    /// - Throws: ``HEError/tooManyValues(count:slots:)``, ``HEError/parameterMismatch``.
    public func decodeResidues(_ plaintext: BFVPlaintext, count: Int? = nil) throws(HEError) -> [UInt64] {
        try decode(plaintext, count: count) { $0 }
    }

    private func decode<Integer>(
        _ plaintext: BFVPlaintext, count: Int?, _ integer: (UInt64) -> Integer
    ) throws(HEError) -> [Integer] {
        let count = count ?? slotCount
        guard (0...slotCount).contains(count) else { throw .tooManyValues(count: count, slots: slotCount) }
        try context.require(plaintext)
        var polynomial = plaintext.polynomial
        // A copy of its own: transforming it does not touch the plaintext.
        polynomial.markConfidential()
        polynomial.transform()
        return polynomial.withRow(0) { row in positions.prefix(count).map { integer(row[Int($0)]) } }
    }
}
