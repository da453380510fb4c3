import HomomorphicEncryption
import SecretKeys
import SecretMemory
import Testing

@Suite struct SeedTests {
    private func revealed(_ seed: borrowing Seed) -> [UInt8] {
        seed.withSecretBytes { bytes in bytes.withUnsafeBytes { Array($0) } }
    }

    @Test("a seed has 32 bytes", arguments: [0, 1, 31, 33, 64])
    func length(count: Int) throws {
        let seed = Seed(try SecretBytes(count: count))
        let isSeed = seed != nil
        #expect(!isSeed)
    }

    @Test("fresh seeds differ, whatever the trusted KMS adds")
    func generation() throws {
        var seeds: Set<[UInt8]> = []
        for contribution in [0, 1, 32, 1000] {
            for _ in 0..<50 {
                seeds.insert(revealed(try Seed.generate(mixing: SecretBytes(count: contribution))))
            }
        }
        #expect(seeds.count == 200)
        #expect(seeds.allSatisfy { $0.count == Seed.byteCount })
        // 6400 random bytes: each bit of the 32 bytes is set about half the time (within 6 deviations).
        for bit in 0..<256 {
            let set = seeds.count { $0[bit / 8] >> UInt8(bit % 8) & 1 == 1 }
            #expect((58...142).contains(set), "bit \(bit)")
        }
    }

    @Test("a copy for sealing is the seed")
    func sealing() throws {
        let bytes = [UInt8](1...32)
        let seed = try Scheme1.seed(bytes)
        let check38 = try seed.copyForSealing().equals(bytes)
        #expect(check38)
        #expect(revealed(seed) == bytes)
    }

    @Test("the commitment is to the seed and to the parameters")
    func commitment() throws {
        let parameters = [UInt8](repeating: 5, count: 32)
        let seed = try Scheme1.seed([UInt8](1...32))
        let commitment = try seed.commitment(parameters)
        #expect(commitment.count == 32)
        #expect(try seed.matches(commitment: commitment, parameterDigest: parameters))
        #expect(try Scheme1.seed([UInt8](1...32)).matches(commitment: commitment, parameterDigest: parameters))
        for bit in 0..<256 {
            var other = commitment
            other[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(try !seed.matches(commitment: other, parameterDigest: parameters))
        }
        for other in [[], Array(commitment.dropLast()), commitment + [0]] {
            #expect(try !seed.matches(commitment: other, parameterDigest: parameters))
        }
        let others = [UInt8](repeating: 6, count: 32)
        #expect(try !seed.matches(commitment: commitment, parameterDigest: others))
        for index in 0..<32 {
            var bytes = [UInt8](1...32)
            bytes[index] ^= 0x80
            #expect(try !Scheme1.seed(bytes).matches(commitment: commitment, parameterDigest: parameters))
        }
    }

    @Test("the manifest's key is another value, bound to the parameters")
    func manifestKey() throws {
        let parameters = [UInt8](repeating: 5, count: 32)
        let others = [UInt8](repeating: 6, count: 32)
        let seed = try Scheme1.seed([UInt8](1...32))
        let key = try seed.manifestKey(parameters)
        #expect(key.count == 32)
        let check74 = try key.equals(seed.manifestKey(parameters))
        #expect(check74)
        let check75 = try !key.equals(seed.manifestKey(others))
        #expect(check75)
        let check76 = try !key.equals(seed.commitment(parameters))
        #expect(check76)
        let check77 = !key.equals([UInt8](1...32))
        #expect(check77)
    }
}
