import ComplexModule
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// Keys and tools for one preset.
struct Scheme1 {
    let context: EncryptionContext
    let encoder: CKKSEncoder
    let evaluator: CKKSEvaluator
    let publicKey: PublicKey
    let keys: EvaluationKeySet
    let scale: Double
    private let seedBytes: [UInt8]

    init(_ name: String, rotations: [Int] = [], conjugation: Bool = false, keyLevel: Int? = nil) throws {
        let preset = try #require(ParameterPreset.named(name))
        try self.init(
            preset.parameters, scaleBits: preset.scaleBits, rotations: rotations, conjugation: conjugation,
            keyLevel: keyLevel)
    }

    init(
        _ parameters: EncryptionParameters, scaleBits: Int, rotations: [Int] = [], conjugation: Bool = false,
        keyLevel: Int? = nil
    ) throws {
        context = try EncryptionContext(parameters)
        encoder = try CKKSEncoder(context)
        evaluator = CKKSEvaluator(context)
        scale = Double(sign: .plus, exponent: scaleBits, significand: 1)
        seedBytes = (0..<32).map { UInt8($0 * 7 & 0xFF) }
        let seed = try Self.seed(seedBytes)
        let secret = try seed.secretKey(context)
        publicKey = try seed.publicKey(secret)
        let level = keyLevel ?? context.maximumLevel
        var keys = [try seed.evaluationKey(EvaluationKeyID(kind: .relinearization, level: level), secret)]
        var elements = rotations.map { GaloisAutomorphism.element(rotatingBy: $0, degree: parameters.degree) }
        if conjugation { elements.append(2 * parameters.degree - 1) }
        for element in elements {
            keys.append(
                try seed.evaluationKey(EvaluationKeyID(kind: .galois, galois: UInt32(element), level: level), secret))
        }
        self.keys = EvaluationKeySet(keys)
    }

    static func seed(_ bytes: [UInt8]) throws -> Seed {
        guard let seed = Seed(try SecretBytes(copying: bytes)) else { throw HEError.malformedObject(reason: "seed") }
        return seed
    }

    func encrypt(_ values: [Complex<Double>], level: Int? = nil) throws -> Ciphertext {
        try publicKey.encrypt(encoder.encode(complex: values, scale: scale, level: level))
    }

    func decrypt(_ ciphertext: Ciphertext) throws -> [Complex<Double>] {
        let secret = try Self.seed(seedBytes).secretKey(context)
        return try encoder.decodeComplex(secret.decryptRaw(ciphertext))
    }

    func encryptSymmetric(_ values: [Complex<Double>]) throws -> Ciphertext {
        try Self.seed(seedBytes).secretKey(context).encrypt(encoder.encode(complex: values, scale: scale))
    }

    func encryptSeeded(_ values: [Complex<Double>]) throws -> SeededCiphertext {
        try Self.seed(seedBytes).secretKey(context).encryptSeeded(encoder.encode(complex: values, scale: scale))
    }

    func values(_ seed: Int) -> [Complex<Double>] {
        (0..<encoder.slotCount).map { Complex(.cos(Double($0 * 3 + seed)), .sin(Double($0 * 5 + seed * 11))) }
    }
}

func largestError(_ left: [Complex<Double>], _ right: [Complex<Double>]) -> Double {
    zip(left, right).reduce(0) { max($0, ($1.0 - $1.1).length) }
}

@Suite struct HomomorphismTests {
    @Test("decryption undoes encryption", arguments: ["ckks-12", "ckks-13", "ckks-14", "ckks-15"])
    func roundTrip(preset: String) throws {
        let scheme = try Scheme1(preset)
        let values = scheme.values(1)
        let bound = Double(scheme.context.degree) * 64 / scheme.scale
        #expect(try largestError(scheme.decrypt(scheme.encrypt(values)), values) < bound)
        #expect(try largestError(scheme.decrypt(scheme.encryptSymmetric(values)), values) < bound)
        #expect(try largestError(scheme.decrypt(scheme.encrypt(values, level: 1)), values) < bound)
    }

    @Test("every operation does to slots what its name says", arguments: ["ckks-13", "ckks-14", "ckks-15"])
    func operations(preset: String) throws {
        let scheme = try Scheme1(preset, rotations: [1, -3, 64], conjugation: true)
        let evaluator = scheme.evaluator
        let (x, y) = (scheme.values(1), scheme.values(2))
        let (cx, cy) = (try scheme.encrypt(x), try scheme.encrypt(y))
        let py = try scheme.encoder.encode(complex: y, scale: scheme.scale)
        let tolerance = 1e-3
        func check(_ ciphertext: Ciphertext, _ expected: [Complex<Double>], _ name: Comment) throws {
            #expect(try largestError(scheme.decrypt(ciphertext), expected) < tolerance, name)
        }
        try check(evaluator.add(cx, cy), zip(x, y).map(+), "add")
        try check(evaluator.subtract(cx, cy), zip(x, y).map(-), "subtract")
        try check(evaluator.negate(cx), x.map { -$0 }, "negate")
        try check(evaluator.add(cx, py), zip(x, y).map(+), "add plaintext")
        try check(evaluator.subtract(cx, py), zip(x, y).map(-), "subtract plaintext")
        try check(evaluator.rescale(evaluator.multiply(cx, py)), zip(x, y).map(*), "multiply plaintext")
        let product = try evaluator.multiplyWithoutRelinearization(cx, cy)
        try check(product, zip(x, y).map(*), "three polynomials")
        try check(evaluator.rescale(evaluator.multiply(cx, cy, keys: scheme.keys)), zip(x, y).map(*), "multiply")
        for steps in [1, -3, 64] {
            let n = x.count
            let expected = (0..<n).map { x[($0 + steps + n) % n] }
            try check(evaluator.rotate(cx, by: steps, keys: scheme.keys), expected, "rotate by \(steps)")
        }
        try check(evaluator.conjugate(cx, keys: scheme.keys), x.map(\.conjugate), "conjugate")
        try check(evaluator.dropLevel(cx, to: 2), x, "drop")
    }

