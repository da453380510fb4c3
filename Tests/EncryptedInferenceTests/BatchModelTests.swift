import Attestation
import EncryptedInference
import Foundation
import HomomorphicEncryption
import RLWE
import TestSupport
import Testing

@Suite struct BatchModelTests {
    /// A compiled model with its keys.
    private struct Bench {
        let model: InferenceModel
        let plan: BatchPlan
        let keys: TestKeys
        let compiled: BatchModel

        init(_ model: InferenceModel, _ plan: BatchPlan) throws {
            self.model = model
            self.plan = plan
            keys = try TestKeys(plan)
            switch plan.protection {
            case .plain: compiled = try BatchModel(model, plan: plan)
            case .encrypted, .publiclyEncrypted: compiled = try BatchModel(keys.encrypt(model, plan))
            }
        }

        func encrypted(_ inputs: [[Double]]) throws -> [[Ciphertext]] {
            let stride = plan.layout.stride
            return try Swift.stride(from: 0, to: inputs.count, by: stride).map { start in
                try plan.layout.slots(inputs[start..<min(start + stride, inputs.count)]).map {
                    try keys.encrypt($0, scale: plan.profile.scale, level: plan.profile.inputLevel)
                }
            }
        }

        func scores(_ results: [Ciphertext], count: Int) throws -> [Double] {
            var scores: [Double] = []
            for result in results {
                #expect(result.level == plan.profile.outputLevel)
                #expect(result.polynomials.count == 2)
                scores += plan.layout.scores(try keys.decrypt(result), count: count - scores.count)
            }
            return scores
        }

        /// Largest error, and whether every record has its class.
        func check(_ inputs: [[Double]]) throws -> (error: Double, sameClasses: Bool) {
            let found = try scores(compiled.evaluate(encrypted(inputs), keys: keys.set), count: inputs.count)
            let expected = model.evaluateInTheClear(inputs)
            #expect(found.count == expected.count)
            let labels = (found.map(model.output.label), expected.map(model.output.label))
            return (zip(found, expected).map { ($0 - $1).magnitude }.max() ?? .infinity, labels.0 == labels.1)
        }
    }

    private func inputs(_ network: Network, _ count: Int) throws -> [[Double]] {
        let model = try InferenceModel(parsing: network.file)
        return try network.records(count).enumerated().map { try $1.encoded(by: model.inputs, index: $0) }
    }

    @Test("every layout computes the network, weights in the clear and encrypted", arguments: WeightProtection.allCases)
    func everyLayout(_ weights: WeightProtection) throws {
        for (text, batch) in [("5-7sq-1", 8), ("6-5sq-3sq-1sq", 3000)] {
            let network = try Network(text)
            let model = try InferenceModel(parsing: network.file)
            var kinds: Set<String> = []
            for plan in try BatchPlan.candidates(model, batch: batch, weights: weights)
            where plan.profile.parameters.logN == 13 || weights.isEncrypted && plan.profile.parameters.logN <= 14 {
                // One of each layout: the others differ in their primes alone.
                guard plan.blocks <= 2, kinds.insert("\(plan.layout.kind) \(plan.turns)").inserted else { continue }
                let bench = try Bench(model, plan)
                let (error, _) = try bench.check(inputs(network, min(batch, plan.layout.stride + 3)))
                #expect(error <= 1e-3, "\(text) \(plan.layout.kind)")
            }
            #expect(kinds.count >= 2, "\(text): \(kinds)")
            #expect(kinds.contains { $0.hasPrefix("tiles(width: 1)") } == (weights == .plain || batch < 4096))
            #expect(kinds.contains { $0.hasPrefix("copies") } == (text == "5-7sq-1"))
        }
    }

    @Test("networks of any shape", arguments: ["1-1", "3-1sqsq", "4-3-2sq-1", "2-9sq-1", "5-4sqsq-1", "17-3sq-2-1sq"])
    func shapes(_ text: String) throws {
        let network = try Network(text)
        let model = try InferenceModel(parsing: network.file)
        for weights in WeightProtection.allCases {
            let bench = try Bench(model, BatchPlan(model, batch: 20, weights: weights))
            let (error, _) = try bench.check(inputs(network, 20))
            #expect(error <= 1e-3, "\(weights)")
        }
    }

