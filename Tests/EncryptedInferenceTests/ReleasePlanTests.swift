import Attestation
import ComplexModule
import EncryptedInference
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// Plans for flooded results: what is chosen, what is refused, that bounds hold and released scores are as promised.
@Suite struct ReleasePlanTests {
    private func plan(_ network: String, _ request: ReleaseRequest) throws -> InferencePlan {
        try InferencePlan(InferenceModel(parsing: Network(network).file), release: request)
    }

    @Test("choices: ring, scale, primes a layer")
    func choices() throws {
        for (network, precision, bits, budget, logN, scaleBits, primes) in [
            ("1-1", 0.5, 10, 1, 13, 35, 2), ("1-1", 0.01, 30, 1, 13, 50, 4), ("1-1", 1e-3, 30, 1024, 13, 59, 4),
            ("4-1", 1e-3, 30, 1024, 13, 62, 4), ("3-4sq-1", 1e-3, 30, 1024, 14, 65, 8),
            ("3-4sq-1", 1e-3, 64, 1024, 14, 82, 8), ("3-4sq-1", 1e-3, 64, 1 << 30, 14, 92, 8),
            ("29-20sq-5sq-1sq", 1e-3, 30, 1024, 15, 88, 15), ("2-2sq-2sq-2sq-2sq-1", 1e-3, 30, 1024, 15, 68, 20),
        ] as [(String, Double, Int, Int, Int, Int, Int)] {
            let plan = try plan(
                network, ReleaseRequest(precision: precision, statisticalBits: bits, budget: budget))
            let parameters = plan.profile.parameters
            #expect(
                [parameters.logN, plan.profile.scaleBits, parameters.q.count] == [logN, scaleBits, primes],
                "\(network) \(precision) \(bits) \(budget)")
            let release = try #require(plan.release)
            #expect(release.accuracy <= precision && release.accuracy > precision / 4)
            #expect(plan.profile.scaleBits == release.policy.scaleBits)
            for text in ["N = 2^\(logN)", "2^\(scaleBits)", "\(precision)", "\(budget) decryptions"] {
                #expect(release.report.contains(text), "\(text)")
            }
            #expect(plan.profile.outputLevel == release.policy.level)
            #expect((parameters.q + parameters.p).allSatisfy { $0 < 1 << 50 })
            #expect(parameters.security == .classical128)
            try plan.profile.validate()
            let context = try EncryptionContext.shared(parameters)
            for key in plan.profile.evaluationKeys { try key.validate(for: context) }
        }
    }

    @Test("finer precision, more decryptions, more security and deeper networks cost scale, and nothing else changes")
    func monotone() throws {
        func scale(_ precision: Double, _ bits: Int, _ budget: Int) throws -> Int {
            try plan("3-4sq-1", ReleaseRequest(precision: precision, statisticalBits: bits, budget: budget))
                .profile.scaleBits
        }
        let base = try scale(1e-3, 30, 1024)
        #expect(try (9...11).contains(scale(1e-6, 30, 1024) - base))
        #expect(try (4...6).contains(scale(1e-3, 30, 1024 << 10) - base))
        #expect(try (4...6).contains(scale(1e-3, 40, 1024) - base))
        #expect(try (16...18).contains(scale(1e-3, 64, 1024) - base))
        let owner = try plan("3-4sq-1", ReleaseRequest(precision: 1e-3, budget: 1024, audience: .owner))
        let shared = try plan("3-4sq-1", ReleaseRequest(precision: 1e-3, budget: 1024, audience: .shared))
        #expect(owner.profile == shared.profile && owner.release?.policy != shared.release?.policy)
        #expect(owner.profile.digest == shared.profile.digest)
    }

    @Test("what is out of range or too deep is refused by name")
    func refusals() throws {
        for request in [
            ReleaseRequest(precision: 0, budget: 1), ReleaseRequest(precision: .nan, budget: 1),
            ReleaseRequest(precision: 0x1p-41, budget: 1), ReleaseRequest(precision: 0x1p21, budget: 1),
            ReleaseRequest(precision: 1, statisticalBits: 0, budget: 1),
            ReleaseRequest(precision: 1, statisticalBits: 129, budget: 1), ReleaseRequest(precision: 1, budget: 0),
            ReleaseRequest(precision: 1, budget: 1 << 41),
        ] {
            let error = #expect(throws: ReleasePlanError.self) { try plan("3-4sq-1", request) }
            guard case .invalidRequest = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
        let deep = "1-1" + String(repeating: "sq", count: 30)
        #expect(throws: ReleasePlanError.tooDeep(layers: 31, most: 30)) {
            try plan(deep, ReleaseRequest(precision: 1, budget: 1))
        }
    }

    @Test(
        "the nearest precision and the budget that a refusal names can be had",
        arguments: [
            ("3-4sq-1", 1, 1e-9, 64, 1 << 20), ("3-4sq-1", 1, 1e-6, 80, 1 << 20), ("fraud", 1, 1e-9, 30, 1024),
            ("fraud", 1, 1e-3, 90, 1 << 20), ("2-2sq-2sq-2sq-2sq-1", 1, 1e-3, 100, 1 << 20),
            // Results are large, and what can be had is no fraction.
            ("3-4sq-1", 1e3, 1e-3, 60, 1024), ("4-1", 1e9, 1e-3, 80, 1 << 20),
        ] as [(String, Double, Double, Int, Int)])
    func nearest(network: String, factor: Double, precision: Double, bits: Int, budget: Int) throws {
        let model = try network == "fraud" ? CreditCardFraud.model() : Self.enlarged(Network(network), factor)
        func plan(_ precision: Double, _ budget: Int) throws -> InferencePlan {
            try InferencePlan(
                model, release: ReleaseRequest(precision: precision, statisticalBits: bits, budget: budget))
        }
        guard
            case .precisionOutOfReach(let asked, let nearest, let fewer) = #expect(
                throws: ReleasePlanError.self, performing: { try plan(precision, budget) })
        else {
            Issue.record("another error")
            return
        }
        #expect(asked == precision)
        let reachable = try #require(nearest)
        #expect(reachable > precision)
        #expect(try plan(reachable, budget).release?.accuracy ?? .infinity <= reachable)
        // Not much finer: the step takes a third, rounding to two digits up to a tenth.
        #expect(throws: ReleasePlanError.self) { try plan(reachable / 1.5, budget) }
        guard let fewer else { return }
        #expect(fewer < budget)
        _ = try plan(precision, fewer)
    }

    /// A network with all weights so many times larger.
    private static func enlarged(_ network: Network, _ factor: Double) throws -> InferenceModel {
        try InferenceModel(
            parsing: altered(network.file) { model in
                model["layers"] = (model["layers"] as? [JSONObject] ?? []).map { layer in
                    var layer = layer
                    for name in ["weights", "bias"] {
                        if let numbers = layer[name] as? [Double] {
                            layer[name] = numbers.map { $0 * factor }
                        } else if let rows = layer[name] as? [[Double]] {
                            layer[name] = rows.map { $0.map { $0 * factor } }
                        }
                    }
                    return layer
                }
            })
    }

    @Test("weights as large as numbers go are refused by name", arguments: [1e20, 1e150, 1e308])
    func hugeWeights(factor: Double) throws {
        for network in ["1-1", "3-4sq-1", "7-2-6-1", "2-2sq-2sq-2sq-2sq-1"] {
            let model = try Self.enlarged(Network(network), factor)
            let error = #expect(throws: ReleasePlanError.self) {
                try InferencePlan(model, release: ReleaseRequest(precision: 1, budget: 1))
            }
            guard case .precisionOutOfReach(asked: 1, _, budget: _) = error else {
                Issue.record("\(String(describing: error))")
                continue
            }
        }
    }

    /// |e|, largest slot of e, for e = what an evaluated encryption decrypts to, less what the same circuit gives on
    /// the same polynomial without noise, (m, 0): exact at every scale, but for the rounding of the latter.
    private func measured(_ model: CompiledModel, _ keys: TestKeys, _ slots: [Double]) throws -> (
        euclidean: Double, embedding: Double
    ) {
        let encoder = try CKKSEncoder(model.context)
        let plain = try encoder.encode(slots, scale: model.plan.profile.scale, level: model.plan.profile.inputLevel)
        let zero = RNSPolynomial(basis: plain.polynomial.basis, form: .evaluation)
        let trivial = try Ciphertext(
            context: model.context, polynomials: [plain.polynomial, zero], scale: plain.scale)
        let result = try keys.phase(model.evaluate(keys.publicKey.encrypt(plain), keys: keys.set))
        let exact = try keys.phase(model.evaluate(trivial, keys: keys.set))
        let error = try encoder.decodeComplex(CKKSPlaintext(polynomial: result - exact, scale: 1))
        let squares = error.reduce(0) { $0 + $1.lengthSquared }
        return (
            (2 * squares / Double(model.context.degree)).squareRoot(), error.reduce(0) { max($0, $1.length) }
        )
    }

    @Test(
        "a circuit's bound is never exceeded, by plans for raw and for flooded results",
        arguments: ["1-1", "4-1", "3-4sq-1", "7-2-6-1", "5-8sq-3sq-1", "heart"])
    func bounds(text: String) throws {
        let model =
            try text == "heart" ? HeartDisease.model() : InferenceModel(parsing: Network(text).file)
        for plan in [
            try InferencePlan(model), try InferencePlan(model, release: ReleaseRequest(precision: 1e-3, budget: 1024)),
        ] {
            let compiled = try CompiledModel(model, plan: plan)
            let keys = try TestKeys(plan.profile)
            let records = try text == "heart" ? HeartDisease.records() : Network(text).records(64)
            let slots = try ModelDescriptor(compiled, unit: "unit-1").slots(of: records)[0]
            let bound = plan.bound(for: model)
            let found = try measured(compiled, keys, slots)
            let slack = (Double.log2(bound.error.euclidean / found.0), Double.log2(bound.error.embedding / found.1))
            #expect((3...15).contains(slack.0) && (3...18).contains(slack.1), "\(text): \(slack)")
            #expect(bound.shortfallBits < 0)
        }
    }

    @Test("slots outside of the ranges that the bound is for are noticed")
    func ranges() throws {
        let network = try Network("3-4sq-1")
        let compiled = try network.compiled()
        let descriptor = ModelDescriptor(compiled, unit: "unit-1")
        let slots = try descriptor.slots(of: network.records(1024))[0]
        #expect(descriptor.holds(slots))
        #expect(descriptor.holds([]) && descriptor.holds([0, -1, 1]))
        for (index, value) in [(0, 1.01), (5, -1.01), (100, .nan), (1024 * 3, 0.5), (0, .infinity)] {
            var other = slots
            other[index] = value
            #expect(!descriptor.holds(other), "\(index)")
        }
        #expect(!descriptor.holds(slots + [0]))
        let heart = ModelDescriptor(try CompiledModel(HeartDisease.model()), unit: "unit-1")
        #expect(try heart.slots(of: HeartDisease.records()).allSatisfy { heart.holds($0) })
    }

    @Test(
        "released scores are those in the clear, within what was asked and in what was planned",
        arguments: ["heart", "fraud"])
    func releasedScores(network: String) throws {
        let model = try network == "heart" ? HeartDisease.model() : CreditCardFraud.model()
        let request = ReleaseRequest(precision: 1e-3, budget: 1024)
        let plan = try InferencePlan(model, release: request)
        let compiled = try CompiledModel(model, plan: plan)
        let release = try #require(plan.release)
        let keys = try TestKeys(plan.profile)
        let records =
            try network == "heart"
            ? ModelDescriptor(compiled, unit: "unit-1").inputVectors(
                of: Array(HeartDisease.records().prefix(plan.packing.batch)))
            : CreditCardFraud.inputs(plan.packing.batch, of: model)
        let expected = model.evaluateInTheClear(records)
        let slots = plan.packing.slots(records[...])
        let output = try compiled.evaluate(keys.encrypt(slots, for: compiled), keys: keys.set)
        var largest = 0.0
        for _ in 0..<3 {
            let scores = try keys.release(output, count: records.count, policy: release.policy).real
            for (score, expected) in zip(scores, expected) { largest = max(largest, abs(score - expected)) }
        }
        // The plan's accuracy fails once in 2^40 for all slots of a result.
        #expect(largest <= release.accuracy && release.accuracy <= request.precision)
        #expect(largest > release.policy.step / 4)
    }

    @Test("a plan of another model is refused")
    func otherModel() throws {
        let plan = try plan("3-4sq-1", ReleaseRequest(precision: 1e-3, budget: 1))
        let other = try InferenceModel(parsing: Network("3-4sq-1", seed: 5).file)
        #expect(throws: InferenceError.malformedModel(reason: "the plan is another model's")) {
            try CompiledModel(other, plan: plan)
        }
    }
}
