import Attestation
import EncryptedInference
import HomomorphicEncryption
import Testing

@Suite struct CompiledModelTests {
    /// Scores under encryption, next to those in the clear.
    private func largestError(_ model: CompiledModel, _ keys: TestKeys, _ records: [Record]) throws -> Double {
        let descriptor = ModelDescriptor(model, unit: "unit-1")
        let expected = model.model.evaluateInTheClear(try descriptor.inputVectors(of: records))
        var scores: [Double] = []
        for slots in try descriptor.slots(of: records) {
            let output = try model.evaluate(keys.encrypt(slots, for: model), keys: keys.set)
            #expect(output.level == model.plan.profile.outputLevel)
            #expect(output.polynomials.count == 2)
            let count = min(records.count - scores.count, model.plan.packing.batch)
            scores += model.plan.packing.scores(try keys.decrypt(output), count: count)
        }
        #expect(scores.count == expected.count)
        return zip(scores, expected).reduce(0) { max($0, abs($1.0 - $1.1)) }
    }

    @Test("heart disease: encrypted scores are those in the clear")
    func heartDisease() throws {
        let model = try CompiledModel(HeartDisease.model())
        let keys = try TestKeys(model.plan.profile)
        let records = try HeartDisease.records()
        #expect(records.count >= 64)
        #expect(records.contains { $0.fields.values.contains(.missing) })
        #expect(try largestError(model, keys, records) < 1e-3)
        // One more than a batch, and one alone.
        #expect(try largestError(model, keys, Array((records + records).prefix(65))) < 1e-3)
        #expect(try largestError(model, keys, Array(records.prefix(1))) < 1e-3)
    }

    @Test(
        "networks of other shapes",
        arguments: [
            "1-1", "1-1sq", "29-1", "3-4sq-1", "1-5sq-1", "3-1-4sq-1", "7-2-6-1", "2-3sqsq-1", "5-8sq-3sq-1",
            "29-20sq-5sq-1sq",
            // Nine layers, for ckks-15.
            "2-2sq-2sq-2sq-2sq-1",
        ])
    func networks(text: String) throws {
        for seed in 1...(text == "3-4sq-1" ? 3 : 1) as ClosedRange<UInt64> {
            let network = try Network(text, seed: seed)
            let model = try network.compiled()
            let keys = try TestKeys(model.plan.profile)
            #expect(try largestError(model, keys, network.records(40, seed: seed)) < 1e-3, "seed \(seed)")
        }
    }

    @Test("a full batch is computed in all its slots")
    func fullBatch() throws {
        let network = try Network("3-4sq-1")
        let model = try network.compiled()
        let keys = try TestKeys(model.plan.profile)
        #expect(model.plan.packing.batch == 1024)
        #expect(try largestError(model, keys, network.records(1024)) < 1e-3)
    }

