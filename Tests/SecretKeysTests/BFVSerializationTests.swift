import Crypto
import HomomorphicEncryption
import RLWE
import SecretKeys
import TestSupport
import Testing

/// BFV's objects have the one format; what is theirs alone is the scale of a ciphertext, 1.
@Suite struct BFVSerializationTests {
    private static let small: Result<(BFVBench, SerializedObjects), any Error> = Result {
        let bench = try BFVBench(BFVBench.small([35, 35, 36]), rotations: [1])
        return (bench, try SerializedObjects(bench))
    }

    private func expect(
        _ error: HEError, _ bytes: [UInt8], as kind: SerializedObjects.Kind, in objects: SerializedObjects,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(throws: error, sourceLocation: sourceLocation) { try objects.reserialized(bytes, as: kind) }
    }

    @Test("what is written is read, and written again to the same bytes", arguments: ["bfv-12", "bfv-13", "bfv-14"])
    func presets(preset: String) throws {
        let bench = try BFVBench(preset, rotations: [1])
        let objects = try SerializedObjects(bench)
        for kind in SerializedObjects.Kind.allCases {
            #expect(try objects.reserialized(objects[kind], as: kind) == objects[kind], "\(kind)")
        }
        // A context made anew is the same to a parser: parameters decide, not identity.
        let other = try EncryptionContext(bench.context.parameters)
        let x = bench.random(2)
        for level in 1...bench.context.maximumLevel {
            let bytes = try bench.encrypt(x, level: level).serialized()
            #expect(
                bytes.count == Ciphertext.serializedByteCount(polynomials: 2, level: level, context: bench.context))
            let header = try ObjectHeader(parsing: bytes)
            #expect(header.scale == 1 && Int(header.level) == level && header.parts == 2)
            #expect(header.parameterDigest == bench.context.parameterDigest)
            #expect(try bench.decrypt(Ciphertext(serialized: bytes, context: other)) == x)
        }
    }

    @Test("a ciphertext's scale is 1 and nothing else")
    func scale() throws {
        let (_, objects) = try Self.small.get()
        for kind in [SerializedObjects.Kind.ciphertext, .product] {
            for scale in [0, -0.0, -1, 0.5, 1.nextUp, 1.nextDown, 2, 0x1p40, .infinity, .leastNonzeroMagnitude] {
                let bytes = objects[kind].replacing(HeaderField.scale, scale.bitPattern).resealed
                expect(.invalidScale(scale), bytes, as: kind, in: objects)
            }
            let nan = objects[kind].replacing(HeaderField.scale, Double.nan.bitPattern).resealed
            #expect(throws: HEError.self) { try objects.reserialized(nan, as: kind) }
        }
        for kind in [SerializedObjects.Kind.publicKey, .relinearization, .galois] {
            let bytes = objects[kind].replacing(HeaderField.scale, 1.0.bitPattern).resealed
            #expect(throws: HEError.self) { try objects.reserialized(bytes, as: kind) }
        }
    }

    @Test("the plaintext modulus is in the parameter digest: another t is another parameter set")
    func plaintextModulus() throws {
        let (bench, objects) = try Self.small.get()
        let parameters = bench.context.parameters
        for (scheme, t) in [(Scheme.bfv, UInt64(12289)), (.ckks, 0)] {
            let other = try EncryptionContext(
                EncryptionParameters(
                    scheme: scheme, logN: 11, q: parameters.q, p: parameters.p, alpha: 1, t: t,
                    security: .insecureForTestsOnly))
            #expect(other.parameterDigest != bench.context.parameterDigest)
            #expect(throws: HEError.parameterMismatch) {
                try Ciphertext(serialized: objects[.ciphertext], context: other)
            }
            #expect(throws: HEError.parameterMismatch) {
                try PublicKey(serialized: objects[.publicKey], context: other)
            }
            #expect(throws: HEError.parameterMismatch) {
                try EvaluationKey(serialized: objects[.relinearization], context: other)
            }
        }
    }

    @Test("fields that are not a ciphertext's")
    func fields() throws {
        let (_, objects) = try Self.small.get()
        let good = objects[.ciphertext]
        func changed(_ offset: Int, _ value: some FixedWidthInteger) -> [UInt8] {
            good.replacing(offset, value).resealed
        }
        let foreign = HEError.malformedObject(reason: "fields that a ciphertext does not have")
        for bytes in [
            changed(HeaderField.kind, UInt16(2)), changed(HeaderField.generation, UInt32(1)),
            changed(HeaderField.galois, UInt32(3)), changed(HeaderField.parts, UInt16(1)),
            changed(HeaderField.parts, UInt16(4)), changed(HeaderField.rho, UInt8(1)),
        ] { expect(foreign, bytes, as: .ciphertext, in: objects) }
        for level in [0, 3, .max] as [UInt16] {
            let error = HEError.invalidLevel(Int(level), maximum: 2)
            expect(error, changed(HeaderField.level, level), as: .ciphertext, in: objects)
        }
        let length = HEError.malformedObject(reason: "its length does not fit its parameters")
        expect(length, changed(HeaderField.level, UInt16(1)), as: .ciphertext, in: objects)
        expect(length, changed(HeaderField.parts, UInt16(3)), as: .ciphertext, in: objects)
        let residue = HEError.malformedObject(reason: "a residue is not below its prime")
        expect(residue, changed(HeaderField.end, UInt64.max), as: .ciphertext, in: objects)
    }

    @Test("any altered byte is noticed, and any cut")
    func alterations() throws {
        let (_, objects) = try Self.small.get()
        var random = SeededGenerator(11)
        for kind in SerializedObjects.Kind.allCases {
            let good = objects[kind]
            let others = (0..<60).map { _ in Int.random(in: good.indices, using: &random) }
            for offset in Array(0..<HeaderField.end) + others {
                let bytes = good.replacing(offset, good[offset] ^ UInt8(1 << Int.random(in: 0..<8, using: &random)))
                #expect(throws: HEError.self) { try objects.reserialized(bytes, as: kind) }
            }
            for count in [0, 1, HeaderField.end, good.count - 1] {
                #expect(throws: HEError.self) { try objects.reserialized(Array(good.prefix(count)), as: kind) }
            }
        }
    }
}
