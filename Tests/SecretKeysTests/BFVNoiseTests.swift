import HomomorphicEncryption
import RLWE
import SecretKeys
import TestSupport
import Testing

/// BFV's exact noise against ``BFVNoiseBound``: below it, and not far below.
///
/// The bound fails with a probability of 2^-128 and the largest of thousands of coefficients has a narrow
/// distribution, so the fresh randomness of encryption never decides a test.
@Suite struct BFVNoiseTests {
    private func expect(
        _ bound: BFVNoiseBound, over noiseBits: Double, within slack: Double, _ comment: Comment,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect((0...slack).contains(bound.bits - noiseBits), comment, sourceLocation: sourceLocation)
        // The noise of deep circuits differs by bits from one run to the next.
        let spread = 2 + slack / 8
        #expect((-spread...spread).contains(noiseBits - bound.typicalBits), comment, sourceLocation: sourceLocation)
    }

    @Test("one operation", arguments: ["bfv-12", "bfv-13", "bfv-14", "bfv-15"])
    func operations(preset: String) throws {
        let bench = try BFVBench(preset, rotations: [1])
        let evaluator = bench.evaluator
        let (x, y) = (bench.random(1), bench.random(2))
        for level in [bench.context.maximumLevel, 2] {
            let (cx, cy) = (try bench.encrypt(x, level: level), try bench.encrypt(y, level: level))
            let fresh = try BFVNoiseBound.publicKeyEncryption(bench.context, level: level)
            expect(fresh, over: try bench.noiseBits(cx, of: x), within: 2.5, "public key")
            let secret = try BFVNoiseBound.secretKeyEncryption(bench.context, level: level)
            let symmetric = try bench.encryptSymmetric(x, level: level)
            expect(secret, over: try bench.noiseBits(symmetric, of: x), within: 3, "secret key")
            let sum = try bench.noiseBits(evaluator.add(cx, cy), of: bench.sum(x, y))
            expect(try fresh.adding(fresh), over: sum, within: 3, "sum")
            let shifted = try evaluator.subtract(cx, bench.encoder.encode(y))
            expect(
                fresh.addingPlaintext(), over: try bench.noiseBits(shifted, of: bench.difference(x, y)), within: 2.5,
                "difference with a plaintext")
            let rotated = try evaluator.rotateRows(cx, by: 1, keys: bench.keys)
            let rotation = try fresh.rotated()
            expect(rotation, over: try bench.noiseBits(rotated, of: bench.rotated(x, by: 1)), within: 3.5, "rotation")
            let known = try evaluator.multiply(cx, bench.encoder.encode(y))
            expect(
                fresh.multipliedByPlaintext(), over: try bench.noiseBits(known, of: bench.product(x, y)), within: 9,
                "known factor")
            let dropped = try evaluator.dropLevel(known, to: 1)
            expect(
                try fresh.multipliedByPlaintext().droppingLevel(to: 1),
                over: try bench.noiseBits(dropped, of: bench.product(x, y)), within: 9, "modulus switch")
            let product = try evaluator.multiply(cx, cy, keys: bench.keys)
            let bound = try fresh.multiplied(by: fresh)
            expect(bound, over: try bench.noiseBits(product, of: bench.product(x, y)), within: 6, "product")
        }
    }

    @Test("a message that gathers its power in one slot is covered")
    func concentrated() throws {
        let bench = try BFVBench("bfv-13")
        let n = bench.context.degree
        // Coefficients of t/2, signs those of cos(2 pi k 1001 / 2N): the worst for one complex slot.
        var polynomial = RNSPolynomial(basis: try bench.context.plaintextBasis(), form: .coefficient)
        polynomial.withMutableRow(0) { row in
            for k in 0..<n {
                let phase = k * 1001 % (2 * n)
                row[k] = phase < n / 2 || phase >= 3 * n / 2 ? 32768 : 32769
            }
        }
        let factor = BFVPlaintext(polynomial: polynomial)
        let x = bench.random(3)
        let slots = try bench.encoder.decode(factor)
        let known = try bench.evaluator.multiply(bench.encrypt(x), factor)
        let bound = try BFVNoiseBound.publicKeyEncryption(bench.context).multipliedByPlaintext()
        expect(bound, over: try bench.noiseBits(known, of: bench.product(x, slots)), within: 9, "one slot")
    }

