import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Testing

/// Key sets for exact integers: what they take, what they give back, and what they refuse.
@Suite struct IntegerTests {
    private static func parameters(_ preset: String = "bfv-12") throws -> EncryptionParameters {
        try #require(BFVParameterPreset.named(preset)).parameters
    }

    private static let exact = KeySetPolicy.unflooded(.bfv)

    private func register(
        _ fixture: Fixture, _ mode: ProtectionMode = .direct, policy: KeySetPolicy = exact,
        profile: CircuitProfile? = nil
    ) async throws -> String {
        let request = RegistrationRequest(
            requestID: UUID().uuidString, mode: mode, owner: fixture.alice.owner, parameters: try Self.parameters(),
            evaluationKeys: [
                EvaluationKeyID(kind: .relinearization, level: 2), EvaluationKeyID(kind: .galois, galois: 3, level: 1),
                EvaluationKeyID(kind: .galois, galois: 8191, level: 2),
            ], profile: profile, policy: policy)
        return try await fixture.manager.register(request, as: fixture.alice).keySet.manifest.keySet
    }

    @Test(
        "integers come back exactly, signed and unsigned, in both modes",
        arguments: [ProtectionMode.direct, .envelope])
    func roundTrip(mode: ProtectionMode) async throws {
        let fixture = try await Fixture()
        let keySet = try await register(fixture, mode)
        var signed = [Int64](repeating: 0, count: 4096)
        for index in signed.indices { signed[index] = Int64(index * 7919 % 65537) - 32768 }
        let encrypted = try await fixture.manager.encrypt(
            [.integers(signed), .integers([-32768, 32768]), .residues([0, 65536])], under: keySet, as: fixture.alice)
        let back = try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, as: fixture.alice)
        #expect(back.integers[0] == signed)
        #expect(back.integers[1].prefix(3) == [-32768, 32768, 0])
        #expect(back.integers[2].prefix(3) == [0, -1, 0])
        #expect(back.vectors.isEmpty && back.release == .exact)
        let residues = try await fixture.manager.decrypt(
            encrypted.ciphertexts, of: keySet, count: 2, form: .unsigned, as: fixture.alice)
        #expect(residues.integers == [[32769, 40688], [32769, 32768], [0, 65536]])
        // Nothing of a noise has left, so that nothing is tainted; what was decrypted is counted.
        let shown = try await fixture.manager.show(keySet, as: fixture.alice)
        #expect(!shown.tainted && !shown.exposed && shown.counters.decryptions == 6)
        #expect(shown.manifest.policy.release == .exact && shown.manifest.parameters.t == 65537)
        _ = try await fixture.manager.destroy(keySet, as: fixture.alice)
        await #expect(throws: KeyManagementError.keySetDestroyed(keySet)) {
            try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, as: fixture.alice)
        }
    }

    @Test("what does not fit is refused by name, before anything is on record")
    func badInput() async throws {
        let fixture = try await Fixture()
        let keySet = try await register(fixture)
        func refuse(_ input: EncryptionInput, _ error: HEError) async {
            await #expect(throws: KeyManagementError.homomorphicEncryption(error)) {
                try await fixture.manager.encrypt([input], under: keySet, as: fixture.alice)
            }
        }
        let signed: ClosedRange<Int64> = -32768...32768
        for value: Int64 in [32769, -32769, .max, .min] {
            await refuse(.integers([0, value]), .integerOutOfRange(index: 1, range: signed))
        }
        for value: Int64 in [65537, -1, .max, .min] {
            await refuse(.residues([value]), .integerOutOfRange(index: 0, range: 0...65536))
        }
        await refuse(.integers([Int64](repeating: 1, count: 4097)), .tooManyValues(count: 4097, slots: 4096))
        let encrypted = try await fixture.manager.encrypt([.integers([1])], under: keySet, as: fixture.alice)
        await #expect(throws: KeyManagementError.homomorphicEncryption(.tooManyValues(count: 4097, slots: 4096))) {
            try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, count: 4097, as: fixture.alice)
        }
        await #expect(throws: KeyManagementError.homomorphicEncryption(.invalidLevel(3, maximum: 2))) {
            try await fixture.manager.encrypt([.integers([1])], under: keySet, level: 3, as: fixture.alice)
        }
        #expect(try await fixture.manager.show(keySet, as: fixture.alice).counters.encryptions == 1)
    }

    @Test("a key set takes the numbers of its own scheme alone")
    func otherScheme() async throws {
        let fixture = try await Fixture()
        let (integers, reals) = (try await register(fixture), try await fixture.register())
        let (bfv, ckks) = (
            KeyManagementError.otherScheme(keySet: .bfv), KeyManagementError.otherScheme(keySet: .ckks)
        )
        await #expect(throws: bfv) {
            try await fixture.manager.encrypt([.init(sample)], under: integers, as: fixture.alice)
        }
        await #expect(throws: bfv) {
            try await fixture.manager.encrypt([.integers([1])], under: integers, scaleBits: 30, as: fixture.alice)
        }
        for input in [EncryptionInput.integers([1]), .residues([1])] {
            await #expect(throws: ckks) {
                try await fixture.manager.encrypt([input], under: reals, as: fixture.alice)
            }
        }
        let integer = try await fixture.manager.encrypt([.integers([1])], under: integers, as: fixture.alice)
        let real = try await fixture.manager.encrypt([.init(sample)], under: reals, as: fixture.alice)
        await #expect(throws: bfv) {
            try await fixture.manager.decrypt(integer.ciphertexts, of: integers, form: .complex, as: fixture.alice)
        }
        await #expect(throws: ckks) {
            try await fixture.manager.decrypt(real.ciphertexts, of: reals, form: .unsigned, as: fixture.alice)
        }
        // Before a seed was opened, and so at no cost.
        for keySet in [integers, reals] {
            #expect(try await fixture.manager.show(keySet, as: fixture.alice).counters.decryptions == 0)
        }
    }

    @Test("parameters and policies that may not be are refused by name")
    func registration() async throws {
        let fixture = try await Fixture()
        let good = try Self.parameters()
        func register(_ t: UInt64, policy: KeySetPolicy = Self.exact) async throws {
            let parameters = try EncryptionParameters(
                scheme: .bfv, logN: good.logN, q: good.q, p: good.p, alpha: good.alpha, t: t)
            _ = try await fixture.manager.register(
                RegistrationRequest(
                    requestID: UUID().uuidString, mode: .direct, owner: fixture.alice.owner, parameters: parameters,
                    evaluationKeys: [], profile: nil, policy: policy), as: fixture.alice)
        }
        // Prime, but not 1 modulo 2N; 1 modulo 2N, but not prime; neither.
        for t: UInt64 in [65539, 8193, 65536, 2] {
            do {
                try await register(t)
                Issue.record("\(t) was taken")
            } catch KeyManagementError.homomorphicEncryption(.plaintextModulusDoesNotBatch(let found, _, let example)) {
                #expect(found == t && example % 8192 == 1)
            }
        }
        for t: UInt64 in [0, 1, 1 << 60, good.q[0]] {
            #expect(throws: HEError.self) {
                try EncryptionParameters(
                    scheme: .bfv, logN: good.logN, q: good.q, p: good.p, alpha: good.alpha, t: t)
            }
        }
        await #expect(throws: KeyManagementError.self) { try await register(65537, policy: .raw()) }
        await #expect(throws: KeyManagementError.self) {
            try await fixture.manager.register(fixture.request(policy: Self.exact), as: fixture.alice)
        }
        #expect(try await fixture.manager.list(as: fixture.alice).isEmpty)
        try await register(40961)
    }

    // MARK: Jobs

    /// A unit whose circuit takes two operands, and answers with its first.
    private struct Unit {
        let profile: CircuitProfile
        let registered: RegisteredUnit
        let key: SigningKey

        init(operands: Int?) throws {
            profile = CircuitProfile(
                model: "pairs", modelDigest: Digest(of: [1]), parameters: try IntegerTests.parameters(), scaleBits: 0,
                inputLevel: 2, outputLevel: 2, batch: 1, evaluationKeys: [], operands: operands)
            key = try SigningKey(seed: SecretBytes(randomCount: 32))
            registered = RegisteredUnit(name: "unit-1", verificationKey: key.verificationKey, operator: nil)
        }

        func receipt(_ job: JobDescription, _ outputs: [[UInt8]]) throws -> [UInt8] {
            try SignedStatement(
                Receipt(
                    job: job.job, nonce: job.nonce, keySet: job.keySet, manifest: job.manifest,
                    modelDigest: job.modelDigest, profile: profile.digest, inputs: job.inputs,
                    outputs: outputs.map { Digest(of: $0) }, unit: job.unit, evaluated: Date()), by: key
            ).serialized()
        }
    }

    @Test("a circuit takes what was encrypted for it, operand by operand, and as many results as evaluations")
    func jobs() async throws {
        let fixture = try await Fixture()
        let keySet = try await register(fixture)
        let unit = try Unit(operands: 2)
        let manager = fixture.manager
        func open(_ inputs: [Digest]) async throws -> JobDescription {
            try await manager.openJob(
                inputs: inputs, keySet: keySet, profile: unit.profile, unit: unit.registered, keepsOutputs: true,
                as: fixture.alice
            ).body
        }
        let vectors: [EncryptionInput] = [.integers([1]), .integers([2]), .integers([3]), .integers([4])]
        let checked = try await manager.encrypt(
            vectors, under: keySet, circuit: unit.profile, as: fixture.alice)
        let unchecked = try await manager.encrypt(vectors, under: keySet, as: fixture.alice)
        let others = try await manager.encrypt(
            vectors, under: keySet, circuit: Unit(operands: nil).profile, as: fixture.alice)
        for other in [unchecked, others] {
            await #expect(throws: KeyManagementError.notCircuitInput(other.digests[0])) {
                try await open(other.digests)
            }
        }
        let swapped = [1, 0, 3, 2].map { checked.digests[$0] }
        await #expect(throws: KeyManagementError.notCircuitInput(swapped[0])) { try await open(swapped) }
        await #expect(throws: KeyManagementError.self) { try await open(Array(checked.digests.prefix(3))) }

        let job = try await open(checked.digests)
        // As many as inputs, or one for all, is not what two evaluations give.
        for outputs in [checked.ciphertexts, [checked.ciphertexts[0]]] {
            await #expect(throws: KeyManagementError.receiptRejected(.mismatch(field: "number of outputs"))) {
                try await manager.completeJob(
                    job.job, receipt: unit.receipt(job, outputs), outputs: outputs, unit: unit.registered,
                    profile: unit.profile)
            }
        }
        let context = try EncryptionContext.shared(unit.profile.parameters)
        let publicKey = try PublicKey(
            serialized: await manager.publicKey(keySet, as: fixture.alice), context: context)
        let outputs = try [5, 6].map { try publicKey.encrypt(BFVEncoder(context).encode([$0])).serialized() }
        let receipt = try unit.receipt(job, outputs)
        let done = try await manager.completeJob(
            job.job, receipt: receipt, outputs: outputs, unit: unit.registered, profile: unit.profile)
        #expect(done.state == .evaluated)
        let back = try await manager.decrypt(outputs, of: keySet, count: 1, as: fixture.alice)
        #expect(back.integers == [[5], [6]])
        // Results are no inputs.
        await #expect(throws: KeyManagementError.notVouched(done.outputs[0])) { try await open(done.outputs) }
    }

    @Test("decrypt.any decrypts what nobody vouches for, and marks the key set for ever")
    func decryptAny() async throws {
        let fixture = try await Fixture(decryptAny: ["alice"])
        let keySet = try await register(fixture, policy: KeySetPolicy.unflooded(.bfv, decryptAny: true))
        let plain = try await register(fixture)
        let context = try EncryptionContext.shared(Self.parameters())
        for (keySet, isGranted) in [(keySet, true), (plain, false)] {
            let publicKey = try PublicKey(
                serialized: await fixture.manager.publicKey(keySet, as: fixture.alice), context: context)
            let outside = try publicKey.encrypt(BFVEncoder(context).encode([-5])).serialized()
            guard isGranted else {
                await #expect(throws: KeyManagementError.notVouched(Digest(of: outside))) {
                    try await fixture.manager.decrypt([outside], of: keySet, as: fixture.alice)
                }
                continue
            }
            let back = try await fixture.manager.decrypt([outside], of: keySet, count: 1, as: fixture.alice)
            #expect(back.integers == [[-5]])
            #expect(try await fixture.manager.show(keySet, as: fixture.alice).exposed)
        }
    }

    @Test("a ciphertext of another key set, or altered, is not vouched for")
    func foreignCiphertext() async throws {
        let fixture = try await Fixture()
        let (first, second) = (try await register(fixture), try await register(fixture))
        let ciphertext = try await fixture.manager.encrypt([.integers([1])], under: first, as: fixture.alice)
            .ciphertexts[0]
        await #expect(throws: KeyManagementError.notVouched(Digest(of: ciphertext))) {
            try await fixture.manager.decrypt([ciphertext], of: second, as: fixture.alice)
        }
        for index in [0, 40, 112, ciphertext.count / 2, ciphertext.count - 1] {
            var altered = ciphertext
            altered[index] ^= 1
            let bytes = altered
            await #expect(throws: KeyManagementError.notVouched(Digest(of: bytes))) {
                try await fixture.manager.decrypt([bytes], of: first, as: fixture.alice)
            }
        }
    }

    @Test("the budget is debited, and exhausted by name")
    func budget() async throws {
        let fixture = try await Fixture()
        let keySet = try await register(fixture, policy: KeySetPolicy.unflooded(.bfv, decryptionBudget: 2))
        let encrypted = try await fixture.manager.encrypt(
            [.integers([1]), .integers([2])], under: keySet, as: fixture.alice)
        _ = try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, count: 1, as: fixture.alice)
        await #expect(throws: KeyManagementError.budgetExhausted) {
            try await fixture.manager.decrypt([encrypted.ciphertexts[0]], of: keySet, as: fixture.alice)
        }
    }
}
