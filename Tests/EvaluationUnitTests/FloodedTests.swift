import Attestation
import EncryptedInference
import EvaluationUnit
import Foundation
import HomomorphicEncryption
import ServiceKit
import Testing

/// Models for flooded results: planned on demand, and evaluated only where the noise covers the model's error.
@Suite struct FloodedTests {
    private static let request = ReleaseRequest(precision: 1e-3, budget: 16)

    private static func path(_ model: String = "tiny") -> String { "/v1/models/\(model)/plan" }

    private static func keys(
        _ model: CompiledModel, _ request: ReleaseRequest = request, seedByte: UInt8 = 7
    ) throws -> KeySetFixture {
        let plan = try InferencePlan(model.model, release: request)
        return try KeySetFixture(
            CompiledModel(model.model, plan: plan), seedByte: seedByte, keySet: "ks-\(seedByte)")
    }

    private static func descriptor(
        _ unit: Conversation, _ request: PlanRequest
    ) async throws -> ModelDescriptor {
        let answer = try await unit.send(.post, path(), body: try APIJSON.encode(request))
        try #require(answer.status == .ok, "\(answer.text)")
        return try SignedStatement<ModelDescriptor>(verifying: answer.bytes, pinned: [unit.bench.unitKey]).body
    }

    @Test("a plan is signed, the same each time, and the same when its profile is brought back")
    func plans() async throws {
        let model = try Models.tiny()
        try await Bench(models: [model]).run { unit async throws in
            let first = try await Self.descriptor(unit, PlanRequest(release: Self.request))
            try first.validate()
            #expect(first.release?.request == Self.request)
            #expect(first.release?.policy.budget == 16 && first.release?.policy.statisticalBits == 30)
            #expect(first.release?.report.contains("N = 2^") == true)
            #expect(try await Self.descriptor(unit, PlanRequest(release: Self.request)) == first)
            #expect(
                try await Self.descriptor(unit, PlanRequest(release: Self.request, profile: first.profile)) == first)
            let finer = ReleaseRequest(precision: 1e-5, budget: 16, audience: .shared)
            let other = try await Self.descriptor(unit, PlanRequest(release: finer))
            #expect(other.profile.scaleBits > first.profile.scaleBits && other.release?.policy.audience == .shared)
            // Its parameters leave no room for a finer precision.
            let answer = try await unit.refusal(
                .post, Self.path(), body: APIJSON.encode(PlanRequest(release: finer, profile: first.profile)))
            #expect(answer == "precision-out-of-reach")
        }
    }

    /// Questions that no plan answers, with the problem's name.
    private static func unanswerable(_ model: InferenceModel) throws -> [(question: PlanRequest, problem: String)] {
        var cases: [(question: PlanRequest, problem: String)] = []
        let numbers: [(Double, Int, Int)] = [
            (0, 30, 16), (-1, 30, 16), (1e-30, 30, 16), (1e30, 30, 16), (1e-3, 0, 16), (1e-3, 129, 16),
            (1e-3, 30, 0), (1e-3, 30, -1), (1e-3, 30, .max),
        ]
        for (precision, bits, budget) in numbers {
            let release = ReleaseRequest(precision: precision, statisticalBits: bits, budget: budget)
            cases.append((PlanRequest(release: release), "invalid-release"))
        }
        let fine = ReleaseRequest(precision: 1e-9, statisticalBits: 128, budget: 1 << 40)
        cases.append((PlanRequest(release: fine), "precision-out-of-reach"))
        let profile = try InferencePlan(model, release: request).profile
        var strange: [CircuitProfile] = []
        var other = profile
        other.batch -= 1
        strange.append(other)
        other = profile
        other.modelDigest = Digest(of: [])
        strange.append(other)
        let levels: [(Int, Int)] = [(0, 0), (9, 1), (4, 4), (1, 4), (.max, .min), (.min, .max)]
        for (input, output) in levels {
            other = profile
            other.inputLevel = input
            other.outputLevel = output
            strange.append(other)
        }
        for profile in strange {
            cases.append((PlanRequest(release: request, profile: profile), "circuit-mismatch"))
        }
        return cases
    }

    @Test("plans that cannot be had are refused by name")
    func refusals() async throws {
        let model = try Models.tiny()
        let cases = try Self.unanswerable(model.model)
        try await Bench(models: [model]).run { unit async throws in
            for (index, one) in cases.enumerated() {
                let name = try await unit.refusal(.post, Self.path(), body: APIJSON.encode(one.question))
                #expect(name == one.problem, "\(index)")
            }
            for body in ["", "{}", "[]", #"{"release":{"precision":"much"}}"#] {
                let name = try await unit.refusal(.post, Self.path(), body: Array(body.utf8))
                #expect(name == "malformed-plan-request")
            }
            // Only a pinned gateway may ask, and only for models that are here.
            let body = try APIJSON.encode(PlanRequest(release: Self.request))
            let elsewhere = try await unit.refusal(.post, Self.path("other"), body: body)
            #expect(elsewhere == "unknown-model")
            let unasked = try await unit.refusal(.get, Self.path())
            #expect(unasked == "method-not-allowed")
            let stranger = try await unit.refusal(.post, Self.path(), body: body, by: unit.bench.stranger)
            #expect(stranger == "signature-unknown-key")
        }
    }

    @Test("one unit serves a model for raw and for flooded results, by two plans, each with its own keys")
    func evaluation() async throws {
        let model = try Models.tiny()
        let finer = ReleaseRequest(precision: 1e-5, statisticalBits: 40, budget: 1024)
        let fixtures = [
            try KeySetFixture(model), try Self.keys(model, seedByte: 8), try Self.keys(model, finer, seedByte: 9),
        ]
        #expect(Set(fixtures.map(\.descriptor.profile.parameters.digest)).count == 3)
        try await Bench(models: [model]).run { unit async throws in
            for keys in fixtures {
                let manifest = try await unit.bring(keys)
                let records = Models.tinyRecords(9)
                let inputs = try keys.encrypt(records)
                let job = unit.bench.job(keys, manifest: manifest, inputs: inputs)
                let outputs = try await unit.evaluate(keys, job, inputs)
                let scores = try keys.decrypt(outputs[0], count: 9)
                let precision = keys.descriptor.release?.request.precision ?? 1e-3
                for (score, expected) in zip(scores, try keys.scoresInTheClear(records)) {
                    #expect(abs(score - expected) < precision)
                }
                if let policy = keys.descriptor.flooding?.policy {
                    try policy.check(Ciphertext(serialized: outputs[0], context: keys.model.context))
                }
                let again = unit.bench.job(keys, manifest: manifest, inputs: inputs)
                #expect(try await unit.evaluate(keys, again, inputs) == outputs, "evaluation is deterministic")
            }
        }
    }

    @Test("a manifest whose noise is for less error than the model has, or for another circuit, is refused")
    func manifests() async throws {
        let model = try Models.tiny()
        let keys = try Self.keys(model)
        let flooding = try #require(keys.descriptor.flooding)
        @Sendable func with(
            bound factor: Double = 1, precision: Double = 1e-3, budget: Int = 16, bits: Int = 30, level: Int = 0,
            scale: Int = 0
        ) throws -> KeySetPolicy {
            let policy = flooding.policy
            return .flooded(
                FloodedRelease(
                    precision: precision,
                    policy: try FloodingPolicy(
                        errorBound: factor * policy.errorBound, statisticalBits: bits, budget: budget,
                        precision: precision, level: policy.level + level, scaleBits: policy.scaleBits + scale)))
        }
        try await Bench(models: [model]).run { unit async throws in
            func refusal(_ change: (inout KeySetManifest) throws -> Void) async throws -> String {
                var manifest = keys.manifest
                try change(&manifest)
                let signed = try unit.bench.signed(manifest)
                let answer = try await unit.send(
                    .put, "/v1/manifests/\(signed.digest)", body: try signed.serialized())
                return answer.status == .ok ? "taken" : try unit.checkedName(of: answer)
            }
            #expect(try await refusal { _ in } == "taken")
            // More noise than is needed, as long as the precision is kept.
            #expect(try await refusal { $0.policy = try with(bound: 1.01, precision: 2e-3) } == "taken")
            for factor in [0.999, 0.5, 0x1p-3] {
                #expect(
                    try await refusal { $0.policy = try with(bound: factor) } == "release-bound-too-small",
                    "\(factor)")
            }
            #expect(try await refusal { $0.policy = try with(bound: 0x1p-30) } == "malformed-manifest")
            #expect(try await refusal { $0.policy = try with(level: 1) } == "malformed-manifest")
            #expect(try await refusal { $0.policy = try with(scale: 1) } == "malformed-manifest")
            // A larger budget or more security, without the parameters for them.
            #expect(try await refusal { $0.policy = try with(budget: 1 << 30) } == "malformed-manifest")
            #expect(try await refusal { $0.policy = try with(bits: 64) } == "malformed-manifest")
            #expect(try await refusal { $0.profile = nil } == "malformed-manifest")
            #expect(
                try await refusal { $0.profile?.parameters = model.plan.profile.parameters } == "malformed-manifest")
            #expect(try await refusal { $0.profile?.batch -= 1 } == "circuit-mismatch")
            #expect(try await refusal { $0.profile?.evaluationKeys.removeLast() } == "circuit-mismatch")
            // The model of another unit: nothing is computed with its keys here.
            let elsewhere = try unit.bench.signed(
                {
                    var manifest = keys.manifest
                    manifest.profile?.modelDigest = Digest(of: [1])
                    return manifest
                }())
            #expect(try await unit.announce(elsewhere).need.isEmpty)
        }
    }

    @Test("jobs under a flooded manifest are evaluated by its plan alone, within the memory for plans")
    func jobs() async throws {
        let model = try Models.tiny()
        let (keys, raw) = (try Self.keys(model), try KeySetFixture(model))
        var limits = UnitConfiguration.Limits(threads: 2)
        limits.planCacheBytes = 1000
        try await Bench(models: [model], limits: limits).run { unit async throws in
            let manifest = try await unit.bring(keys)
            let inputs = try keys.encrypt(Models.tinyRecords(1))
            let job = unit.bench.job(keys, manifest: manifest, inputs: inputs)
            let body = OctetBundle.encode(
                [try SignedStatement(job, by: unit.bench.gateway).serialized()] + inputs)
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "plan-cache-too-small")
        }
        try await Bench(models: [model]).run { unit async throws in
            let manifest = try await unit.bring(keys)
            // Inputs of the raw plan have other parameters.
            let inputs = try raw.encrypt(Models.tinyRecords(1))
            let job = unit.bench.job(keys, manifest: manifest, inputs: inputs)
            let body = OctetBundle.encode(
                [try SignedStatement(job, by: unit.bench.gateway).serialized()] + inputs)
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "unsuitable-ciphertext")
        }
    }

    @Test("many questions at once are answered")
    func manyQuestions() async throws {
        let model = try Models.tiny()
        try await Bench(models: [model]).run { unit async throws in
            let names = try await withThrowingTaskGroup(of: String.self) { group in
                for index in 0..<48 {
                    let request = ReleaseRequest(precision: 1e-3 * Double(1 + index % 24), budget: 16)
                    group.addTask {
                        let answer = try await unit.send(
                            .post, Self.path(), body: try APIJSON.encode(PlanRequest(release: request)))
                        return answer.status == .ok ? "planned" : try unit.checkedName(of: answer)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(names.count == 48 && names.allSatisfy { $0 == "planned" })
            // Nothing is left over that would refuse the next.
            _ = try await Self.descriptor(unit, PlanRequest(release: Self.request))
        }
    }
}
