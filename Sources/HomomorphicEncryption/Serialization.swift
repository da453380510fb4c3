import Crypto
import RLWE

/// The fixed front of every serialized HE object; docs/formats.md has the table.
///
/// All integers are little-endian. 112 bytes, then the payload, then SHA-256 of all that precedes.
public struct ObjectHeader: Sendable, Hashable {
    /// What follows the header.
    public enum ObjectType: String, Sendable, CaseIterable {
        case publicKey = "PUBK"
        case evaluationKey = "EVAL"
        case ciphertext = "CIPH"
    }

    public var type: ObjectType
    /// Kind of key in derivation suite 1; 0 for a ciphertext.
    public var kind: UInt16
    public var generation: UInt32
    public var galois: UInt32
    /// Ciphertext rows.
    public var level: UInt16
    /// Digits of a key, polynomials of a ciphertext; 1 of a seeded one.
    public var parts: UInt16
    /// CKKS scale of a ciphertext; 0 for a key.
    public var scale: Double
    /// pd of the parameters.
    public var parameterDigest: [UInt8]
    /// Seed of the uniform half; zeros for a ciphertext that is not seeded.
    public var rho: [UInt8]
    /// Bytes of the whole object.
    public var totalBytes: Int

    public static let byteCount = 112
    public static let digestByteCount = 32
    static let version: UInt16 = 1

    /// Reads the header of `bytes` and checks magic, version, length and digest.
    /// - Throws: ``HEError`` that names what is wrong.
    public init(parsing bytes: [UInt8]) throws(HEError) {
        guard bytes.count >= Self.byteCount + Self.digestByteCount else {
            throw .malformedObject(reason: "\(bytes.count) bytes are too few")
        }
        func word<T: FixedWidthInteger>(_ offset: Int, _: T.Type) -> T {
            var value: T = 0
            for index in stride(from: MemoryLayout<T>.size - 1, through: 0, by: -1) {
                value = value << 8 | T(truncatingIfNeeded: bytes[offset + index])
            }
            return value
        }
        guard Array(bytes[0..<4]) == Array("HKMS".utf8) else { throw .malformedObject(reason: "no HKMS magic") }
        guard let type = ObjectType.allCases.first(where: { Array($0.rawValue.utf8) == Array(bytes[4..<8]) }) else {
            throw .malformedObject(reason: "unknown type of object")
        }
        let version = word(8, UInt16.self)
        guard version == Self.version else { throw .unsupportedVersion(Int(version)) }
        guard word(32, UInt16.self) == 1, bytes[34..<40].allSatisfy({ $0 == 0 }) else {
            throw .malformedObject(reason: "unknown suite or reserved bytes in use")
        }
        guard word(40, UInt64.self) == UInt64(bytes.count) else {
            throw .malformedObject(reason: "its length field does not match its \(bytes.count) bytes")
        }
        let body = bytes.count - Self.digestByteCount
        guard Array(SHA256.hash(data: bytes[..<body])) == Array(bytes[body...]) else { throw .digestMismatch }
        self.type = type
        kind = word(10, UInt16.self)
        generation = word(12, UInt32.self)
        galois = word(16, UInt32.self)
        level = word(20, UInt16.self)
        parts = word(22, UInt16.self)
        scale = Double(bitPattern: word(24, UInt64.self))
        parameterDigest = Array(bytes[48..<80])
        rho = Array(bytes[80..<112])
        totalBytes = bytes.count
    }

    fileprivate init(
        type: ObjectType, kind: UInt16 = 0, generation: UInt32 = 0, galois: UInt32 = 0, level: Int, parts: Int,
        scale: Double = 0, context: EncryptionContext, rho: [UInt8]? = nil, payloadBytes: Int
    ) {
        self.type = type
        self.kind = kind
        self.generation = generation
        self.galois = galois
        self.level = UInt16(level)
        self.parts = UInt16(parts)
        self.scale = scale
        parameterDigest = context.parameterDigest
        self.rho = rho ?? [UInt8](repeating: 0, count: 32)
        totalBytes = Self.byteCount + payloadBytes + Self.digestByteCount
    }

