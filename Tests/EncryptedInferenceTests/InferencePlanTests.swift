import Attestation
import EncryptedInference
import HomomorphicEncryption
import Testing

@Suite struct InferencePlanTests {
    /// 3^(rotation * batch) modulo 2N.
    private func element(_ rotation: Int, batch: Int, degree: Int) -> UInt32 {
        (0..<rotation * batch).reduce(UInt32(1)) { power, _ in power * 3 % UInt32(2 * degree) }
    }

    private func preset(_ plan: InferencePlan) -> String? {
        ParameterPreset.all.first { $0.parameters == plan.profile.parameters }?.name
    }

    private func galois(
        _ rotations: [Int], level: Int, batch: Int, degree: Int
    ) -> [EvaluationKeyID] {
        rotations.map {
            EvaluationKeyID(kind: .galois, galois: element($0, batch: batch, degree: degree), level: level)
        }
    }

    @Test("heart disease: three levels of ckks-13, 64 records at once, twelve evaluation keys")
    func heartDisease() throws {
        let model = try HeartDisease.model()
        let plan = try InferencePlan(model)
        let profile = plan.profile
        #expect(preset(plan) == "ckks-13")
        #expect(profile.model == "heart-disease")
        #expect(profile.modelDigest == model.digest)
        #expect(profile.inputLevel == 4)
        #expect(profile.outputLevel == 1)
        #expect(profile.scaleBits == 36)
        #expect(profile.batch == 64)
        #expect(plan.packing == Packing(width: 64, batch: 64, period: 32))
        // 27 inputs, period 32: eight baby steps and four giant steps at the input's level; the sum over 64
        // features needs 1, 2, 4, ... 32 at the last one, of which 32 alone is new; the square is one below
        // the input.
        let expected =
            [EvaluationKeyID(kind: .relinearization, level: 3)]
            + galois([1, 2, 3, 4, 5, 6, 7, 8, 16, 24], level: 4, batch: 64, degree: 8192)
            + galois([32], level: 1, batch: 64, degree: 8192)
        #expect(Set(profile.evaluationKeys) == Set(expected))
        #expect(profile.evaluationKeys.count == 12)
        try profile.validate()
        try plan.packing.validate(slots: profile.parameters.slotCount)
        let context = try EncryptionContext.shared(profile.parameters)
        for key in profile.evaluationKeys { try key.validate(for: context) }
        // The plan is a function of the file.
        #expect(try InferencePlan(HeartDisease.model()).profile.digest == profile.digest)
    }

    @Test("the smallest preset that is deep enough")
    func presets() throws {
        func plan(depth: Int) throws -> InferencePlan {
            try InferencePlan(
                InferenceModel(parsing: Network("1-1" + String(repeating: "sq", count: depth - 1)).file))
        }
        for (depth, name) in [
            (1, "ckks-13"), (3, "ckks-13"), (4, "ckks-14"), (7, "ckks-14"), (8, "ckks-15"), (16, "ckks-15"),
            (17, "ckks-16"), (33, "ckks-16"),
        ] {
            let plan = try plan(depth: depth)
            #expect(preset(plan) == name, "depth \(depth)")
            #expect(plan.profile.inputLevel == depth + 1)
            #expect(plan.profile.outputLevel == 1)
            try plan.profile.validate()
        }
        #expect(throws: InferenceError.doesNotFit(reason: "its 34 layers are more than any preset's levels")) {
            try plan(depth: 34)
        }
    }

    @Test("keys are listed for what is computed and for no more")
    func keys() throws {
        func keys(_ network: String) throws -> [EvaluationKeyID] {
            try InferencePlan(InferenceModel(parsing: Network(network).file)).profile.evaluationKeys
        }
        #expect(try keys("1-1") == [])
        #expect(try keys("1-1sq") == [EvaluationKeyID(kind: .relinearization, level: 2)])
        #expect(try Set(keys("4-1")) == Set(galois([1, 2], level: 1, batch: 1024, degree: 8192)))
        // No square, no relinearization.
        #expect(
            try Set(keys("4-4-1")) == Set(galois([1, 2], level: 3, batch: 1024, degree: 8192)))
        // Of two squares the higher level counts.
        let deep = try keys("1-1sq-1sq")
        #expect(deep == [EvaluationKeyID(kind: .relinearization, level: 4)])
    }

    @Test("widths are rounded up to powers of two")
    func packing() throws {
        for (network, packing) in [
            ("1-1", Packing(width: 1, batch: 4096, period: 1)), ("3-4sq-1", Packing(width: 4, batch: 1024, period: 4)),
            ("5-1", Packing(width: 8, batch: 512, period: 8)), ("2-9sq-1", Packing(width: 16, batch: 256, period: 2)),
            ("29-20sq-5sq-1sq", Packing(width: 32, batch: 256, period: 32)),
        ] {
            let plan = try InferencePlan(InferenceModel(parsing: Network(network).file))
            #expect(plan.packing == packing, "\(network)")
            #expect(plan.profile.batch == packing.batch)
            try plan.packing.validate(slots: plan.profile.parameters.slotCount)
        }
    }
}
