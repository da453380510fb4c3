import Attestation
import ComplexModule
import Foundation
import HomomorphicEncryption
import KeyManagement
import TestSupport
import Testing

/// Key sets whose results are flooded: what leaves, how often, and that nothing leaves otherwise.
@Suite struct FloodedKeySetTests {
    /// "Seven" on a ring that has room for noise.
    private static func profile(model: String = "seven") throws -> CircuitProfile {
        CircuitProfile(
            model: model, modelDigest: Digest(of: Array(model.utf8)),
            parameters: try #require(ParameterPreset.named("ckks-13")).parameters, scaleBits: 60, inputLevel: 4,
            outputLevel: 3, batch: 1, evaluationKeys: [])
    }

    private static func flooding(
        budget: Int = 100, precision: Double = 1e-3, audience: ReleaseAudience = .owner, level: Int = 3,
        scaleBits: Int = 60, boundFactor: Double = 1
    ) throws -> FloodedRelease {
        let noise = StaticNoise(try profile().parameters)
        return FloodedRelease(
            precision: precision,
            policy: try FloodingPolicy(
                errorBound: boundFactor * noise.floodingBound(noise.fresh), budget: budget, precision: precision,
                level: level, scaleBits: scaleBits, audience: audience))
    }

    private static func request(
        _ fixture: Fixture, _ policy: KeySetPolicy, id: String = UUID().uuidString, profile: CircuitProfile? = nil
    ) throws -> RegistrationRequest {
        let profile = try profile ?? Self.profile()
        return RegistrationRequest(
            requestID: id, mode: .direct, owner: fixture.alice.owner, parameters: profile.parameters,
            evaluationKeys: [], profile: profile, policy: policy)
    }

    /// A flooded key set of alice's.
    private struct Bench {
        let fixture: Fixture
        let unit: SevenUnit
        let flooding: FloodedRelease
        let keySet: String

        var manager: KeyManager { fixture.manager }
        var alice: Requester { fixture.alice }

        init(
            budget: Int = 100, audience: ReleaseAudience = .owner, decryptAny: Bool = false
        ) async throws {
            fixture = try await Fixture(decryptAny: decryptAny ? ["alice"] : [])
            unit = try SevenUnit(profile: FloodedKeySetTests.profile())
            flooding = try FloodedKeySetTests.flooding(budget: budget, audience: audience)
            keySet = try await fixture.manager.register(
                FloodedKeySetTests.request(fixture, .flooded(flooding, decryptAny: decryptAny)), as: fixture.alice
            ).keySet.manifest.keySet
        }

        func encrypt(_ values: [Complex<Double>]) async throws -> [[UInt8]] {
            try await manager.encrypt([.init(values)], under: keySet, as: alice).ciphertexts
        }

        func decrypt(_ ciphertexts: [[UInt8]]) async throws -> DecryptionResult {
            try await manager.decrypt(ciphertexts, of: keySet, as: alice)
        }

        func result() async throws -> [UInt8] {
            let job = try await unit.openJob(manager, under: keySet, as: alice)
            let output = try await unit.result(manager, under: keySet, as: alice)
            try await unit.complete(job, [output], manager)
            return output
        }

        func show() async throws -> KeySetDescription { try await manager.show(keySet, as: alice) }
    }

    private func values(_ count: Int, _ seed: UInt64) -> [Complex<Double>] {
        var random = SeededGenerator(seed)
        return (0..<count).map { _ in
            Complex(.random(in: -1...1, using: &random), .random(in: -1...1, using: &random))
        }
    }