    @Test("squaring to the last level stays right", arguments: ["ckks-13", "ckks-14"])
    func depth(preset: String) throws {
        let scheme = try Scheme1(preset)
        var expected = scheme.values(3).map { $0 * Complex(0.99) / Complex(max($0.length, 1)) }
        var ciphertext = try scheme.encrypt(expected)
        while ciphertext.level > 1 {
            ciphertext = try scheme.evaluator.rescale(scheme.evaluator.square(ciphertext, keys: scheme.keys))
            expected = expected.map { $0 * $0 }
            #expect(try largestError(scheme.decrypt(ciphertext), expected) < 2e-3)
        }
    }

    @Test("keys serve every lower level, and a key of a lower level its own")
    func levels() throws {
        let high = try Scheme1("ckks-14", rotations: [1])
        let low = try Scheme1("ckks-14", rotations: [1], keyLevel: 3)
        let x = high.values(4)
        for level in 1...8 {
            let ciphertext = try high.encrypt(x, level: level)
            let expected = (0..<x.count).map { x[($0 + 1) % x.count] }
            let rotated = try high.evaluator.rotate(ciphertext, by: 1, keys: high.keys)
            #expect(try largestError(high.decrypt(rotated), expected) < 1e-4)
            if level <= 3 {
                let other = try low.evaluator.rotate(ciphertext, by: 1, keys: low.keys)
                #expect(try largestError(high.decrypt(other), expected) < 1e-4)
            } else {
                #expect(throws: HEError.keyLevelTooLow(keyLevel: 3, needed: level)) {
                    try low.evaluator.rotate(ciphertext, by: 1, keys: low.keys)
                }
            }
        }
    }

    @Test("what does not fit together is named")
    func mismatches() throws {
        let scheme = try Scheme1("ckks-13")
        let other = try Scheme1("ckks-14")
        let x = scheme.values(1)
        let cx = try scheme.encrypt(x)
        let lower = try scheme.evaluator.dropLevel(cx, to: 2)
        let evaluator = scheme.evaluator
        #expect(throws: HEError.levelMismatch(4, 2)) { try evaluator.add(cx, lower) }
        #expect(throws: HEError.parameterMismatch) { try evaluator.add(cx, other.encrypt(other.values(1))) }
        #expect(throws: HEError.parameterMismatch) { try scheme.decrypt(other.encrypt(other.values(1))) }
        let twice = try scheme.publicKey.encrypt(scheme.encoder.encode(complex: x, scale: scheme.scale * 2))
        #expect(throws: HEError.scaleMismatch(scheme.scale, scheme.scale * 2)) { try evaluator.add(cx, twice) }
        #expect(throws: HEError.missingGaloisKey(element: 3, steps: 1)) {
            try evaluator.rotate(cx, by: 1, keys: scheme.keys)
        }
        #expect(throws: HEError.missingRelinearizationKey) {
            try evaluator.multiply(cx, cx, keys: EvaluationKeySet())
        }
        #expect(throws: HEError.noLevelsLeft) { try evaluator.rescale(evaluator.dropLevel(cx, to: 1)) }
        let bottom = try evaluator.dropLevel(cx, to: 1)
        #expect(throws: HEError.scaleOverflow(scaleBits: 72, modulusBits: 49)) {
            try evaluator.multiply(bottom, bottom, keys: scheme.keys)
        }
        let three = try evaluator.multiplyWithoutRelinearization(cx, cx)
        #expect(throws: HEError.self) { try evaluator.rotate(three, by: 1, keys: scheme.keys) }
    }

    @Test("a switching key moves ciphertexts to the new secret")
    func switching() throws {
        let context = try EncryptionContext(try #require(ParameterPreset.named("ckks-13")).parameters)
        let oldSeed = try Scheme1.seed([UInt8](repeating: 1, count: 32))
        let newSeed = try Scheme1.seed([UInt8](repeating: 2, count: 32))
        let old = try oldSeed.secretKey(context)
        let new = try newSeed.secretKey(context)
        let id = EvaluationKeyID(kind: .switching, level: 4)
        let key = try newSeed.switchingKey(id, from: old, to: new)
        let encoder = try CKKSEncoder(context)
        let values = (0..<16).map { Double($0) / 16 }
        let ciphertext = try oldSeed.publicKey(old).encrypt(encoder.encode(values, scale: 0x1p36))
        let switched = try CKKSEvaluator(context).switchSecret(ciphertext, with: key)
        let decoded = try encoder.decodeReal(new.decryptRaw(switched), count: 16)
        #expect(zip(values, decoded).allSatisfy { abs($0 - $1) < 1e-4 })
        #expect(try abs(encoder.decodeReal(old.decryptRaw(switched), count: 1)[0]) > 1)
    }
}