    @Test("the heart-disease model", arguments: WeightProtection.allCases)
    func heartDisease(_ weights: WeightProtection) throws {
        let model = try HeartDisease.model()
        let bench = try Bench(model, BatchPlan(model, batch: 16, weights: weights))
        let inputs = try HeartDisease.records().enumerated().map { try $1.encoded(by: model.inputs, index: $0) }
        let (error, sameClasses) = try bench.check(inputs)
        #expect(error <= 1e-3)
        #expect(sameClasses)
        // Turns that add up the units are made at the lowest level.
        let levels = bench.plan.profile.evaluationKeys.filter { $0.kind == .galois }.map(\.level)
        #expect(levels.count <= 12)
        #expect(levels.count { $0 == 1 } >= 8)
    }

    @Test("the credit-card model: one feature a ciphertext, no turns")
    func creditCardFraud() throws {
        let model = try CreditCardFraud.model()
        let bench = try Bench(model, BatchPlan(model, batch: 4096))
        #expect(bench.plan.layout.kind == .tiles(width: 1))
        #expect(bench.plan.blocks == 1)
        #expect(bench.plan.profile.evaluationKeys.map(\.kind) == [.relinearization])
        let (error, sameClasses) = try bench.check(CreditCardFraud.inputs(4096, of: model))
        #expect(error <= 1e-3)
        #expect(sameClasses)
    }

    @Test("the credit-card model, encrypted: tiles")
    func encryptedCreditCardFraud() throws {
        let model = try CreditCardFraud.model()
        let bench = try Bench(model, BatchPlan(model, batch: 4096, weights: .encrypted))
        #expect(bench.plan.layout.positions > 1)
        let (error, sameClasses) = try bench.check(CreditCardFraud.inputs(4096, of: model))
        #expect(error <= 1e-3)
        #expect(sameClasses)
    }

    @Test("the same bytes with any number of threads", arguments: WeightProtection.allCases)
    func anyWidth(_ weights: WeightProtection) throws {
        let network = try Network("5-4sq-3sq-1sq")
        let model = try InferenceModel(parsing: network.file)
        defer { Parallelism.width = 1 }
        for plan in try BatchPlan.candidates(model, batch: 2048, weights: weights).prefix(2) {
            let bench = try Bench(model, plan)
            let blocks = try bench.encrypted(inputs(network, 2048))
            var found: [[[UInt8]]] = []
            for width in [1, 2, 5] {
                Parallelism.width = width
                found.append(try bench.compiled.evaluate(blocks, keys: bench.keys.set).map { $0.serialized() })
            }
            #expect(found[1] == found[0])
            #expect(found[2] == found[0])
        }
    }

    @Test("what the server has of an encrypted model tells no weight")
    func noWeights() throws {
        let model = try InferenceModel(parsing: Network("3-4sq-1").file)
        let plan = try BatchPlan(model, batch: 16, weights: .encrypted)
        let weights = try TestKeys(plan).encrypt(model, plan)
        func numbers(_ layout: BatchLayout) -> [Substring] {
            "\(layout)".split { !"0123456789.e-".contains($0) }.filter { $0.contains("0.") }
        }
        #expect(numbers(plan.layout).count > 10)
        #expect(numbers(weights.plan.layout).isEmpty)
    }

    // MARK: Bad input

