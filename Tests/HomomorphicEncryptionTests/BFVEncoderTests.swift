import HomomorphicEncryption
import RLWE
import Testing

@Suite struct BFVEncoderTests {
    private func context(_ t: UInt64, logN: Int = 11) throws -> EncryptionContext {
        let primes = Primes.nttPrimes(bits: 40, degree: 1 << logN, count: 2)
        return try EncryptionContext(
            EncryptionParameters(
                scheme: .bfv, logN: logN, q: [primes[0]], p: [primes[1]], alpha: 1, t: t,
                security: .insecureForTestsOnly))
    }

    @Test(
        "decoding undoes encoding, up to the ends of the range", arguments: [12289, 65537, 1_152_921_504_606_830_593])
    func roundTrip(t: UInt64) throws {
        let encoder = try BFVEncoder(context(t))
        let half = Int64(t / 2)
        #expect(encoder.signedRange == -half...half && encoder.slotCount == 2048 && encoder.columnCount == 1024)
        var values = (0..<2048).map { Int64($0 - 1000) }
        values.replaceSubrange(0..<6, with: [0, 1, -1, half, -half, half - 1])
        #expect(try encoder.decode(encoder.encode(values)) == values)
        #expect(try encoder.decode(encoder.encode(values), count: 3) == [0, 1, -1])
        #expect(try encoder.decode(encoder.encode([5]), count: 2) == [5, 0])
        let residues: [UInt64] = [0, t - 1, t / 2, t / 2 + 1]
        #expect(try encoder.decodeResidues(encoder.encode(residues: residues), count: 5) == residues + [0])
        #expect(try encoder.decode(encoder.encode(residues: residues), count: 4) == [0, -1, half, -half])
        // A constant polynomial has its value in every slot.
        let same = try encoder.encode([Int64](repeating: -7, count: 2048))
        same.polynomial.withRow(0) { row in
            #expect(row[0] == t - 7)
            #expect((1..<2048).allSatisfy { row[$0] == 0 })
        }
    }

    @Test("what does not fit is named")
    func refusals() throws {
        let encoder = try BFVEncoder(context(65537))
        for (index, value) in [(0, Int64.min), (1, -32769), (2, 32769), (3, .max)] {
            var values = [Int64](repeating: 0, count: 4)
            values[index] = value
            #expect(throws: HEError.integerOutOfRange(index: index, range: -32768...32768)) {
                try encoder.encode(values)
            }
        }
        for value: UInt64 in [65537, .max] {
            #expect(throws: HEError.integerOutOfRange(index: 1, range: 0...65536)) {
                try encoder.encode(residues: [0, value])
            }
        }
        #expect(throws: HEError.tooManyValues(count: 2049, slots: 2048)) {
            try encoder.encode([Int64](repeating: 0, count: 2049))
        }
        let plaintext = try encoder.encode([1])
        for count in [-1, 2049] {
            #expect(throws: HEError.tooManyValues(count: count, slots: 2048)) {
                try encoder.decode(plaintext, count: count)
            }
        }
        #expect(throws: HEError.parameterMismatch) { try BFVEncoder(context(12289)).decode(plaintext) }
        var transformed = plaintext.polynomial
        transformed.transform()
        #expect(throws: HEError.parameterMismatch) { try encoder.decode(BFVPlaintext(polynomial: transformed)) }
    }

    @Test("a t without N slots is named, with one that has them", arguments: [2, 4096, 65536, 65539, 40961 * 4097])
    func batching(t: UInt64) throws {
        let context = try context(t)
        let error = HEError.plaintextModulusDoesNotBatch(t: t, degree: 2048, example: 65537)
        #expect(throws: error) { try BFVEncoder(context) }
        #expect(throws: error) { try BFVEvaluator(context) }
    }

    @Test("the example has N slots in every ring")
    func examples() throws {
        for logN in 11...16 {
            let t = BFVEncoder.batchingModulus(degree: 1 << logN)
            #expect(t > 1 << 16)
            #expect(try BFVEncoder(context(t, logN: logN)).slotCount == 1 << logN)
        }
    }

    @Test("t is none of the other primes")
    func distinct() throws {
        let primes = Primes.nttPrimes(bits: 40, degree: 1 << 11, count: 2)
        for t in primes { #expect(throws: HEError.self) { try context(t) } }
    }
}