    fileprivate func serialized(_ polynomials: [RNSPolynomial]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(totalBytes)
        func append(_ value: some FixedWidthInteger) {
            withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
        }
        bytes += Array("HKMS".utf8) + Array(type.rawValue.utf8)
        append(Self.version)
        append(kind)
        append(generation)
        append(galois)
        append(level)
        append(parts)
        append(scale.bitPattern)
        append(UInt16(1))
        bytes += [UInt8](repeating: 0, count: 6)
        append(UInt64(totalBytes))
        bytes += parameterDigest + rho
        for polynomial in polynomials { polynomial.appendPacked(to: &bytes) }
        bytes += Array(SHA256.hash(data: bytes))
        return bytes
    }

    fileprivate func require(
        _ type: ObjectType, context: EncryptionContext, payloadBytes: Int
    ) throws(HEError) {
        guard self.type == type else { throw .unexpectedObject(found: self.type.rawValue, expected: type.rawValue) }
        guard parameterDigest == context.parameterDigest else { throw .parameterMismatch }
        guard totalBytes == Self.byteCount + payloadBytes + Self.digestByteCount else {
            throw .malformedObject(reason: "its length does not fit its parameters")
        }
    }

    fileprivate func polynomials(
        _ bytes: [UInt8], count: Int, basis: RNSBasis
    ) throws(HEError) -> [RNSPolynomial] {
        let length = RNSPolynomial.packedByteCount(basis)
        let parsed: [RNSPolynomial]? = bytes.withUnsafeBytes { buffer in
            var result: [RNSPolynomial] = []
            for index in 0..<count {
                let start = Self.byteCount + index * length
                let slice = UnsafeRawBufferPointer(rebasing: buffer[start..<start + length])
                guard let polynomial = RNSPolynomial(packed: slice, basis: basis, form: .evaluation) else { return nil }
                result.append(polynomial)
            }
            return result
        }
        guard let parsed else { throw .malformedObject(reason: "a residue is not below its prime") }
        return parsed
    }
}

extension PublicKey {
    public func serialized() -> [UInt8] {
        ObjectHeader(
            type: .publicKey, kind: 2, generation: generation, level: context.maximumLevel, parts: 0, context: context,
            rho: rho, payloadBytes: RNSPolynomial.packedByteCount(b.basis)
        ).serialized([b])
    }

    /// - Throws: ``HEError`` for anything that is not a public key of these parameters.
    public init(serialized bytes: [UInt8], context: EncryptionContext) throws {
        let header = try ObjectHeader(parsing: bytes)
        let basis = context.ciphertextBasis(level: context.maximumLevel)
        try header.require(.publicKey, context: context, payloadBytes: RNSPolynomial.packedByteCount(basis))
        guard header.kind == 2, header.galois == 0, header.parts == 0, Int(header.level) == context.maximumLevel,
            header.scale.bitPattern == 0
        else { throw HEError.malformedObject(reason: "fields that a public key does not have") }
        let b = try header.polynomials(bytes, count: 1, basis: basis)[0]
        try self.init(context: context, b: b, rho: header.rho, generation: header.generation)
    }
}

extension EvaluationKey {
    public func serialized() -> [UInt8] {
        ObjectHeader(
            type: .evaluationKey, kind: id.kind.rawValue, generation: id.generation, galois: id.galois,
            level: id.level, parts: b.count, context: context, rho: rho,
            payloadBytes: b.count * RNSPolynomial.packedByteCount(b[0].basis)
        ).serialized(b)
    }

    /// Bytes of a serialized key.
    public static func serializedByteCount(_ id: EvaluationKeyID, context: EncryptionContext) -> Int {
        ObjectHeader.byteCount + ObjectHeader.digestByteCount
            + context.parameters.digitCount(level: id.level)
            * RNSPolynomial.packedByteCount(context.keyBasis(level: id.level))
    }

