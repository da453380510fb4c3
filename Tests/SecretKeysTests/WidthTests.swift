import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// Results have the same bits for any number of threads, and by either set of kernels is for KernelTwinTests.
@Suite(.serialized) struct WidthTests {
    @Test("keys, products, rotations and decryptions", arguments: ["ckks-12", "ckks-14"])
    func same(name: String) throws {
        let preset = try #require(ParameterPreset.named(name))
        let context = try EncryptionContext(preset.parameters)
        let encoder = try CKKSEncoder(context)
        let seed = try Scheme1.seed([UInt8](1...32))
        let level = context.parameters.maximumEvaluationKeyLevel
        let scale = Double(sign: .plus, exponent: preset.scaleBits, significand: 1)
        let values = (0..<encoder.slotCount).map { Double($0 % 100) / 100 }
        let encrypted = try seed.publicKey(seed.secretKey(context)).encrypt(
            encoder.encode(values, scale: scale, level: level))
        func everything() throws -> [[UInt8]] {
            let secret = try seed.secretKey(context)
            let publicKey = try seed.publicKey(secret)
            let element = UInt32(GaloisAutomorphism.element(rotatingBy: 1, degree: context.degree))
            let relinearization = try seed.evaluationKey(
                EvaluationKeyID(kind: .relinearization, level: level), secret)
            let rotation = try seed.evaluationKey(
                EvaluationKeyID(kind: .galois, galois: element, level: level), secret)
            let several = try seed.evaluationKeys([relinearization.id, rotation.id, rotation.id], secret)
            #expect(
                several.map { $0.serialized() } == [relinearization, rotation, rotation].map { $0.serialized() })
            let keys = EvaluationKeySet([relinearization, rotation])
            let evaluator = CKKSEvaluator(context)
            let product = try evaluator.multiply(encrypted, encrypted, keys: keys)
            let rotated = try evaluator.rotate(encrypted, by: 1, keys: keys)
            let hoisted = try evaluator.rotate(encrypted, bySteps: [0, 1], keys: keys)
            #expect(hoisted.map { $0.serialized() } == [encrypted.serialized(), rotated.serialized()])
            let added = try evaluator.addRotations(encrypted, bySteps: [1, 0, 1], keys: keys)
            let decoded = try encoder.decodeReal(secret.decryptRaw(rotated))
            var results = [
                publicKey.serialized(), relinearization.serialized(), rotation.serialized(), product.serialized(),
                rotated.serialized(), added.serialized(), decoded.withUnsafeBytes { Array($0) },
            ]
            if level > 1 { results.append(try evaluator.rescale(product).serialized()) }
            return results
        }
        let alone = try everything()
        defer { Parallelism.width = 1 }
        for width in [2, 3, 8] {
            Parallelism.width = width
            let together = try everything()
            #expect(together == alone, "width \(width)")
        }
    }

    @Test(
        "rotations that are added up before they are divided by P are their sum, with no more noise",
        arguments: [("ckks-13", 2, 2), ("ckks-14", 4, 2), ("ckks-14", 4, 4)])
    func addedRotations(name: String, keyLevel: Int, level: Int) throws {
        let steps = [1, 17, 0, -3]
        let scheme = try Scheme1(name, rotations: [1, 17, -3], keyLevel: keyLevel)
        let values = scheme.values(1)
        let encrypted = try scheme.encrypt(values, level: level)
        let found = try scheme.decrypt(
            scheme.evaluator.addRotations(encrypted, bySteps: steps, keys: scheme.keys))
        let count = values.count
        let expected = values.indices.map { slot in
            steps.reduce(values[slot]) { $0 + values[(slot + $1 + count) % count] }
        }
        var oneByOne = encrypted
        for step in steps {
            oneByOne = try scheme.evaluator.add(
                oneByOne, scheme.evaluator.rotate(encrypted, by: step, keys: scheme.keys))
        }
        let error = largestError(found, expected)
        #expect(error <= 1.25 * largestError(try scheme.decrypt(oneByOne), expected))
        #expect(error < 1e-3)
        let same = try scheme.evaluator.addRotations(encrypted, bySteps: [], keys: EvaluationKeySet())
        #expect(same.serialized() == encrypted.serialized())
        let element = GaloisAutomorphism.element(rotatingBy: 5, degree: scheme.context.degree)
        #expect(throws: HEError.missingGaloisKey(element: element, steps: 5)) {
            try scheme.evaluator.addRotations(encrypted, bySteps: [1, 5], keys: scheme.keys)
        }
        let product = try scheme.evaluator.multiplyWithoutRelinearization(encrypted, encrypted)
        #expect(throws: HEError.unexpectedPolynomialCount(3, expected: "2: relinearize first")) {
            try scheme.evaluator.addRotations(product, bySteps: [1], keys: scheme.keys)
        }
    }

    @Test("rotations of one ciphertext by several steps name the key that is missing")
    func missingKey() throws {
        let scheme = try Scheme1("ckks-13", rotations: [1], keyLevel: 2)
        let encrypted = try scheme.encrypt(scheme.values(1), level: 2)
        let element = GaloisAutomorphism.element(rotatingBy: 5, degree: scheme.context.degree)
        #expect(throws: HEError.missingGaloisKey(element: element, steps: 5)) {
            try scheme.evaluator.rotate(encrypted, bySteps: [1, 5], keys: scheme.keys)
        }
        let same = try scheme.evaluator.rotate(encrypted, bySteps: [0, 0], keys: EvaluationKeySet())
        #expect(same.map { $0.serialized() } == [encrypted.serialized(), encrypted.serialized()])
    }
}
