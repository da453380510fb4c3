import CRLWEKernels
import ComplexModule
import RLWE
import RealModule
import Synchronization

/// An encoded CKKS message: a polynomial in the NTT domain with its scale.
public struct CKKSPlaintext: Sendable {
    public let polynomial: RNSPolynomial
    /// What the values were multiplied by.
    public let scale: Double

    /// Any scale is taken; what uses a plaintext refuses one that is none, and another basis.
    /// - Parameter polynomial: in the NTT domain, over the first `level` primes of its parameters.
    public init(polynomial: RNSPolynomial, scale: Double) {
        self.polynomial = polynomial
        self.scale = scale
    }

    /// Number of primes.
    public var level: Int { polynomial.rowCount }
}

/// Encodes vectors of up to N/2 real or complex numbers into plaintexts and back.
public struct CKKSEncoder: Sendable {
    public let context: EncryptionContext
    private let embedding: CanonicalEmbedding

    private static let embeddings = Mutex<[Int: CanonicalEmbedding]>([:])

    /// - Throws: ``HEError/invalidParameters(reason:)`` for another scheme's parameters.
    public init(_ context: EncryptionContext) throws(HEError) {
        guard context.parameters.scheme == .ckks else {
            throw .invalidParameters(reason: "these are BFV parameters; CKKS encoding needs CKKS ones")
        }
        self.context = context
        let degree = context.degree
        embedding = Self.embeddings.withLock { table in
            let made = table[degree] ?? CanonicalEmbedding(degree: degree)
            table[degree] = made
            return made
        }
    }

    public var slotCount: Int { context.degree / 2 }

    /// Encodes real values; slots beyond them are zero.
    /// - Throws: ``HEError`` for too many values, NaN or infinity, a bad scale or level, or values whose
    ///   product with the scale does not fit the level's modulus.
    public func encode(_ values: [Double], scale: Double, level: Int? = nil) throws(HEError) -> CKKSPlaintext {
        try encode(real: values, imaginary: [], scale: scale, level: level)
    }

    /// Encodes complex values; slots beyond them are zero.
    public func encode(
        complex values: [Complex<Double>], scale: Double, level: Int? = nil
    ) throws(HEError) -> CKKSPlaintext {
        for (index, value) in values.enumerated() where !value.isFinite { throw .notFinite(index: index) }
        return try encode(real: values.map(\.real), imaginary: values.map(\.imaginary), scale: scale, level: level)
    }

    private func encode(
        real: [Double], imaginary: [Double], scale: Double, level: Int?
    ) throws(HEError) -> CKKSPlaintext {
        let level = level ?? context.maximumLevel
        try context.requireLevel(level)
        guard scale.isFinite, scale >= 1 else { throw .invalidScale(scale) }
        guard real.count <= slotCount else { throw .tooManyValues(count: real.count, slots: slotCount) }
        for (index, value) in real.enumerated() where !value.isFinite { throw .notFinite(index: index) }
        return try RowPool.withScratch(doubles: context.degree) { coefficients throws(HEError) in
            real.withUnsafeBufferPointer { real in
                imaginary.withUnsafeBufferPointer {
                    embedding.coefficients(real: real, imaginary: $0, scale: scale, into: coefficients)
                }
            }
            return CKKSPlaintext(polynomial: try polynomial(coefficients, level: level), scale: scale)
        }
    }

    /// Rounds coefficients and reduces them modulo the primes of the level.
    private func polynomial(_ coefficients: UnsafePointer<Double>, level: Int) throws(HEError) -> RNSPolynomial {
        // Infinities that meet in the transform make NaN, which comes out of here.
        let largest = hkms_largest_magnitude_variable_time(coefficients, context.degree)
        let modulusBits = context.modulusBits(level: level)
        // Half the modulus is for each sign.
        guard largest.isFinite, largest < 1 || .log2(largest) + 1 < modulusBits else {
            let bits = largest.isFinite ? Int(Double.log2(largest).rounded(.up)) : nil
            throw .valueOutOfRange(bits: bits, modulusBits: Int(modulusBits))
        }
        // A Double has 53 bits: beyond 2^62 a common power of two is taken out, which loses nothing
        // that the transform had not rounded away already.
        let shift = largest >= 0x1p62 ? Swift.max(0, Int(largest.exponent) - 61) : 0
        let factor = Double(sign: .plus, exponent: -shift, significand: 1)
        var result = RNSPolynomial(uninitialized: context.ciphertextBasis(level: level), form: .coefficient)
        result.markConfidential()
        RowPool.withScratch(words: context.degree, isConfidential: true) { words in
            words.withMemoryRebound(to: Int64.self, capacity: context.degree) { rounded in
                hkms_round_to_signed(rounded, coefficients, context.degree, factor)
                for (row, modulus) in result.basis.moduli.enumerated() {
                    result.withMutableRow(row) { words in
                        modulus.reduce(words, signed: rounded)
                        if shift > 0 {
                            var power = UInt64(1)
                            for _ in 0..<shift { power = modulus.multiply(power, 2) }
                            modulus.multiply(words, words, scalar: power)
                        }
                    }
                }
            }
        }
        result.transform()
        return result
    }

    /// The real parts of the first `count` slots (all by default).
    ///
    /// A decrypted plaintext carries the ciphertext's noise: what is decoded from it is to be released
    /// only as the key set's policy says.
    public func decodeReal(_ plaintext: CKKSPlaintext, count: Int? = nil) throws(HEError) -> [Double] {
        try decode(plaintext, count: count).real
    }

    /// The first `count` slots (all by default).
    public func decodeComplex(_ plaintext: CKKSPlaintext, count: Int? = nil) throws(HEError) -> [Complex<Double>] {
        let (real, imaginary) = try decode(plaintext, count: count)
        return zip(real, imaginary).map { Complex($0, $1) }
    }

    private func decode(
        _ plaintext: CKKSPlaintext, count: Int?
    ) throws(HEError) -> (real: [Double], imaginary: [Double]) {
        let count = try requireCount(count)
        try context.require(plaintext)
        var polynomial = plaintext.polynomial
        polynomial.inverseTransform()
        return slots(polynomial, scale: plaintext.scale, count: count)
    }

    /// The first `count` slots (all by default) of a message in coefficient form, as it is while noise is added.
    package func decodeComplex(
        coefficients polynomial: RNSPolynomial, scale: Double, count: Int? = nil
    ) throws(HEError) -> [Complex<Double>] {
        let count = try requireCount(count)
        try context.requireLevel(polynomial.rowCount)
        guard polynomial.form == .coefficient,
            polynomial.basis.isCompatible(with: context.ciphertextBasis(level: polynomial.rowCount))
        else { throw .parameterMismatch }
        guard scale.isFinite, scale >= 1 else { throw .invalidScale(scale) }
        let (real, imaginary) = slots(polynomial, scale: scale, count: count)
        return zip(real, imaginary).map { Complex($0, $1) }
    }

    private func requireCount(_ count: Int?) throws(HEError) -> Int {
        let count = count ?? slotCount
        guard (0...slotCount).contains(count) else { throw .tooManyValues(count: count, slots: slotCount) }
        return count
    }

    private func slots(
        _ polynomial: RNSPolynomial, scale: Double, count: Int
    ) -> (real: [Double], imaginary: [Double]) {
        RowPool.withScratch(doubles: context.degree) { coefficients in
            context.reconstruction(level: polynomial.rowCount).center(polynomial, into: coefficients)
            return embedding.slots(coefficients, count: count, factor: 1 / scale)
        }
    }
}
