import ComplexModule
import HomomorphicEncryption
import RLWE
import RealModule
import Testing

/// Encoding at the edges of what a Double, a scale and a modulus hold.
@Suite struct EncoderExtremesTests {
    private func encoder(_ preset: ParameterPreset) throws -> CKKSEncoder {
        try CKKSEncoder(EncryptionContext.shared(preset.parameters))
    }

    private func small() throws -> CKKSEncoder {
        try encoder(#require(ParameterPreset.named("ckks-12")))
    }

    /// Centered coefficients modulo the first prime.
    private func coefficients(_ plaintext: CKKSPlaintext) -> [Int64] {
        var polynomial = plaintext.polynomial
        polynomial.inverseTransform()
        let q = polynomial.basis.moduli[0].value
        return polynomial.withRow(0) { words in
            (0..<polynomial.degree).map {
                words[$0] > q / 2 ? Int64(words[$0]) - Int64(q) : Int64(words[$0])
            }
        }
    }

    private func values(_ count: Int) -> [Complex<Double>] {
        (0..<count).map { Complex(.sin(Double($0 * 7)), .cos(Double($0 * 5 + 1))) }
    }

    @Test("coefficients are the direct sum over all slots, rounded to the nearest integer")
    func direct() throws {
        let prime = try #require(Primes.nttPrimes(bits: 50, degree: 2048, count: 1).first)
        let parameters = try EncryptionParameters(scheme: .ckks, logN: 11, q: [prime], p: [], alpha: 0)
        let encoder = try CKKSEncoder(EncryptionContext(parameters))
        let n = encoder.context.degree
        let scale = 0x1p30
        let values = values(n / 2)
        // zeta^k, zeta = exp(pi i / N), for every k below 2N.
        let roots = (0..<2 * n).map {
            Complex<Double>(.cos(.pi * Double($0) / Double(n)), .sin(.pi * Double($0) / Double(n)))
        }
        var exponents: [Int] = []
        var exponent = 1
        for _ in values {
            exponents.append(exponent)
            exponent = exponent * 3 % (2 * n)
        }
        // The polynomial is real: coefficient k is 2/N of the sum of Re(z_i conj(zeta_i^k)).
        let exact = (0..<n).map { k in
            zip(values, exponents).reduce(0) { $0 + ($1.0 * roots[$1.1 * k % (2 * n)].conjugate).real }
                * 2 / Double(n) * scale
        }
        let plaintext = try encoder.encode(complex: values, scale: scale)
        let encoded = coefficients(plaintext)
        #expect(zip(encoded, exact).allSatisfy { abs(Double($0) - $1) < 0.5 + 1e-5 })

        // And the slots of these integers, summed directly, are what decoding gives.
        let decoded = try encoder.decodeComplex(plaintext)
        for slot in stride(from: 0, to: n / 2, by: 37) {
            let sum = (0..<n).reduce(Complex<Double>.zero) {
                $0 + Complex(Double(encoded[$1])) * roots[exponents[slot] * $1 % (2 * n)]
            }
            #expect((sum / Complex(scale) - decoded[slot]).length < 1e-11)
        }
        // Rounding each coefficient by a half at most moves a slot by N/2 at most; by far less, in fact:
        // N roundings of variance 1/12 reach eight deviations nowhere.
        let bound = 8 * (Double(n) / 12).squareRoot() / scale
        #expect(zip(decoded, values).allSatisfy { ($0 - $1).length < bound })
    }

    @Test("decoding undoes encoding, for no values, one and all, at every level", arguments: ParameterPreset.all)
    func roundTrip(preset: ParameterPreset) throws {
        let encoder = try encoder(preset)
        let scale = Double(sign: .plus, exponent: preset.scaleBits, significand: 1)
        let bound = 8 * (Double(encoder.context.degree) / 12).squareRoot() / scale
        for level in Set([1, 2, encoder.context.maximumLevel]) {
            for count in [0, 1, encoder.slotCount] {
                let values = values(count)
                let decoded = try encoder.decodeComplex(encoder.encode(complex: values, scale: scale, level: level))
                let padding = repeatElement(Complex<Double>.zero, count: encoder.slotCount - count)
                #expect(zip(values + padding, decoded).allSatisfy { ($0 - $1).length < bound })
            }
        }
    }

    @Test("slots of the conjugate element are the conjugates")
    func conjugation() throws {
        let encoder = try small()
        let values = values(encoder.slotCount)
        let plaintext = try encoder.encode(complex: values, scale: 0x1p30)
        let automorphism = GaloisAutomorphism(element: 2 * encoder.context.degree - 1, degree: encoder.context.degree)
        let image = CKKSPlaintext(polynomial: plaintext.polynomial.applying(automorphism), scale: plaintext.scale)
        let (decoded, mirrored) = (try encoder.decodeComplex(plaintext), try encoder.decodeComplex(image))
        #expect(zip(decoded, mirrored).allSatisfy { ($0.conjugate - $1).length < 1e-12 })
    }

    @Test("zeros of both signs and what lies below half a unit encode to nothing")
    func nothing() throws {
        let encoder = try small()
        let tiny: [Double] = [0, -0.0, .leastNonzeroMagnitude, -.leastNormalMagnitude, .leastNormalMagnitude / 3]
        for count in [1, tiny.count] {
            #expect(try encoder.encode(Array(tiny.prefix(count)), scale: 0x1p60).polynomial.isZero)
        }
        let zeros = [Double](repeating: -0.0, count: encoder.slotCount)
        #expect(try encoder.encode(zeros, scale: 1).polynomial.isZero)
        let decoded = try encoder.decodeComplex(encoder.encode(tiny, scale: 1))
        #expect(decoded.allSatisfy { $0 == .zero })
    }

    @Test("a constant that is a power of two is exact for every exponent that fits", arguments: [1, -1] as [Double])
    func powers(sign: Double) throws {
        let encoder = try small()
        for scaleBits in [0, 1, 20, 31, 60] {
            for exponent in stride(from: -scaleBits, through: 66 - scaleBits, by: 3) {
                let value = Double(sign: .plus, exponent: exponent, significand: sign)
                let scale = Double(sign: .plus, exponent: scaleBits, significand: 1)
                let plaintext = try encoder.encode([Double](repeating: value, count: encoder.slotCount), scale: scale)
                let decoded = try encoder.decodeComplex(plaintext)
                #expect(decoded.allSatisfy { $0 == Complex(value) }, "2^\(exponent) at scale 2^\(scaleBits)")
            }
        }
    }

    @Test("half the modulus is the edge of the range, on both sides of zero")
    func range() throws {
        let encoder = try small()
        let q = encoder.context.parameters.q[0]
        func constant(_ value: Double, level: Int) throws -> CKKSPlaintext {
            try encoder.encode([Double](repeating: value, count: encoder.slotCount), scale: 1, level: level)
        }
        let largest = Double(q / 2)
        for value in [largest, -largest] {
            #expect(try coefficients(constant(value, level: 1))[0] == Int64(value))
            #expect(try encoder.decodeReal(constant(value, level: 1)).allSatisfy { $0 == value })
        }
        for value in [largest + 1, -largest - 1, largest * 2, 0x1p200] {
            #expect(throws: HEError.self) { try constant(value, level: 1) }
        }
        for preset in ParameterPreset.all {
            let encoder = try self.encoder(preset)
            // The largest preset's modulus lies beyond what a Double holds, and the transform sums N values.
            let bits = min(encoder.context.modulusBits(level: encoder.context.maximumLevel), 1000)
            let value = Double.exp2(bits - 1.000_001)
            let slots = encoder.slotCount
            let decoded = try encoder.decodeReal(encoder.encode([Double](repeating: value, count: slots), scale: 1))
            #expect(decoded.allSatisfy { abs($0 / value - 1) < 1e-12 })
            guard bits < 1000 else { continue }
            #expect(throws: HEError.self) {
                try encoder.encode([Double](repeating: value * 1.000_01, count: slots), scale: 1)
            }
        }
    }

