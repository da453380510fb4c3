import Crypto
import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import TestSupport
import Testing

/// Serialized objects of one parameter set, and their parsers under one name.
struct SerializedObjects {
    enum Kind: CaseIterable, CustomTestStringConvertible {
        case publicKey, relinearization, galois, ciphertext, product, seeded

        var testDescription: String { "\(self)" }
    }

    let context: EncryptionContext
    private var bytes: [Kind: [UInt8]] = [:]

    init(_ scheme: Scheme1) throws {
        context = scheme.context
        let ciphertext = try scheme.encrypt(scheme.values(1))
        bytes[.publicKey] = scheme.publicKey.serialized()
        bytes[.relinearization] = try #require(scheme.keys.relinearization).serialized()
        bytes[.galois] = try #require(scheme.keys.galois[3]).serialized()
        bytes[.ciphertext] = ciphertext.serialized()
        bytes[.product] = try scheme.evaluator.multiplyWithoutRelinearization(ciphertext, ciphertext).serialized()
        bytes[.seeded] = try scheme.encryptSeeded(scheme.values(1)).serialized()
    }

    init(_ bench: BFVBench) throws {
        context = bench.context
        let ciphertext = try bench.encrypt(bench.random(1))
        bytes[.publicKey] = bench.publicKey.serialized()
        bytes[.relinearization] = try #require(bench.keys.relinearization).serialized()
        bytes[.galois] = try #require(bench.keys.galois[3]).serialized()
        bytes[.ciphertext] = ciphertext.serialized()
        bytes[.product] = try bench.evaluator.multiplyWithoutRelinearization(ciphertext, ciphertext).serialized()
        bytes[.seeded] = try SeededCiphertext(
            context: context, c0: ciphertext.polynomials[0], rho: [UInt8](1...32), scale: 1
        ).serialized()
    }

    /// N = 2^11, two primes q and one p of 26 bits: not secure, but quick to parse.
    static let small: Result<SerializedObjects, any Error> = Result {
        let primes = Primes.nttPrimes(bits: 26, degree: 1 << 11, count: 3)
        let parameters = try EncryptionParameters(
            scheme: .ckks, logN: 11, q: Array(primes[..<2]), p: [primes[2]], alpha: 1, security: .insecureForTestsOnly)
        return try SerializedObjects(Scheme1(parameters, scaleBits: 20, rotations: [1]))
    }

    subscript(_ kind: Kind) -> [UInt8] { bytes[kind] ?? [] }

    /// Reads `bytes` as an object of this kind and writes it again.
    func reserialized(_ bytes: [UInt8], as kind: Kind) throws -> [UInt8] {
        switch kind {
        case .publicKey: try PublicKey(serialized: bytes, context: context).serialized()
        case .relinearization, .galois: try EvaluationKey(serialized: bytes, context: context).serialized()
        case .ciphertext, .product: try Ciphertext(serialized: bytes, context: context).serialized()
        case .seeded: try SeededCiphertext(serialized: bytes, context: context).serialized()
        }
    }
}

/// Fields of the header by their offsets; all little-endian.
enum HeaderField {
    static let magic = 0
    static let type = 4
    static let version = 8
    static let kind = 10
    static let generation = 12
    static let galois = 16
    static let level = 20
    static let parts = 22
    static let scale = 24
    static let suite = 32
    static let reserved = 34
    static let total = 40
    static let parameterDigest = 48
    static let rho = 80
    static let end = 112
}

extension [UInt8] {
    /// With the digest at the end made right again, so that what was changed is what the parser meets.
    var resealed: [UInt8] {
        guard count >= 32 else { return self }
        let body = Array(self[..<(count - 32)])
        return body + Array(SHA256.hash(data: body))
    }

    func replacing(_ offset: Int, _ new: [UInt8]) -> [UInt8] {
        var copy = self
        copy.replaceSubrange(offset..<offset + new.count, with: new)
        return copy
    }

    func replacing(_ offset: Int, _ value: some FixedWidthInteger) -> [UInt8] {
        replacing(offset, Swift.withUnsafeBytes(of: value.littleEndian) { Array($0) })
    }

    /// With its own length in the header, and resealed.
    fileprivate var relengthened: [UInt8] { replacing(HeaderField.total, UInt64(count)).resealed }
}

@Suite struct SerializationTests {
    private typealias Kind = SerializedObjects.Kind
    private let small: SerializedObjects