    /// - Throws: ``HEError`` for anything that is not an evaluation key of these parameters, or one whose
    ///   own modulus is below 128-bit security.
    public init(serialized bytes: [UInt8], context: EncryptionContext) throws {
        let header = try ObjectHeader(parsing: bytes)
        guard header.type == .evaluationKey, let kind = EvaluationKeyKind(rawValue: header.kind) else {
            throw HEError.unexpectedObject(found: header.type.rawValue, expected: "EVAL")
        }
        let id = EvaluationKeyID(
            kind: kind, galois: header.galois, level: Int(header.level), generation: header.generation)
        try id.validate(for: context)
        let digits = context.parameters.digitCount(level: id.level)
        guard Int(header.parts) == digits, header.scale.bitPattern == 0 else {
            throw HEError.malformedObject(reason: "its number of digits does not fit its level")
        }
        let basis = context.keyBasis(level: id.level)
        try header.require(
            .evaluationKey, context: context, payloadBytes: digits * RNSPolynomial.packedByteCount(basis))
        try self.init(
            context: context, id: id, rho: header.rho,
            b: header.polynomials(bytes, count: digits, basis: basis))
    }
}

extension Ciphertext {
    public func serialized() -> [UInt8] {
        ObjectHeader(
            type: .ciphertext, level: level, parts: polynomials.count, scale: scale, context: context,
            payloadBytes: polynomials.count * RNSPolynomial.packedByteCount(polynomials[0].basis)
        ).serialized(polynomials)
    }

    /// Bytes of a serialized ciphertext.
    public static func serializedByteCount(polynomials: Int, level: Int, context: EncryptionContext) -> Int {
        ObjectHeader.byteCount + ObjectHeader.digestByteCount
            + polynomials * RNSPolynomial.packedByteCount(context.ciphertextBasis(level: level))
    }

    /// - Throws: ``HEError`` for anything that is not a ciphertext of these parameters.
    public init(serialized bytes: [UInt8], context: EncryptionContext) throws(HEError) {
        let header = try ObjectHeader(parsing: bytes)
        guard header.kind == 0, header.generation == 0, header.galois == 0, (2...3).contains(header.parts),
            header.rho.allSatisfy({ $0 == 0 })
        else { throw .malformedObject(reason: "fields that a ciphertext does not have") }
        try context.requireLevel(Int(header.level))
        let basis = context.ciphertextBasis(level: Int(header.level))
        try header.require(
            .ciphertext, context: context,
            payloadBytes: Int(header.parts) * RNSPolynomial.packedByteCount(basis))
        try self.init(
            context: context, polynomials: header.polynomials(bytes, count: Int(header.parts), basis: basis),
            scale: header.scale)
    }
}

extension SeededCiphertext {
    public func serialized() -> [UInt8] {
        ObjectHeader(
            type: .ciphertext, level: level, parts: 1, scale: scale, context: context, rho: rho,
            payloadBytes: RNSPolynomial.packedByteCount(c0.basis)
        ).serialized([c0])
    }

    /// Bytes of a serialized seeded ciphertext.
    public static func serializedByteCount(level: Int, context: EncryptionContext) -> Int {
        Ciphertext.serializedByteCount(polynomials: 1, level: level, context: context)
    }

    /// - Throws: ``HEError`` for anything that is not a seeded ciphertext of these parameters.
    public init(serialized bytes: [UInt8], context: EncryptionContext) throws(HEError) {
        let header = try ObjectHeader(parsing: bytes)
        guard header.kind == 0, header.generation == 0, header.galois == 0, header.parts == 1 else {
            throw .malformedObject(reason: "fields that a seeded ciphertext does not have")
        }
        try context.requireLevel(Int(header.level))
        let basis = context.ciphertextBasis(level: Int(header.level))
        try header.require(.ciphertext, context: context, payloadBytes: RNSPolynomial.packedByteCount(basis))
        try self.init(
            context: context, c0: header.polynomials(bytes, count: 1, basis: basis)[0], rho: header.rho,
            scale: header.scale)
    }
}