    @Test("the same input and keys give the same bytes, from any objects that hold them")
    func determinism() throws {
        let network = try Network("5-8sq-3sq-1")
        let model = try network.compiled()
        let keys = try TestKeys(model.plan.profile)
        let slots = try ModelDescriptor(model, unit: "unit-1").slots(of: network.records(5))[0]
        let input = try keys.encrypt(slots, for: model)
        let expected = try model.evaluate(input, keys: keys.set).serialized()
        #expect(try model.evaluate(input, keys: keys.set).serialized() == expected)
        // As another unit would: its own context, keys and input from bytes, the model compiled again.
        let context = try EncryptionContext(model.plan.profile.parameters)
        let readKeys = try keys.list.map { try EvaluationKey(serialized: $0.serialized(), context: context) }
        let readInput = try Ciphertext(serialized: input.serialized(), context: context)
        let other = try network.compiled()
        #expect(
            try other.evaluate(readInput, keys: EvaluationKeySet(readKeys.reversed())).serialized() == expected)
        // A fresh encryption of the same records is another ciphertext.
        #expect(try model.evaluate(keys.encrypt(slots, for: model), keys: keys.set).serialized() != expected)
    }

    @Test("an input that the circuit is not made for is refused by name")
    func inputs() throws {
        let network = try Network("3-4sq-1")
        let model = try network.compiled()
        let keys = try TestKeys(model.plan.profile)
        let scale = model.plan.profile.scale
        func expect(_ reason: String, _ input: Ciphertext, sourceLocation: SourceLocation = #_sourceLocation) {
            let error = InferenceError.unexpectedInput(reason: reason)
            #expect(throws: error, sourceLocation: sourceLocation) { try model.validate(input) }
            #expect(throws: error, sourceLocation: sourceLocation) { try model.evaluate(input, keys: keys.set) }
        }
        let good = try keys.encrypt([1], for: model)
        try model.validate(good)
        for level in 1...3 {
            expect("it is not at the model's input level 4", try keys.encrypt([1], scale: scale, level: level))
        }
        let evaluator = CKKSEvaluator(model.context)
        let low = try keys.encrypt([1], scale: 0x1p18, level: 4)
        let product = try evaluator.multiplyWithoutRelinearization(low, low)
        #expect(product.scale == scale)
        expect("it is not at the model's input level 4", product)
        for other in [scale * 2, scale / 2, scale.nextUp, scale.nextDown, 1] {
            let input = try Ciphertext(context: good.context, polynomials: good.polynomials, scale: other)
            expect("its scale is not the model's 2^36", input)
        }
        let parameters = try #require(ParameterPreset.named("ckks-14")).parameters
        var profile = model.plan.profile
        profile.parameters = parameters
        profile.evaluationKeys = []
        let foreign = try TestKeys(profile).encrypt([1], scale: scale, level: 4)
        expect("it is encrypted under other parameters than the model's", foreign)
    }

    @Test("a missing, too low or foreign key is refused by name, whichever it is")
    func keys() throws {
        let network = try Network("3-4sq-1")
        let model = try network.compiled()
        let keys = try TestKeys(model.plan.profile)
        let input = try keys.encrypt([1], for: model)
        #expect(keys.list.count == 3)
        // 3^1024 and 3^2048 modulo 2^14: rotations by one and by two features of 1024 records.
        let steps: [UInt32: Int] = [8193: 2048, 4097: 1024]
        for (index, key) in keys.list.enumerated() {
            var others = keys.list
            others.remove(at: index)
            let error: HEError =
                key.id.kind == .galois
                ? .missingGaloisKey(element: Int(key.id.galois), steps: steps[key.id.galois])
                : .missingRelinearizationKey
            #expect(throws: error) { try model.evaluate(input, keys: EvaluationKeySet(others)) }
            let low = try keys.key(
                EvaluationKeyID(kind: key.id.kind, galois: key.id.galois, level: key.id.level - 1))
            #expect(throws: HEError.keyLevelTooLow(keyLevel: key.id.level - 1, needed: key.id.level)) {
                try model.evaluate(input, keys: EvaluationKeySet(others + [low]))
            }
        }
        let deeper = try Network("3-4sq-4sq-1").compiled()
        let foreign = try TestKeys(deeper.plan.profile)
        #expect(throws: HEError.parameterMismatch) {
            try model.evaluate(
                input,
                keys: EvaluationKeySet(
                    keys.list.filter { $0.id.kind == .galois } + foreign.list.filter { $0.id.kind == .relinearization }
                ))
        }
    }

    @Test("a key of a higher level serves as well")
    func higherKeys() throws {
        let network = try Network("3-4sq-1")
        let model = try network.compiled()
        let keys = try TestKeys(model.plan.profile)
        let input = try keys.encrypt(try ModelDescriptor(model, unit: "u").slots(of: network.records(3))[0], for: model)
        let high = try keys.list.map { key in
            try keys.key(EvaluationKeyID(kind: key.id.kind, galois: key.id.galois, level: 4))
        }
        let one = try keys.decrypt(model.evaluate(input, keys: keys.set)).prefix(3)
        let other = try keys.decrypt(model.evaluate(input, keys: EvaluationKeySet(high))).prefix(3)
        #expect(zip(one, other).allSatisfy { abs($0 - $1) < 1e-3 })
    }
}
