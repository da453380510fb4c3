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

    /// Whether c_1 is made from a seed, which is for whole rows alone.
    var isSeeded: Bool { rho != nil }

    /// A row of the c_1 of a seeded one.
    func expandRow(_ row: Int, _ modulus: NTTModulus, into out: UnsafeMutablePointer<UInt64>) throws {
        guard let rho else { preconditionFailure("its c_1 is packed") }
        try Samplers.uniformRow(out, modulus: modulus, publicSeed: rho, digit: 0, row: UInt32(row))
    }

    /// Some residues of a row of a polynomial that is packed.
    /// - Parameters:
    ///   - range: both ends are multiples of 8.
    ///   - basis: of the ciphertext's level.
    func unpack(
        _ row: Int, _ range: Range<Int>, of polynomial: Int, in basis: RNSBasis,
        into out: UnsafeMutablePointer<UInt64>
    ) {
        let start =
            ObjectHeader.byteCount + polynomial * RNSPolynomial.packedByteCount(basis)
            + basis.moduli.prefix(row).reduce(0) { $0 + basis.degree * $1.bitCount / 8 }
        bytes.withUnsafeBytes { bytes in
            let row = basis.moduli[row].unpack(out, bytes.baseAddress! + start, range)
            precondition(row, "it was checked when it was made")
        }
    }
}