    @Test("products to the depth of every preset, by squaring and by fresh factors", arguments: BFVParameterPreset.all)
    func depth(preset: BFVParameterPreset) throws {
        let bench = try BFVBench(preset.parameters)
        var (x, bound) = (bench.random(4), try BFVNoiseBound.publicKeyEncryption(bench.context))
        let fresh = bound
        var ciphertext = try bench.encrypt(x)
        let (y, cy) = (x, ciphertext)
        for depth in 1...preset.depth {
            if depth % 3 == 2 {
                ciphertext = try bench.evaluator.multiply(ciphertext, cy, keys: bench.keys)
                (x, bound) = (bench.product(x, y), try bound.multiplied(by: fresh))
            } else {
                ciphertext = try bench.evaluator.square(ciphertext, keys: bench.keys)
                (x, bound) = (bench.product(x, x), try bound.multiplied(by: bound))
            }
            #expect(try bench.decrypt(ciphertext) == x, "depth \(depth)")
            try bound.requireDecryptable()
            guard depth <= 4 || depth % 5 == 0 || depth == preset.depth else { continue }
            expect(
                bound, over: try bench.noiseBits(ciphertext, of: x), within: 5 + 2.5 * Double(depth), "depth \(depth)")
        }
    }

    @Test("messages are scaled to within 1/2 of Q/t m, exactly", arguments: BFVParameterPreset.all)
    func scaling(preset: BFVParameterPreset) throws {
        let context = try EncryptionContext.shared(preset.parameters)
        let encoder = try BFVEncoder(context)
        let t = Int64(encoder.modulus)
        var random = SeededGenerator(9)
        let values = (0..<encoder.slotCount).map { _ in Int64.random(in: encoder.signedRange, using: &random) }
        let plaintext = try encoder.encode(values)
        for level in Set([1, 2, context.maximumLevel]) {
            let basis = context.ciphertextBasis(level: level)
            let scaled = try context.messageScaling(level: level).scaled(plaintext)
            let exact = ExactPolynomial(lifting: scaled)
            let message = plaintext.polynomial.withRow(0) { row in
                (0..<context.degree).map { Int64(row[$0]) > t / 2 ? Int64(row[$0]) - t : Int64(row[$0]) }
            }
            // t round(Q/t m) - Q m, word by word: Q is the product of the primes.
            let width = exact.width + 2
            func multiplied(_ x: ExactPolynomial, by factors: [UInt64]) -> ExactPolynomial {
                factors.reduce(x.extended(to: width)) { $0.multiplied(by: $1) }
            }
            let error =
                multiplied(exact, by: [UInt64(t)])
                - multiplied(ExactPolynomial(message, width: width), by: basis.moduli.map(\.value))
            #expect(error.doubles.allSatisfy { $0.magnitude <= Double(t / 2) }, "level \(level)")
        }
    }