    init() throws { small = try SerializedObjects.small.get() }

    private func expect(
        _ expected: HEError, _ bytes: [UInt8], as kind: SerializedObjects.Kind, _ comment: Comment? = nil,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(throws: expected, comment, sourceLocation: sourceLocation) {
            _ = try small.reserialized(bytes, as: kind)
        }
    }

    private func expectMalformed(
        _ reason: String, _ bytes: [UInt8], as kind: SerializedObjects.Kind,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        expect(.malformedObject(reason: reason), bytes, as: kind, sourceLocation: sourceLocation)
    }

    // MARK: Round trips

    @Test("what is written is read, and written again to the same bytes", arguments: ["ckks-12", "ckks-13", "ckks-14"])
    func presets(preset: String) throws {
        let scheme = try Scheme1(preset, rotations: [1])
        let objects = try SerializedObjects(scheme)
        for kind in SerializedObjects.Kind.allCases {
            #expect(try objects.reserialized(objects[kind], as: kind) == objects[kind], "\(kind)")
        }
        let publicKey = try PublicKey(serialized: objects[.publicKey], context: scheme.context)
        #expect(publicKey.rho == scheme.publicKey.rho)
        #expect(RNSPolynomial.testVectorDigest([publicKey.a]) == RNSPolynomial.testVectorDigest([scheme.publicKey.a]))
        let galois = try EvaluationKey(serialized: objects[.galois], context: scheme.context)
        #expect(galois.id == EvaluationKeyID(kind: .galois, galois: 3, level: scheme.context.maximumLevel))
        // A context made anew is the same to a parser: parameters decide, not identity.
        let other = try EncryptionContext(scheme.context.parameters)
        let x = scheme.values(5)
        for level in [1, scheme.context.maximumLevel] {
            let ciphertext = try scheme.encrypt(x, level: level)
            let bytes = ciphertext.serialized()
            #expect(
                bytes.count
                    == Ciphertext.serializedByteCount(polynomials: 2, level: level, context: scheme.context))
            let read = try Ciphertext(serialized: bytes, context: other)
            #expect(read.level == level)
            #expect(read.scale == ciphertext.scale)
            #expect(try largestError(scheme.decrypt(read), x) < 1e-2)
        }
        // c_1 is what the seed says, in whatever context it is expanded.
        let seeded = try SeededCiphertext(serialized: objects[.seeded], context: other)
        #expect(
            objects[.seeded].count
                == SeededCiphertext.serializedByteCount(level: seeded.level, context: scheme.context))
        #expect(2 * objects[.seeded].count == objects[.ciphertext].count + ObjectHeader.byteCount + 32)
        #expect(try largestError(scheme.decrypt(seeded.expanded()), scheme.values(1)) < 1e-4)
        for id in [galois.id, EvaluationKeyID(kind: .relinearization, level: scheme.context.maximumLevel)] {
            let kind: SerializedObjects.Kind = id.kind == .galois ? .galois : .relinearization
            #expect(objects[kind].count == EvaluationKey.serializedByteCount(id, context: scheme.context))
        }
    }

    @Test("the header says what follows")
    func header() throws {
        let scheme = try Scheme1("ckks-12", rotations: [1])
        let objects = try SerializedObjects(scheme)
        let expected: [(Kind, ObjectHeader.ObjectType, kind: UInt16, galois: UInt32, parts: UInt16, scale: Double)] = [
            (.publicKey, .publicKey, 2, 0, 0, 0), (.relinearization, .evaluationKey, 3, 0, 2, 0),
            (.galois, .evaluationKey, 4, 3, 2, 0), (.ciphertext, .ciphertext, 0, 0, 2, scheme.scale),
            (.product, .ciphertext, 0, 0, 3, scheme.scale * scheme.scale),
            (.seeded, .ciphertext, 0, 0, 1, scheme.scale),
        ]
        for (kind, type, rawKind, galois, parts, scale) in expected {
            let header = try ObjectHeader(parsing: objects[kind])
            #expect(header.type == type)
            #expect(header.kind == rawKind)
            #expect(header.galois == galois)
            #expect(header.level == 2)
            #expect(header.parts == parts)
            #expect(header.scale == scale)
            #expect(header.generation == 0)
            #expect(header.parameterDigest == scheme.context.parameterDigest)
            #expect(header.totalBytes == objects[kind].count)
        }
    }

    // MARK: Altered fields, with a right digest

    @Test("fields that every object has", arguments: SerializedObjects.Kind.allCases)
    func commonFields(kind: SerializedObjects.Kind) throws {
        let good = small[kind]
        func changed(_ offset: Int, _ value: some FixedWidthInteger) -> [UInt8] {
            good.replacing(offset, value).resealed
        }

        for offset in HeaderField.magic..<HeaderField.type {
            expectMalformed("no HKMS magic", changed(offset, good[offset] ^ 0x20), as: kind)
        }
        for offset in HeaderField.type..<HeaderField.version {
            expectMalformed("unknown type of object", changed(offset, good[offset] ^ 0x20), as: kind)
        }
        for version in [0, 2, 0x0100, .max] as [UInt16] {
            expect(.unsupportedVersion(Int(version)), changed(HeaderField.version, version), as: kind)
        }
        for suite in [0, 2, 0x0100, .max] as [UInt16] {
            expectMalformed("unknown suite or reserved bytes in use", changed(HeaderField.suite, suite), as: kind)
        }
        for offset in HeaderField.reserved..<HeaderField.total {
            expectMalformed("unknown suite or reserved bytes in use", changed(offset, UInt8(1)), as: kind)
        }
        let count = UInt64(good.count)
        for total in [0, 1, count - 1, count + 1, count | 1 << 32, count | 1 << 63, .max] as [UInt64] {
            expectMalformed(
                "its length field does not match its \(count) bytes", changed(HeaderField.total, total), as: kind)
        }
        for offset in HeaderField.parameterDigest..<HeaderField.rho {
            expect(.parameterMismatch, changed(offset, ~good[offset]), as: kind)
        }
        for offset in [HeaderField.end, good.count / 2, good.count - 33, good.count - 32, good.count - 1] {
            expect(.digestMismatch, good.replacing(offset, good[offset] ^ 1), as: kind)
        }
        // Another type's object, whole.
        for other in SerializedObjects.Kind.allCases {
            let types = try [kind, other].map { try ObjectHeader(parsing: small[$0]).type }
            guard types[0] != types[1] else { continue }
            #expect(throws: HEError.self) { _ = try small.reserialized(small[other], as: kind) }
        }
    }

    @Test("fields of a public key")
    func publicKeyFields() throws {
        let good = small[.publicKey]
        let refused: [[UInt8]] = [
            good.replacing(HeaderField.kind, UInt16(0)), good.replacing(HeaderField.kind, UInt16(3)),
            good.replacing(HeaderField.galois, UInt32(1)), good.replacing(HeaderField.level, UInt16(0)),
            good.replacing(HeaderField.level, UInt16(1)), good.replacing(HeaderField.level, UInt16(3)),
            good.replacing(HeaderField.level, UInt16.max), good.replacing(HeaderField.parts, UInt16(1)),
            good.replacing(HeaderField.parts, UInt16.max), good.replacing(HeaderField.scale, (1.0).bitPattern),
            good.replacing(HeaderField.scale, (-0.0).bitPattern),
        ]
        for bytes in refused {
            expectMalformed("fields that a public key does not have", bytes.resealed, as: .publicKey)
        }
        let type = Array(ObjectHeader.ObjectType.ciphertext.rawValue.utf8)
        expect(
            .unexpectedObject(found: "CIPH", expected: "PUBK"), good.replacing(HeaderField.type, type).resealed,
            as: .publicKey)
        // Generation and rho are the key's own to choose.
        let other = good.replacing(HeaderField.generation, UInt32(7)).resealed
        #expect(try PublicKey(serialized: other, context: small.context).generation == 7)
    }

    @Test("fields of an evaluation key")
    func evaluationKeyFields() throws {
        let relinearization = small[.relinearization]
        let galois = small[.galois]
        for kind in [0, 1, 2, 6, 0x0300, .max] as [UInt16] {
            expect(
                .unexpectedObject(found: "EVAL", expected: "EVAL"),
                relinearization.replacing(HeaderField.kind, kind).resealed, as: .relinearization)
        }
        let type = Array(ObjectHeader.ObjectType.publicKey.rawValue.utf8)
        expect(
            .unexpectedObject(found: "PUBK", expected: "EVAL"), galois.replacing(HeaderField.type, type).resealed,
            as: .galois)
        for element in [0, 1, 2, 4, 4096, 4097, .max] as [UInt32] {
            expectMalformed(
                "a Galois element is odd, above 1 and below 2N",
                galois.replacing(HeaderField.galois, element).resealed, as: .galois)
        }
        expectMalformed(
            "only Galois keys have a Galois element", relinearization.replacing(HeaderField.galois, UInt32(3)).resealed,
            as: .relinearization)
        for level in [0, 3, 0x0200, .max] as [UInt16] {
            expect(
                .invalidLevel(Int(level), maximum: 2), galois.replacing(HeaderField.level, level).resealed, as: .galois)
        }
        for parts in [0, 1, 3, .max] as [UInt16] {
            expectMalformed(
                "its number of digits does not fit its level",
                galois.replacing(HeaderField.parts, parts).resealed, as: .galois)
        }
        for scale in [1, -0.0, .nan] as [Double] {
            expectMalformed(
                "its number of digits does not fit its level",
                galois.replacing(HeaderField.scale, scale.bitPattern).resealed, as: .galois)
        }
        expectMalformed(
            "its length does not fit its parameters",
            galois.replacing(HeaderField.level, UInt16(1)).replacing(HeaderField.parts, UInt16(1)).resealed, as: .galois
        )
        let switching = relinearization.replacing(HeaderField.kind, UInt16(5)).resealed
        #expect(try EvaluationKey(serialized: switching, context: small.context).id.kind == .switching)
    }

    @Test("a key whose own modulus is too large for its ring is refused")
    func insecureKey() throws {
        let primes = Primes.nttPrimes(bits: 40, degree: 1 << 12, count: 3)
        let context = try EncryptionContext(
            EncryptionParameters(scheme: .ckks, logN: 12, q: Array(primes[..<2]), p: [primes[2]], alpha: 1))
        let bytes = Array(small[.relinearization][..<HeaderField.end])
            .replacing(HeaderField.parameterDigest, context.parameterDigest)
        let whole = (bytes + [UInt8](repeating: 0, count: 2 * 3 * 4096 * 5 + 32)).relengthened
        #expect(
            throws: HEError.insecureParameters(
                object: "an evaluation key of level 2", bits: 120, logN: 12, maximum: 106)
        ) { try EvaluationKey(serialized: whole, context: context) }
        let low = (bytes + [UInt8](repeating: 0, count: 2 * 4096 * 5 + 32))
            .replacing(HeaderField.level, UInt16(1)).replacing(HeaderField.parts, UInt16(1)).relengthened
        #expect(try EvaluationKey(serialized: low, context: context).id.level == 1)
    }

    @Test("fields of a ciphertext", arguments: [SerializedObjects.Kind.ciphertext, .product])
    func ciphertextFields(kind: SerializedObjects.Kind) throws {
        let good = small[kind]
        var refused: [[UInt8]] = [
            good.replacing(HeaderField.kind, UInt16(1)), good.replacing(HeaderField.generation, UInt32(1)),
            good.replacing(HeaderField.galois, UInt32(3)),
        ]
        for parts in [0, 1, 4, 0x0200, .max] as [UInt16] { refused.append(good.replacing(HeaderField.parts, parts)) }
        for offset in HeaderField.rho..<HeaderField.end { refused.append(good.replacing(offset, UInt8(1))) }
        for bytes in refused {
            expectMalformed("fields that a ciphertext does not have", bytes.resealed, as: kind)
        }
        let otherCount = UInt16(kind == .ciphertext ? 3 : 2)
        expectMalformed(
            "its length does not fit its parameters", good.replacing(HeaderField.parts, otherCount).resealed, as: kind)
        expectMalformed(
            "its length does not fit its parameters", good.replacing(HeaderField.level, UInt16(1)).resealed, as: kind)
        for level in [0, 3, 0x0200, .max] as [UInt16] {
            expect(.invalidLevel(Int(level), maximum: 2), good.replacing(HeaderField.level, level).resealed, as: kind)
        }
        for scale in [0, -0.0, 0.5, -1, -.infinity, .infinity, .leastNonzeroMagnitude] as [Double] {
            expect(.invalidScale(scale), good.replacing(HeaderField.scale, scale.bitPattern).resealed, as: kind)
        }
        for pattern in [Double.nan.bitPattern, Double.signalingNaN.bitPattern, .max] {
            // NaN is not equal to itself: the case is what counts.
            let error = #expect(throws: HEError.self) {
                _ = try small.reserialized(good.replacing(HeaderField.scale, pattern).resealed, as: kind)
            }
            guard case .invalidScale(let scale)? = error else {
                Issue.record("another error: \(String(describing: error))")
                continue
            }
            #expect(scale.isNaN)
        }
        let type = Array(ObjectHeader.ObjectType.evaluationKey.rawValue.utf8)
        expect(
            .unexpectedObject(found: "EVAL", expected: "CIPH"), good.replacing(HeaderField.type, type).resealed,
            as: kind)
    }

    @Test("fields of a seeded ciphertext, which is no ciphertext to others")
    func seededFields() throws {
        let good = small[.seeded]
        for bytes in [
            good.replacing(HeaderField.kind, UInt16(1)), good.replacing(HeaderField.generation, UInt32(1)),
            good.replacing(HeaderField.galois, UInt32(3)), good.replacing(HeaderField.parts, UInt16(0)),
            good.replacing(HeaderField.parts, UInt16(2)), small[.ciphertext], small[.product],
        ] {
            expectMalformed("fields that a seeded ciphertext does not have", bytes.resealed, as: .seeded)
        }
        expectMalformed("fields that a ciphertext does not have", good, as: .ciphertext)
        for level in [0, 3, .max] as [UInt16] {
            expect(
                .invalidLevel(Int(level), maximum: 2), good.replacing(HeaderField.level, level).resealed, as: .seeded)
        }
        expectMalformed(
            "its length does not fit its parameters", good.replacing(HeaderField.level, UInt16(1)).resealed,
            as: .seeded)
        for scale in [0, 0.5, -1, .infinity] as [Double] {
            expect(
                .invalidScale(scale), good.replacing(HeaderField.scale, scale.bitPattern).resealed, as: .seeded)
        }
        let c0 = try SeededCiphertext(serialized: good, context: small.context).c0
        #expect(throws: HEError.malformedObject(reason: "the seed of a ciphertext has 32 bytes")) {
            try SeededCiphertext(context: small.context, c0: c0, rho: [1], scale: 2)
        }
        // Another seed is another ciphertext: it is read, and expands to something else.
        let other = try SeededCiphertext(
            serialized: good.replacing(HeaderField.rho, [UInt8](1...32)).resealed, context: small.context)
        let expanded = try SeededCiphertext(serialized: good, context: small.context).expanded()
        #expect(try other.expanded().serialized() != expanded.serialized())
    }

    // MARK: Lengths

    @Test("every truncation is refused", arguments: SerializedObjects.Kind.allCases)
    func truncation(kind: SerializedObjects.Kind) {
        let good = small[kind]
        for count in 0..<HeaderField.end + 32 {
            expectMalformed("\(count) bytes are too few", Array(good[..<count]), as: kind)
        }
        for count in stride(from: HeaderField.end + 32, to: good.count, by: 61) {
            let cut = Array(good[..<count])
            expectMalformed("its length field does not match its \(count) bytes", cut, as: kind)
            expect(.digestMismatch, cut.replacing(HeaderField.total, UInt64(count)), as: kind)
        }
        for count in stride(from: HeaderField.end + 32, to: good.count, by: 307) {
            expectMalformed("its length does not fit its parameters", Array(good[..<count]).relengthened, as: kind)
        }
    }

    @Test("bytes at the end are refused", arguments: SerializedObjects.Kind.allCases)
    func trailing(kind: SerializedObjects.Kind) {
        for count in [1, 8, 32, 10_000] {
            let long = small[kind] + [UInt8](repeating: 0, count: count)
            expectMalformed("its length field does not match its \(long.count) bytes", long, as: kind)
            expectMalformed("its length does not fit its parameters", long.relengthened, as: kind)
        }
    }

    @Test("a header that promises much gets no memory for it", arguments: SerializedObjects.Kind.allCases)
    func promises(kind: SerializedObjects.Kind) throws {
        let bare = Array(small[kind][..<HeaderField.end]) + [UInt8](repeating: 0, count: 32)
        // The smallest promise, 65535 primes or digits, is of 400 MiB and more: whoever only asked for so much, and
        // never touched it, would be seen in the address space.
        let grown = try AddressSpace.growth {
            for round in 0..<2_000 {
                var bytes = bare
                switch round % 4 {
                case 0: bytes = bytes.replacing(HeaderField.level, UInt16.max)
                case 1: bytes = bytes.replacing(HeaderField.parts, UInt16.max)
                case 2: bytes = bytes.replacing(HeaderField.level, UInt16(2))
                default: break
                }
                bytes = round % 8 < 4 ? bytes.relengthened : bytes.replacing(HeaderField.total, UInt64.max).resealed
                #expect(throws: HEError.self) { _ = try small.reserialized(bytes, as: kind) }
            }
        }
        #expect(grown < 64 << 20, "\(grown) bytes")
    }

    #if os(Linux)
        @Test("an allocation that nobody touches shows in the address space")
        func addressSpace() throws {
            let grown = try AddressSpace.growth {
                // 436 MiB: 65535 residue rows of N = 2^11 and 26 bits.
                let taken = try #require(malloc(65_535 * 2048 * 26 / 8))
                free(taken)
            }
            #expect(grown > 400 << 20)
        }
    #endif

    // MARK: Residues

    @Test(
        "a residue that is not below its prime is refused, wherever it is", arguments: SerializedObjects.Kind.allCases)
    func residues(kind: SerializedObjects.Kind) throws {
        let good = small[kind]
        let header = try ObjectHeader(parsing: good)
        let level = Int(header.level)
        let basis =
            header.type == .evaluationKey
            ? small.context.keyBasis(level: level) : small.context.ciphertextBasis(level: level)
        let polynomials = header.type == .publicKey ? 1 : Int(header.parts)
        var bit = HeaderField.end * 8
        for _ in 0..<polynomials {
            for modulus in basis.moduli {
                for index in [0, 1, modulus.degree - 1] {
                    let position = bit + index * modulus.bitCount
                    let largest = writing(modulus.value - 1, modulus.bitCount, at: position, of: good).resealed
                    #expect(try small.reserialized(largest, as: kind) == largest)
                    for residue in [modulus.value, (1 << UInt64(modulus.bitCount)) - 1] as [UInt64] {
                        expectMalformed(
                            "a residue is not below its prime",
                            writing(residue, modulus.bitCount, at: position, of: good).resealed, as: kind)
                    }
                }
                bit += modulus.degree * modulus.bitCount
            }
        }
        #expect(bit / 8 == good.count - 32)
    }

    private func writing(_ value: UInt64, _ bits: Int, at position: Int, of bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for index in 0..<bits {
            let (byte, bit) = (position + index).quotientAndRemainder(dividingBy: 8)
            bytes[byte] = bytes[byte] & ~(1 << UInt8(bit)) | UInt8(value >> UInt64(index) & 1) << UInt8(bit)
        }
        return bytes
    }

    // MARK: Fuzz

    @Test("20 000 inputs of random bytes", arguments: SerializedObjects.Kind.allCases)
    func random(kind: SerializedObjects.Kind) {
        var generator = SeededGenerator(11)
        let header = small[kind][..<HeaderField.version]
        for round in 0..<20_000 {
            var bytes = generator.bytes(Int.random(in: 0...300, using: &generator))
            // Half of them begin as such an object does; half of those have a right length and digest too.
            if round % 2 == 1, bytes.count >= header.count { bytes = bytes.replacing(0, Array(header)) }
            if round % 4 == 1, bytes.count >= HeaderField.end + 32 {
                bytes =
                    bytes.replacing(HeaderField.version, UInt16(1)).replacing(HeaderField.suite, UInt64(1)).relengthened
            }
            #expect(throws: HEError.self) { _ = try small.reserialized(bytes, as: kind) }
        }
    }

    @Test(
        "5 000 altered objects: refused by name, or read as exactly what they say",
        arguments: SerializedObjects.Kind.allCases)
    func mutated(kind: SerializedObjects.Kind) throws {
        var generator = SeededGenerator(12)
        let good = small[kind]
        var accepted = 0
        for round in 0..<5_000 {
            var bytes = good
            for _ in 0..<Int.random(in: 1...3, using: &generator) {
                // Mostly in the header.
                let range = Int.random(in: 0..<4, using: &generator) == 0 ? 0..<good.count : 8..<HeaderField.end
                bytes[Int.random(in: range, using: &generator)] = UInt8.random(in: 0...255, using: &generator)
            }
            if round % 2 == 0 { bytes = bytes.resealed }
            do {
                #expect(try small.reserialized(bytes, as: kind) == bytes)
                accepted += 1
            } catch {
                #expect(error is HEError, "\(error)")
            }
        }
        // Alterations of residues, and of a key's rho and generation, are still objects.
        #expect(accepted > 20)
    }
}
