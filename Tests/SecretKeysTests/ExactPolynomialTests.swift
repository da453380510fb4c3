import ComplexModule
import HomomorphicEncryption
import RLWE
import TestSupport
import Testing

/// The exact model against what is plainer still, then the library against the model.
@Suite struct ExactPolynomialTests {
    private let context: EncryptionContext
    private let basis: RNSBasis

    init() throws {
        let preset = try #require(ParameterPreset.named("ckks-13"))
        context = try EncryptionContext(preset.parameters)
        basis = context.ciphertextBasis(level: 4)
    }

    private func integers(_ seed: UInt64, count: Int, in range: ClosedRange<Int64>) -> [Int64] {
        var random = SeededGenerator(seed)
        return (0..<count).map { _ in Int64.random(in: range, using: &random) }
    }

    /// The coefficients, which 128 bits hold.
    private func numbers(_ polynomial: ExactPolynomial) -> [Int128] {
        (0..<polynomial.degree).map {
            let word = $0 * polynomial.width
            return Int128(Int64(bitPattern: polynomial.words[word + 1])) << 64 | Int128(polynomial.words[word])
        }
    }

    @Test("sums, products and automorphisms agree with 128-bit numbers")
    func ring() {
        let degree = 16
        let range = Int64(-1) << 60...Int64(1) << 60
        let (a, b) = (integers(1, count: degree, in: range), integers(2, count: degree, in: range))
        var product = [Int128](repeating: 0, count: degree)
        for i in 0..<degree {
            for j in 0..<degree {
                let term = Int128(a[i]) * Int128(b[j]) / (i + j < degree ? 1 : -1)
                product[(i + j) % degree] += term
            }
        }
        let (x, y) = (ExactPolynomial(a, width: 3), ExactPolynomial(b, width: 3))
        #expect(numbers(x * y) == product)
        // Rounding to the nearest: 1000003 is odd.
        #expect(numbers((x * y).divided(by: 1_000_003)) == product.map { ($0 + $0.signum() * 500_001) / 1_000_003 })
        #expect((x + y).doubles == zip(a, b).map { Double($0 + $1) })
        #expect((x - y).doubles == zip(a, b).map { Double($0 - $1) })
        #expect((x - x) == ExactPolynomial(degree: degree, width: 3))
        #expect((x * y).applying(3) == x.applying(3) * y.applying(3))
        #expect(x.applying(2 * degree - 1).applying(2 * degree - 1) == x)
    }

    @Test("residues and back is the same number, up to half the modulus on both sides")
    func lifting() {
        var coefficients = integers(3, count: basis.degree, in: Int64.min...Int64.max)
        coefficients[0] = 0
        let small = ExactPolynomial(coefficients, width: 4)
        #expect(ExactPolynomial(lifting: small.residues(basis)).extended(to: 4) == small)
        // (Q - 1) / 2 is inside; one more is -(Q - 1) / 2.
        var halves = RNSPolynomial(basis: basis, form: .coefficient)
        for (row, modulus) in basis.moduli.enumerated() {
            halves.withMutableRow(row) {
                $0[0] = modulus.value / 2
                $0[1] = modulus.value / 2 + 1
            }
        }
        let lifted = ExactPolynomial(lifting: halves)
        let half = basis.moduli.reduce(0.5) { $0 * Double($1.value) }
        #expect(abs(lifted.doubles[0] / half - 1) < 1e-15)
        #expect(lifted.doubles[1] == -lifted.doubles[0])
    }

    @Test("decoding is exact before the transform: the constant of a lifted polynomial")
    func decoding() throws {
        let encoder = try CKKSEncoder(context)
        var random = SeededGenerator(4)
        for level in 1...4 {
            let basis = context.ciphertextBasis(level: level)
            var polynomial = RNSPolynomial(basis: basis, form: .coefficient)
            for (row, modulus) in basis.moduli.enumerated() {
                polynomial.withMutableRow(row) {
                    $0[0] = UInt64.random(in: 0..<modulus.value, using: &random)
                }
            }
            let expected = ExactPolynomial(lifting: polynomial).doubles[0]
            polynomial.transform()
            let decoded = try encoder.decodeComplex(CKKSPlaintext(polynomial: polynomial, scale: 1))
            #expect(
                decoded.allSatisfy {
                    abs($0.real / expected - 1) < 1e-13 && abs($0.imaginary / expected) < 1e-13
                })
        }
    }
}