    @Test("decryption is right up to Q/2t, and wrong from there", arguments: BFVParameterPreset.all)
    func limit(preset: BFVParameterPreset) throws {
        let context = try EncryptionContext.shared(preset.parameters)
        let encoder = try BFVEncoder(context)
        let t = encoder.modulus
        let plaintext = try encoder.encode((0..<encoder.slotCount).map { Int64($0 * $0 % 65537) - 32768 })
        let message = plaintext.polynomial.withRow(0) { row in (0..<context.degree).map { row[$0] } }
        for level in 1...context.maximumLevel where level < 5 || level == context.maximumLevel {
            let scaling = try context.messageScaling(level: level)
            let scaled = scaling.scaled(plaintext)
            // floor(Q / 2t), less or plus 2^-42 of it.
            let moduli = context.ciphertextBasis(level: level).moduli
            let remainder = moduli.reduce(UInt64(1)) {
                (2 * t).dividingFullWidth($0.multipliedFullWidth(by: $1.value % (2 * t))).remainder
            }
            // At the lowest levels that is less than 1.
            let exponent = Int(context.modulusBits(level: level)) - 17 - 42
            for (sign, expected) in [(1, 0), (-1, 0), (1, 1), (-1, -1)] {
                var noise = RNSPolynomial(basis: context.ciphertextBasis(level: level), form: .coefficient)
                for (row, modulus) in moduli.enumerated() {
                    let q = modulus.value
                    let limit = modulus.multiply(q - remainder % q, modulus.inverse(2 * t % q))
                    let step = (0..<max(0, exponent)).reduce(UInt64(1)) { power, _ in modulus.multiply(power, 2) }
                    // Above, one unit for the limit's own rounding and one for the message's.
                    let value = (expected == 0 ? limit + q - step : limit + step + 2) % q
                    noise.withMutableRow(row) {
                        $0.update(repeating: sign > 0 || value == 0 ? value : q - value, count: context.degree)
                    }
                }
                noise.transform()
                let found = scaling.message(of: scaled + noise).polynomial.withRow(0) { row in
                    (0..<context.degree).map { row[$0] }
                }
                let right = message.map { UInt64(Int64($0 + t) + Int64(expected)) % t }
                #expect(found == right, "level \(level), sign \(sign), expected \(expected)")
            }
        }
    }

    @Test("a profile says beforehand what a circuit would do")
    func profiles() throws {
        let context = try EncryptionContext(#require(BFVParameterPreset.named("bfv-13")).parameters)
        try BFVCircuitProfile([.multiply, .sum(64), .rotate, .multiplyPlaintext, .addPlaintext]).check(context)
        try BFVCircuitProfile([.multiply, .dropLevel(3), .multiply]).check(context)
        #expect(throws: HEError.decryptionMayFail(noiseBits: 170, limitBits: 153)) {
            try BFVCircuitProfile(Array(repeating: .multiply, count: 5)).check(context)
        }
        #expect(throws: HEError.decryptionMayFail(noiseBits: 199, limitBits: 153)) {
            try BFVCircuitProfile([.sum(1 << 62), .sum(1 << 62), .sum(1 << 62)]).check(context)
        }
        for level in [-1, 0, 5] {
            #expect(throws: HEError.invalidLevel(level, maximum: 4)) {
                try BFVCircuitProfile([.dropLevel(level)]).check(context)
            }
            #expect(throws: HEError.invalidLevel(level, maximum: 4)) {
                try BFVCircuitProfile([], level: level).check(context)
            }
        }
        #expect(throws: HEError.invalidLevel(3, maximum: 2)) {
            try BFVCircuitProfile([.dropLevel(2), .dropLevel(3)]).check(context)
        }
        for count in [0, -1] {
            #expect(throws: HEError.self) { try BFVCircuitProfile([.sum(count)]).check(context) }
        }
        let high = try BFVNoiseBound.publicKeyEncryption(context)
        #expect(throws: HEError.levelMismatch(4, 3)) { try high.adding(high.droppingLevel(to: 3)) }
        let keyless = try EncryptionContext(
            EncryptionParameters(
                scheme: .bfv, logN: 13, q: context.parameters.q, p: [], alpha: 0, t: 65537))
        try BFVCircuitProfile([.sum(2), .multiplyPlaintext]).check(keyless)
        for step in [BFVCircuitProfile.Step.multiply, .rotate] {
            #expect(throws: HEError.self) { try BFVCircuitProfile([step]).check(keyless) }
        }
    }
}