    @Test("a huge imaginary part is as good as a huge real part")
    func imaginary() throws {
        let encoder = try small()
        let huge = Complex(1e-3, 0x1p30)
        let decoded = try encoder.decodeComplex(
            encoder.encode(complex: [Complex<Double>](repeating: huge, count: encoder.slotCount), scale: 0x1p20))
        #expect(decoded.allSatisfy { ($0 - huge).length < 1e-2 })
        #expect(throws: HEError.self) {
            try encoder.encode(complex: [Complex(0, 0x1p80)], scale: 0x1p20)
        }
    }

    @Test(
        "values whose sums pass the largest Double are refused, however many there are",
        arguments: [1, 2, 3, 4, 5, 8, 100, 2047, 2048])
    func overflow(count: Int) throws {
        let encoder = try small()
        // Infinities that meet in the transform make NaN, which no comparison may miss.
        for scale in [1, 0x1p31, .greatestFiniteMagnitude] {
            let huge = [Double](repeating: .greatestFiniteMagnitude, count: count)
            let error = #expect(throws: HEError.self) { try encoder.encode(huge, scale: scale) }
            let text = error.map { "\($0)" } ?? ""
            // A number of bits is told where there is one.
            #expect(text.contains("is not finite") || text.contains("takes 10"), "\(text)")
            let mixed = (0..<count).map { Complex(huge[$0] * ($0 % 2 == 0 ? 1 : -1), huge[$0]) }
            #expect(throws: HEError.self) { try encoder.encode(complex: mixed, scale: scale) }
        }
    }

    @Test("the smallest scale rounds to whole numbers, a large one keeps all 53 bits")
    func scales() throws {
        let encoder = try encoder(try #require(ParameterPreset.named("ckks-14")))
        let values = values(encoder.slotCount)
        for bits in [60, 100, 200, 320] {
            let scale = Double(sign: .plus, exponent: bits, significand: 1)
            let decoded = try encoder.decodeComplex(encoder.encode(complex: values, scale: scale))
            #expect(zip(decoded, values).allSatisfy { ($0 - $1).length < 1e-12 })
        }
        let constant = try encoder.encode([Double](repeating: 2.6, count: encoder.slotCount), scale: 1)
        #expect(try encoder.decodeReal(constant).allSatisfy { $0 == 3 })
    }
}