    @Test("what others see is not hidden by less than the usual statistical security")
    func weakNoise() async throws {
        let fixture = try await Fixture()
        let noise = StaticNoise(try Self.profile().parameters)
        let cases: [(bits: Int, audience: ReleaseAudience, group: Bool, isTaken: Bool)] = [
            (29, .shared, false, false), (30, .shared, false, true), (1, .owner, false, true),
            // Members of a group are others.
            (29, .owner, true, false), (30, .owner, true, true), (29, .shared, true, false), (30, .shared, true, true),
        ]
        for (bits, audience, group, isTaken) in cases {
            let policy = try FloodingPolicy(
                errorBound: noise.floodingBound(noise.fresh), statisticalBits: bits, budget: 10, precision: 1e-3,
                level: 3, scaleBits: 60, audience: audience)
            var request = try Self.request(fixture, .flooded(FloodedRelease(precision: 1e-3, policy: policy)))
            if group { request.owner = KeySetOwner(kind: .group, issuer: "static", subject: "clinic") }
            if isTaken {
                _ = try await fixture.manager.register(request, as: fixture.alice)
            } else {
                let refused = request
                let error = await #expect(throws: KeyManagementError.self) {
                    try await fixture.manager.register(refused, as: fixture.alice)
                }
                guard case .invalidRequest(let reason) = error else {
                    Issue.record("\(String(describing: error))")
                    continue
                }
                #expect(reason.contains("at least 30 bits"), "\(reason)")
            }
        }
    }

    @Test("inputs and results leave within the precision, rounded, with fresh noise each time, and are counted")
    func releases() async throws {
        let bench = try await Bench(budget: 7)
        let input = values(4096, 1)
        let ciphertexts = try await bench.encrypt(input)
        let output = try await bench.result()
        let (first, second) = (try await bench.decrypt(ciphertexts), try await bench.decrypt(ciphertexts + [output]))
        for released in [first, second] {
            #expect(released.release == .flooded && released.flooding == bench.flooding)
            for (value, expected) in zip(released.vectors[0], input) {
                #expect(abs(value.real - expected.real) <= 1e-3 && abs(value.imaginary - expected.imaginary) <= 1e-3)
                let step = bench.flooding.policy.step
                #expect((value.real / step).rounded() * step == value.real)
            }
        }
        #expect(first.vectors[0] != second.vectors[0])
        #expect(abs(second.vectors[1][0].real - 7) <= 1e-3 && abs(second.vectors[1][1].real) <= 1e-3)
        #expect(first.decryptionsLeft == 6 && second.decryptionsLeft == 4)
        let shown = try await bench.show()
        #expect(!shown.tainted && !shown.exposed && shown.counters.decryptions == 3)
        await #expect(throws: KeyManagementError.budgetExhausted) {
            try await bench.decrypt([[UInt8]](repeating: output, count: 5))
        }
        #expect(try await bench.show().counters.decryptionsLeft == 4)
    }

    @Test("the noise that was added is as large as promised")
    func size() async throws {
        let bench = try await Bench()
        // Of a slot's real part: N/2 coefficients' variances, divided by the scale.
        let noise = try bench.flooding.inputPolicy(of: Self.profile()).noise.deviation * 64 / 0x1p60
        let step = bench.flooding.policy.step
        // Half a step and x deviations more: rounded up with the probability that a normal number is below x.
        let places = [(-1.0, 0.158655), (0, 0.5), (1, 0.841345)]
        let input = (0..<4095).map { Complex(step / 2 + places[$0 % 3].0 * noise) }
        let released = try await bench.decrypt(bench.encrypt(input)).vectors[0]
        for (index, place) in places.enumerated() {
            let share = (0..<1365).count { released[3 * $0 + index].real == step }
            // 0.0135 is the deviation of a share of 1365; this is eight of them, and half of the noise or twice of it
            // moves the outer shares by 0.13 and more.
            #expect(abs(Double(share) / 1365 - place.1) < 0.11, "\(place)")
        }
        #expect(released.prefix(4095).allSatisfy { $0.real == 0 || $0.real == step })
    }

    @Test("of many decryptions at once, no more than the budget leave")
    func concurrency() async throws {
        let bench = try await Bench(budget: 5)
        let ciphertexts = try await bench.encrypt(sample)
        let outcomes = await withTaskGroup(of: KeyManagementError?.self) { group in
            for _ in 0..<12 {
                group.addTask {
                    do throws(KeyManagementError) {
                        _ = try await bench.manager.decrypt(ciphertexts, of: bench.keySet, as: bench.alice)
                        return nil
                    } catch { return error }
                }
            }
            return await group.reduce(into: []) { $0.append($1) }
        }
        #expect(outcomes.count { $0 == nil } == 5)
        #expect(outcomes.allSatisfy { $0 == nil || $0 == .budgetExhausted })
        #expect(try await bench.show().counters.decryptionsLeft == 0)
    }

    private func attack(
        _ bytes: [UInt8], _ values: [Complex<Double>], _ parameters: EncryptionParameters
    ) throws -> [Int64] {
        let context = try EncryptionContext.shared(parameters)
        return try KeyRecovery.guess(
            from: Ciphertext(serialized: bytes, context: context), decryptedTo: values, CKKSEncoder(context))
    }

    @Test("one raw result of a key set gives its secret key, flooded ones do not")
    func keyRecovery() async throws {
        let fixture = try await Fixture()
        let raw = try await fixture.register()
        let encrypted = try await fixture.manager.encrypt([.init(values(2048, 2))], under: raw, as: fixture.alice)
        let decrypted = try await fixture.manager.decrypt(encrypted.ciphertexts, of: raw, as: fixture.alice)
        let preset = try #require(ParameterPreset.named("ckks-12")).parameters
        let found = try attack(encrypted.ciphertexts[0], decrypted.vectors[0], preset)
        #expect(found.allSatisfy { abs($0) <= 1 } && found.contains { $0 != 0 })

        let bench = try await Bench()
        let ciphertexts = try await bench.encrypt(values(4096, 3))
        for _ in 0..<3 {
            let guess = try attack(
                ciphertexts[0], await bench.decrypt(ciphertexts).vectors[0], Self.profile().parameters)
            // A coefficient is small by chance, three in 2^50.
            #expect(guess.count { abs($0) <= 1 } < 3)
        }
    }

    @Test("raw is for ever: the row and every manifest say it, and flooded results are refused")
    func taint() async throws {
        let fixture = try await Fixture()
        let manager = fixture.manager
        let raw = try await fixture.register()
        func expectTainted() async throws {
            let shown = try await manager.show(raw, as: fixture.alice)
            #expect(shown.tainted && shown.manifest.policy.release == .raw && shown.manifest.policy.audience == .owner)
        }
        // From the start, before anything was decrypted.
        try await expectTainted()
        let ciphertexts = try await manager.encrypt([.init(sample)], under: raw, as: fixture.alice).ciphertexts
        await #expect(throws: KeyManagementError.keySetIsRaw(raw)) {
            try await manager.decrypt(ciphertexts, of: raw, expecting: .flooded, as: fixture.alice)
        }
        #expect(try await manager.show(raw, as: fixture.alice).counters.decryptions == 0)
        _ = try await manager.decrypt(ciphertexts, of: raw, expecting: .raw, as: fixture.alice)
        _ = try await manager.destroy(raw, as: fixture.alice)
        try await expectTainted()
        // The same request for other results is another request.
        let id = "same"
        let flooded = KeySetPolicy.flooded(try Self.flooding())
        _ = try await manager.register(Self.request(fixture, .raw(), id: id), as: fixture.alice)
        await #expect(throws: KeyManagementError.requestIDReused) {
            try await manager.register(Self.request(fixture, flooded, id: id), as: fixture.alice)
        }
        for change in [try Self.flooding(precision: 2e-3), try Self.flooding(audience: .shared)] {
            let id = UUID().uuidString
            _ = try await manager.register(Self.request(fixture, flooded, id: id), as: fixture.alice)
            await #expect(throws: KeyManagementError.requestIDReused) {
                try await manager.register(Self.request(fixture, .flooded(change), id: id), as: fixture.alice)
            }
        }
    }

    @Test("a flooded key set gives nothing raw but what nobody vouches for, which exposes and taints it")
    func decryptAny() async throws {
        let bench = try await Bench(decryptAny: true)
        let own = try await bench.encrypt(sample)
        await #expect(throws: KeyManagementError.keySetIsFlooded(bench.keySet)) {
            try await bench.manager.decrypt(own, of: bench.keySet, expecting: .raw, as: bench.alice)
        }
        let foreign = try await bench.unit.result(bench.manager, under: bench.keySet, as: bench.alice)
        await #expect(throws: KeyManagementError.self) { try await bench.decrypt(own + [foreign]) }
        var shown = try await bench.show()
        #expect(!shown.exposed && !shown.tainted && shown.counters.decryptions == 0)
        let raw = try await bench.decrypt([foreign])
        #expect(raw.release == .raw && raw.flooding == nil)
        shown = try await bench.show()
        #expect(shown.exposed && shown.tainted && shown.counters.decryptionsLeft == 99)
        #expect(try await bench.decrypt(own).release == .flooded)
        #expect(try await bench.show().tainted)
    }

    @Test("results are those of the circuit that the noise was planned for, of inputs that were checked for it")
    func circuits() async throws {
        let bench = try await Bench()
        let (manager, keySet, alice) = (bench.manager, bench.keySet, bench.alice)
        let other = try SevenUnit(profile: Self.profile(model: "eight"))
        await #expect(throws: KeyManagementError.otherCircuit(keySet: keySet)) {
            try await other.openJob(manager, under: keySet, as: alice)
        }
        let inputs = try await manager.encrypt(
            [.init(sample)], under: keySet, circuit: bench.unit.profile, as: alice
        ).digests
        await #expect(throws: KeyManagementError.otherCircuit(keySet: keySet)) {
            try await other.openJob(manager, under: keySet, over: inputs, as: alice)
        }
        // Not encrypted as an input: nobody looked at its ranges.
        let unchecked = try await manager.encrypt([.init(sample)], under: keySet, as: alice).digests
        await #expect(throws: KeyManagementError.notCircuitInput(unchecked[0])) {
            try await bench.unit.openJob(manager, under: keySet, over: inputs + unchecked, as: alice)
        }
        await #expect(throws: KeyManagementError.homomorphicEncryption(.scaleMismatch(0x1p40, 0x1p60))) {
            try await manager.encrypt([.init(sample)], under: keySet, scaleBits: 40, as: alice)
        }
        await #expect(throws: KeyManagementError.homomorphicEncryption(.levelMismatch(2, 4))) {
            try await manager.encrypt([.init(sample)], under: keySet, level: 2, as: alice)
        }
        // A result of another scale: refused by name, nothing is debited, no failure counted.
        let job = try await bench.unit.openJob(manager, under: keySet, as: alice)
        let odd = try await bench.unit.result(manager, under: keySet, scale: 0x1p59, as: alice)
        try await bench.unit.complete(job, [odd], manager)
        await #expect(throws: KeyManagementError.homomorphicEncryption(.scaleMismatch(0x1p59, 0x1p60))) {
            try await bench.decrypt([odd])
        }
        let counters = try await bench.show().counters
        #expect(counters.decryptionsLeft == 100 && counters.failures == 0)
    }

    @Test("policies that do not hold are refused at registration")
    func refusals() async throws {
        let fixture = try await Fixture(decryptAny: ["alice"])
        let shared = try Self.flooding(audience: .shared)
        var raw = try Self.request(fixture, .flooded(try Self.flooding()))
        raw.profile = nil
        let preset = raw
        let bad: [RegistrationRequest] = [
            preset,
            try Self.request(fixture, .flooded(shared, decryptAny: true)),
            try Self.request(fixture, .flooded(Self.flooding(level: 2))),
            try Self.request(fixture, .flooded(Self.flooding(scaleBits: 59))),
            // Below what rounding alone adds.
            try Self.request(fixture, .flooded(Self.flooding(boundFactor: 0x1p-16))),
            // Noise larger than the precision that is promised.
            try Self.request(fixture, .flooded(Self.flooding(boundFactor: 64))),
            try Self.request(fixture, .flooded(FloodedRelease(precision: 1e-4, policy: shared.policy))),
            try Self.request(fixture, .flooded(FloodedRelease(precision: .nan, policy: shared.policy))),
        ]
        for (index, request) in bad.enumerated() {
            await #expect("\(index)") {
                try await fixture.manager.register(request, as: fixture.alice)
            } throws: {
                if case KeyManagementError.invalidRequest = $0 { true } else { false }
            }
        }
        #expect(fixture.files().isEmpty)
        let made = try await fixture.manager.register(Self.request(fixture, .flooded(shared)), as: fixture.alice).keySet
        #expect(made.manifest.policy.audience == .shared && !made.tainted)
    }

    @Test("an ephemeral key set floods its one request, and no more results than its budget")
    func ephemeral() async throws {
        let fixture = try await Fixture()
        let (manager, alice) = (fixture.manager, fixture.alice)
        let unit = try SevenUnit(profile: Self.profile())
        var timings = StepTimings()
        let keySet = try await manager.makeEphemeralKeySet(
            for: unit.profile, policy: .flooded(Self.flooding(budget: 2)), as: alice, timings: &timings)
        let own = try await keySet.encrypt([[0.5]], profile: unit.profile, timings: &timings)
        let job = try keySet.openJob(
            inputs: own.map { Digest(of: $0) }, profile: unit.profile, unit: unit.registered
        ).body
        func decrypt(_ outputs: [[UInt8]]) async throws -> [[Double]] {
            let receipt = try unit.receipt(job, outputs)
            var timings = StepTimings()
            return try await keySet.decrypt(
                outputs, receipt: receipt, job: job, profile: unit.profile, unit: unit.registered, timings: &timings)
        }
        var lower = unit.profile
        lower.inputLevel = lower.outputLevel
        let result = try await keySet.encrypt([[7]], profile: lower, timings: &timings)
        let released = try await decrypt(result)[0]
        #expect(abs(released[0] - 7) <= 1e-3 && released.dropFirst().allSatisfy { abs($0) <= 1e-3 })
        #expect(released.allSatisfy { ($0 / 0x1p-11).rounded() * 0x1p-11 == $0 })
        // An input is no result, and one of another scale is another circuit's.
        await #expect(throws: KeyManagementError.homomorphicEncryption(.invalidLevel(4, maximum: 3))) {
            try await decrypt(own)
        }
        lower.scaleBits = 59
        let odd = try await keySet.encrypt([[7]], profile: lower, timings: &timings)
        await #expect(throws: KeyManagementError.homomorphicEncryption(.scaleMismatch(0x1p59, 0x1p60))) {
            try await decrypt(odd)
        }
        await #expect(throws: KeyManagementError.budgetExhausted) {
            try await decrypt([[UInt8]](repeating: result[0], count: 3))
        }
        await #expect(throws: KeyManagementError.self) {
            var timings = StepTimings()
            return try await manager.makeEphemeralKeySet(
                for: unit.profile, policy: .flooded(Self.flooding(boundFactor: 64)), as: alice, timings: &timings)
        }
    }
}
