import EncryptedInference
import HomomorphicEncryption
import Testing

@Suite struct BatchPlanTests {
    @Test("the cheapest of the candidates is chosen, the same every time")
    func cheapest() throws {
        let model = try InferenceModel(parsing: Network("5-7sq-1").file)
        for weights in WeightProtection.allCases {
            let candidates = try BatchPlan.candidates(model, batch: 64, weights: weights)
            let plan = try BatchPlan(model, batch: 64, weights: weights)
            #expect(plan.cost.total == candidates.map(\.cost.total).min())
            #expect(try BatchPlan(model, batch: 64, weights: weights).profile == plan.profile)
        }
    }

    @Test("what is planned is secure, precise, and as large as it says")
    func costs() throws {
        for (text, batch) in [("5-7sq-1", 16), ("6-5sq-3sq-1sq", 4096)] {
            let model = try InferenceModel(parsing: Network(text).file)
            for weights in WeightProtection.allCases {
                for plan in try BatchPlan.candidates(model, batch: batch, weights: weights) {
                    let parameters = plan.profile.parameters
                    try plan.profile.validate()
                    #expect(parameters.security == .classical128)
                    #expect(plan.deviation <= BatchPlan.deviation)
                    #expect(plan.blocks * plan.layout.stride >= batch)
                    #expect((plan.blocks - 1) * plan.layout.stride < batch)
                    let context = try EncryptionContext.shared(parameters)
                    for id in plan.profile.evaluationKeys { try id.validate(for: context) }
                    #expect(
                        plan.cost.keyBytes
                            == plan.profile.evaluationKeys.reduce(0) {
                                $0 + EvaluationKey.serializedByteCount($1, context: context)
                            })
                    #expect(
                        plan.cost.resultBytes
                            == plan.blocks
                            * Ciphertext.serializedByteCount(
                                polynomials: 2, level: plan.profile.outputLevel, context: context))
                    #expect((plan.cost.modelBytes == 0) == (weights == .plain))
                }
            }
        }
    }

    @Test("slots of a block: where inputs lie, and zeros for records that are missing")
    func slots() throws {
        let model = try InferenceModel(parsing: Network("3-1").file)
        let plan = try BatchPlan(model, batch: 4096)
        #expect(plan.layout.kind == .tiles(width: 1))
        let slots = plan.layout.slots([[1, 2, 3], [4, 5, 6]])
        #expect(slots.count == 3)
        for (feature, values) in slots.enumerated() {
            #expect(values.count == plan.layout.stride)
            #expect(Array(values.prefix(2)) == [Double(feature + 1), Double(feature + 4)])
            #expect(values.dropFirst(2).allSatisfy { $0 == 0 })
        }
        #expect(plan.layout.scores([7, 8, 9], count: 2) == [7, 8])
    }
}