    @Test("batches that are none")
    func badBatches() throws {
        let model = try InferenceModel(parsing: Network("2-1").file)
        for batch in [0, -1, BatchPlan.largestBatch + 1, .max] {
            #expect(throws: InferenceError.batchOutOfRange(batch, largest: BatchPlan.largestBatch)) {
                try BatchPlan(model, batch: batch)
            }
        }
    }

    @Test("a network that is deeper than any ring")
    func tooDeep() throws {
        let model = try InferenceModel(parsing: Network("1" + String(repeating: "-1sq", count: 30)).file)
        for weights in WeightProtection.allCases {
            #expect(
                throws: InferenceError.doesNotFit(
                    reason: "its 60 layers are more than any ring's levels, or too wide")
            ) { try BatchPlan(model, batch: 16, weights: weights) }
        }
    }

    @Test("plans of another model or for other weights")
    func otherPlans() throws {
        let model = try InferenceModel(parsing: Network("2-3sq-1").file)
        let other = try InferenceModel(parsing: Network("2-3sq-1", seed: 2).file)
        let plan = try BatchPlan(model, batch: 16)
        let keys = try TestKeys(plan)
        #expect(throws: InferenceError.malformedModel(reason: "the plan is another model's")) {
            try BatchModel(other, plan: plan)
        }
        #expect(throws: InferenceError.malformedModel(reason: "the plan is for plain weights")) {
            try EncryptedWeights(model, plan: plan, publicKey: keys.publicKey)
        }
        let (encrypted, open) = (
            try BatchPlan(model, batch: 16, weights: .encrypted),
            try BatchPlan(model, batch: 16, weights: .publiclyEncrypted)
        )
        #expect(throws: InferenceError.malformedModel(reason: "the plan is for encrypted weights")) {
            try BatchModel(model, plan: encrypted)
        }
        // Weights under the public key have more noise than the other plan allows for.
        #expect(throws: InferenceError.malformedModel(reason: "the plan is for encrypted weights")) {
            try EncryptedWeights(model, plan: encrypted, publicKey: keys.publicKey)
        }
        #expect(throws: InferenceError.malformedModel(reason: "the plan is for publicly-encrypted weights")) {
            try EncryptedWeights(model, plan: open, context: keys.context) { _ in throw HEError.parameterMismatch }
        }
        #expect(open.profile.parameters != plan.profile.parameters)
        #expect(throws: HEError.parameterMismatch) {
            try EncryptedWeights(model, plan: open, publicKey: keys.publicKey)
        }
    }

    @Test(
        "encrypted weights that are missing, too many, of another level, or no ciphertexts",
        arguments: [WeightProtection.encrypted, .publiclyEncrypted])
    func badWeights(_ protection: WeightProtection) throws {
        let model = try InferenceModel(parsing: Network("2-3sq-1").file)
        let plan = try BatchPlan(model, batch: 16, weights: protection)
        let keys = try TestKeys(plan)
        let weights = try keys.encrypt(model, plan)
        func load(_ change: (inout [[UInt8]]) -> Void) throws {
            var ciphertexts = weights.ciphertexts
            change(&ciphertexts)
            _ = try BatchModel(EncryptedWeights(plan: plan, ciphertexts: ciphertexts))
        }
        try load { _ in }
        #expect(throws: InferenceError.malformedModel(reason: "it has fewer encrypted weights than its plan")) {
            try load { $0.removeLast() }
        }
        #expect(throws: InferenceError.malformedModel(reason: "it has more encrypted weights than its plan")) {
            try load { $0.append($0[0]) }
        }
        #expect(throws: InferenceError.malformedModel(reason: "an encrypted weight has another level or scale")) {
            try load { $0.swapAt(0, $0.count - 1) }
        }
        #expect(throws: HEError.digestMismatch) { try load { $0[0][200] ^= 1 } }
        #expect(throws: HEError.self) { try load { $0[0] = [] } }
        // A ciphertext of the other kind.
        let (scale, level) = (plan.profile.scale, plan.profile.inputLevel)
        let whole = try keys.encrypt([1], scale: scale, level: level).serialized()
        let seeded = try keys.encryptSeeded([1], scale: scale, level: level).serialized()
        #expect(throws: HEError.self) { try load { $0[0] = protection == .encrypted ? whole : seeded } }
    }

    @Test("blocks of the wrong shape")
    func badBlocks() throws {
        let network = try Network("3-2sq-1")
        let model = try InferenceModel(parsing: network.file)
        let bench = try Bench(model, BatchPlan(model, batch: 4096))
        #expect(bench.plan.layout.kind == .tiles(width: 1))
        let block = try bench.encrypted(inputs(network, 2))[0]
        let evaluator = CKKSEvaluator(bench.keys.context)
        func evaluate(_ blocks: [[Ciphertext]]) throws {
            _ = try bench.compiled.evaluate(blocks, keys: bench.keys.set)
        }
        try evaluate([block])
        #expect(throws: InferenceError.noRecords) { try evaluate([]) }
        #expect(throws: InferenceError.unexpectedInput(reason: "a block has 3 ciphertexts, not 2")) {
            try evaluate([Array(block.prefix(2))])
        }
        let level = bench.plan.profile.inputLevel
        let low = try evaluator.dropLevel(block[0], to: level - 1)
        #expect(throws: InferenceError.unexpectedInput(reason: "it is not at the model's input level \(level)")) {
            try evaluate([block, [low, low, low]])
        }
        let scaled = try bench.keys.encrypt([1], scale: bench.plan.profile.scale * 2, level: level)
        #expect(throws: InferenceError.self) { try evaluate([[scaled, scaled, scaled]]) }
        #expect(throws: HEError.missingRelinearizationKey) {
            try bench.compiled.evaluate([block], keys: EvaluationKeySet())
        }
        let other = try TestKeys(InferencePlan(model).profile)
        let foreign = try other.encrypt([1], scale: bench.plan.profile.scale, level: 1)
        #expect(
            throws: InferenceError.unexpectedInput(
                reason: "it is encrypted under other parameters than the model's")
        ) { try evaluate([[foreign, foreign, foreign]]) }
    }
}
