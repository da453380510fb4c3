import HomomorphicEncryption
import RLWE

/// A serialized ciphertext of a ``BatchModel``, checked: an encrypted model is large, and a row of it is unpacked in less
/// time than it takes to fetch it unpacked.
struct PackedWeight: Sendable {
    private let bytes: [UInt8]
    /// What c_1 is made from, row by row as it is needed; nil where it is there, packed.
    private let rho: [UInt8]?

    /// - Parameters:
    ///   - isSeeded: the bytes are a ``SeededCiphertext``'s.
    ///   - expands: keeps what a seed expands to.
    /// - Throws: ``HEError`` or ``InferenceError`` where it is no such ciphertext of this level and scale.
    init(
        _ bytes: [UInt8], isSeeded: Bool, expands: Bool, level: Int, scale: Double, context: EncryptionContext
    ) throws {
        func require(_ found: (level: Int, polynomials: Int, scale: Double)) throws {
            guard found.level == level, found.polynomials == 2, (found.scale - scale).magnitude <= 1e-12 * scale else {
                throw InferenceError.malformedModel(reason: "an encrypted weight has another level or scale")
            }
        }
        guard isSeeded else {
            let ciphertext = try Ciphertext(serialized: bytes, context: context)
            try require((ciphertext.level, ciphertext.polynomials.count, ciphertext.scale))
            (self.bytes, rho) = (bytes, nil)
            return
        }
        let ciphertext = try SeededCiphertext(serialized: bytes, context: context)
        try require((ciphertext.level, 2, ciphertext.scale))
        if expands {
            (self.bytes, rho) = (try ciphertext.expanded().serialized(), nil)
        } else {
            (self.bytes, rho) = (bytes, ciphertext.rho)
        }
    }

    /// The ciphertext, unpacked.
    func ciphertext(_ context: EncryptionContext) throws -> Ciphertext {
        guard rho != nil else { return try Ciphertext(serialized: bytes, context: context) }
        return try SeededCiphertext(serialized: bytes, context: context).expanded()
    }

    /// A row of one of the polynomials.
    /// - Parameters:
    ///   - whole: the basis of the ciphertext's level.
    ///   - single: that row's prime alone.
    func row(_ row: Int, of polynomial: Int, in whole: RNSBasis, _ single: RNSBasis) throws -> RNSPolynomial {
        if polynomial == 1, let rho {
            return try UniformHalf.expand(rho: rho, digit: 0, basis: single) { _ in UInt32(row) }
        }
        let rowBytes = whole.moduli.map { whole.degree * $0.bitCount / 8 }
        let start =
            ObjectHeader.byteCount + polynomial * RNSPolynomial.packedByteCount(whole)
            + rowBytes.prefix(row).reduce(0, +)
        let unpacked = bytes.withUnsafeBytes { bytes in
            RNSPolynomial(
                packed: UnsafeRawBufferPointer(rebasing: bytes[start..<start + rowBytes[row]]), basis: single,
                form: .evaluation)
        }
        guard let unpacked else { preconditionFailure("it was checked when it was made") }
        return unpacked
    }
}
