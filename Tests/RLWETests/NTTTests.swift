import RLWE
import TestSupport
import Testing

@Suite struct NTTTests {
    static let cases: [(logN: Int, bits: Int)] = (11...16).flatMap { logN in
        [30, 36, 50, 60].map { (logN, $0) }
    }

    @Test("the inverse undoes the transform", arguments: cases)
    func roundTrip(logN: Int, bits: Int) throws {
        let degree = 1 << logN
        let prime = try #require(Primes.nttPrimes(bits: bits, degree: degree, count: 1).first)
        let modulus = try NTTModulus(value: prime, degree: degree)
        var words = residues(seed: UInt64(logN * 100 + bits), degree, below: prime)
        words[0] = prime - 1
        let original = words
        words.withUnsafeMutableBufferPointer { modulus.transform($0.baseAddress!) }
        #expect(words != original)
        #expect(words.allSatisfy { $0 < prime })
        words.withUnsafeMutableBufferPointer { modulus.inverseTransform($0.baseAddress!) }
        #expect(words == original)
    }

    @Test("position j holds the value at psi^(2*bitrev(j)+1), psi the least primitive root")
    func definition() throws {
        let degree = 32
        let prime = try #require(Primes.nttPrimes(bits: 60, degree: degree, count: 1).first)
        let modulus = try NTTModulus(value: prime, degree: degree)
        // Every smaller number is no primitive 2N-th root: checked at a small prime, where all can be tried.
        let small = try NTTModulus(value: 193, degree: degree)
        let roots = (2..<193).filter { power(UInt64($0), UInt64(degree), 193) == 192 }
        #expect(small.psi == UInt64(try #require(roots.min())))

        var words = residues(seed: 7, degree, below: prime)
        let coefficients = words
        words.withUnsafeMutableBufferPointer { modulus.transform($0.baseAddress!) }
        for position in 0..<degree {
            let exponent = 2 * reverse(position, bits: 5) + 1
            let point = power(modulus.psi, UInt64(exponent), prime)
            var value: UInt64 = 0
            for coefficient in coefficients.reversed() {
                value = addMod(mulMod(value, point, prime), coefficient, prime)
            }
            #expect(words[position] == value)
        }
    }

    @Test("products in the NTT domain are negacyclic convolutions", arguments: [20, 50, 60])
    func convolution(bits: Int) throws {
        let degree = 64
        let prime = try #require(Primes.nttPrimes(bits: bits, degree: degree, count: 1).first)
        let basis = RNSBasis([try NTTModulus(value: prime, degree: degree)])
        var random = SeededGenerator(11)
        let left = random.residues(degree, below: prime)
        let right = random.residues(degree, below: prime)
        var expected = [UInt64](repeating: 0, count: degree)
        for i in 0..<degree {
            for j in 0..<degree {
                let product = mulMod(left[i], right[j], prime)
                let k = (i + j) % degree
                expected[k] =
                    i + j < degree
                    ? addMod(expected[k], product, prime) : addMod(expected[k], prime - product, prime)
            }
        }
        var a = polynomial([left], basis)
        var b = polynomial([right], basis)
        a.transform()
        b.transform()
        var product = a * b
        product.inverseTransform()
        #expect(rows(product) == [expected])
    }

    @Test("an automorphism of values is that of coefficients", arguments: [3, 5, 9, 127])
    func automorphism(element: Int) throws {
        let degree = 64
        let prime = try #require(Primes.nttPrimes(bits: 40, degree: degree, count: 1).first)
        let basis = RNSBasis([try NTTModulus(value: prime, degree: degree)])
        let coefficients = residues(seed: 5, degree, below: prime)
        var expected = [UInt64](repeating: 0, count: degree)
        for k in 0..<degree {
            let image = k * element % (2 * degree)
            expected[image % degree] = image < degree ? coefficients[k] : (prime - coefficients[k]) % prime
        }
        var values = polynomial([coefficients], basis)
        values.transform()
        var image = values.applying(GaloisAutomorphism(element: element, degree: degree))
        image.inverseTransform()
        #expect(rows(image) == [expected])
    }

    @Test(
        "what is no NTT prime is refused", arguments: [0, 1, 4097, 12287, 1 << 60, 0xFFFF_FFFF_FFFF_FFFF] as [UInt64])
    func refused(value: UInt64) {
        #expect(throws: RLWEError.self) { try NTTModulus(value: value, degree: 2048) }
    }
}
