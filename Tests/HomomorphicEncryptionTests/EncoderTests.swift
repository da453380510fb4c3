import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule
import Testing

@Suite struct EncoderTests {
    private func encoder(_ preset: String) throws -> CKKSEncoder {
        try CKKSEncoder(EncryptionContext(try #require(ParameterPreset.named(preset)).parameters))
    }

    @Test("decode undoes encode for any count and scale", arguments: [10, 30, 45, 61, 80, 100, 180] as [Int])
    func roundTrip(scaleBits: Int) throws {
        let encoder = try encoder("ckks-14")
        let scale = Double(sign: .plus, exponent: scaleBits, significand: 1)
        for count in [0, 1, 3, 1000, encoder.slotCount] {
            let values = (0..<count).map { Complex(Double.sin(Double($0)), Double.cos(Double(3 * $0))) }
            let decoded = try encoder.decodeComplex(encoder.encode(complex: values, scale: scale))
            let padded = values + [Complex<Double>](repeating: .zero, count: encoder.slotCount - count)
            // N/2 roundings of at most half a unit, and the Double transform itself.
            let bound = Double(encoder.slotCount) / scale + 1e-12
            #expect(zip(padded, decoded).allSatisfy { ($0 - $1).length < bound })
        }
        let reals = (0..<encoder.slotCount).map { Double($0) - 4000.5 }
        if scaleBits > 20 {
            let decoded = try encoder.decodeReal(encoder.encode(reals, scale: scale))
            #expect(zip(reals, decoded).allSatisfy { abs($0 - $1) < 1e-2 })
        }
    }

    @Test("slot i is the value at zeta^(3^i), so that X -> X^3 moves slots by one")
    func slotOrder() throws {
        let encoder = try encoder("ckks-12")
        let values = (0..<encoder.slotCount).map { Double($0) }
        let plaintext = try encoder.encode(values, scale: 0x1p20)
        let automorphism = GaloisAutomorphism(element: 3, degree: encoder.context.degree)
        let moved = CKKSPlaintext(polynomial: plaintext.polynomial.applying(automorphism), scale: plaintext.scale)
        let decoded = try encoder.decodeReal(moved)
        #expect((0..<values.count).allSatisfy { abs(decoded[$0] - values[($0 + 1) % values.count]) < 0.1 })
    }

    @Test("a constant is the constant polynomial")
    func constant() throws {
        let encoder = try encoder("ckks-12")
        let plaintext = try encoder.encode([Double](repeating: 2.5, count: encoder.slotCount), scale: 1024)
        var polynomial = plaintext.polynomial
        polynomial.inverseTransform()
        polynomial.withRow(0) { words in
            #expect(words[0] == 2560)
            #expect((1..<encoder.context.degree).allSatisfy { words[$0] == 0 })
        }
    }

    @Test("what cannot be encoded is named")
    func errors() throws {
        let encoder = try encoder("ckks-12")
        #expect(throws: HEError.notFinite(index: 1)) { try encoder.encode([1, .nan], scale: 1024) }
        #expect(throws: HEError.notFinite(index: 0)) { try encoder.encode([.infinity], scale: 1024) }
        #expect(throws: HEError.notFinite(index: 0)) {
            try encoder.encode(complex: [Complex(1, -.infinity)], scale: 1024)
        }
        #expect(throws: HEError.tooManyValues(count: 2049, slots: 2048)) {
            try encoder.encode([Double](repeating: 0, count: 2049), scale: 1024)
        }
        #expect(throws: HEError.self) { try encoder.encode([0x1p60], scale: 0x1p30) }
        #expect(throws: HEError.self) { try encoder.encode([.greatestFiniteMagnitude], scale: 0x1p30) }
        for scale in [0, -1, .nan, .infinity, 0.5] as [Double] {
            #expect(throws: HEError.self) { try encoder.encode([1], scale: scale) }
        }
        #expect(throws: HEError.invalidLevel(3, maximum: 2)) { try encoder.encode([1], scale: 1024, level: 3) }
        #expect(throws: HEError.invalidLevel(0, maximum: 2)) { try encoder.encode([1], scale: 1024, level: 0) }
    }
}
