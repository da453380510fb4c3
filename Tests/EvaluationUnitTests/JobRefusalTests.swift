import Attestation
import EncryptedInference
import EvaluationUnit
import Foundation
import HomomorphicEncryption
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceKit
import Testing

@Suite struct JobRefusalTests {
    @Test("jobs that do not fit, by what does not fit")
    func jobs() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let otherModel = try Models.tiny(name: "other", bias: 0.5)
        let heart = try Models.heartDisease()
        try await Bench(models: [keys.model, otherModel, heart]).run { unit async throws in
            let bench = unit.bench
            let manifest = try await unit.bring(keys)
            let inputs = try keys.encrypt(Models.tinyRecords(3)) + keys.encrypt(Models.tinyRecords(4))
            func refusal(
                signed key: SigningKey? = nil, sending sent: [[UInt8]]? = nil, _ change: (inout JobDescription) -> Void
            ) async throws -> String {
                let job = bench.job(keys, manifest: manifest, inputs: inputs, change: change)
                return try await unit.refusal(
                    .post, "/v1/evaluate", body: try unit.bundle(job, sent ?? inputs, by: key))
            }
            #expect(try await refusal(signed: bench.stranger) { _ in } == "job-not-trusted")
            #expect(
                try await refusal(signed: bench.secondGateway) { _ in } == "job-not-trusted",
                "request and job are by one gateway")
            #expect(try await refusal { $0.created = Date() - 602 } == "job-expired")
            #expect(try await refusal { $0.created = Date() + 120 } == "job-not-yet-valid")
            #expect(try await refusal { $0.manifest = Digest(of: [1]) } == "unknown-manifest")
            #expect(try await refusal { $0.keySet = "ks-9" } == "job-key-set-mismatch")
            #expect(try await refusal { $0.model = "nothing" } == "unknown-model")
            #expect(try await refusal { $0.modelDigest = otherModel.model.digest } == "model-digest-mismatch")
            #expect(try await refusal { $0.model = "other" } == "model-digest-mismatch")
            #expect(try await refusal(sending: inputs.reversed()) { _ in } == "inputs-mismatch")
            #expect(try await refusal(sending: [inputs[0]]) { _ in } == "inputs-mismatch")
            #expect(try await refusal(sending: inputs + [inputs[0]]) { _ in } == "inputs-mismatch")
            #expect(try await refusal(sending: []) { $0.inputs = [] } == "inputs-mismatch")
            var altered = inputs
            altered[1][200] ^= 1
            #expect(try await refusal(sending: altered) { _ in } == "inputs-mismatch")
            // Same parameters, more rotations than this key set has.
            #expect(heart.context.parameterDigest == keys.model.context.parameterDigest)
            #expect(
                try await refusal {
                    $0.model = heart.model.name
                    $0.modelDigest = heart.model.digest
                } == "manifest-lacks-evaluation-keys")
        }
    }

    @Test("a job is accepted once, and a refused one may come again")
    func replay() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        try await Bench(models: [keys.model]).run { unit async throws in
            let manifest = try unit.bench.signed(keys.manifest)
            _ = try await unit.announce(manifest)
            let inputs = try keys.encrypt(Models.tinyRecords(3))
            let job = unit.bench.job(keys, manifest: manifest.digest, inputs: inputs)
            let body = try unit.bundle(job, inputs)
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "missing-evaluation-keys")
            let problem = Problem(
                decoding: try await unit.send(.post, "/v1/evaluate", body: body).bytes, status: 409)
            #expect(problem.detail.contains("relinearization") && problem.detail.contains("galois-"))
            try await unit.bring(keys)
            _ = try await unit.evaluate(keys, job, inputs)
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "job-replayed")
        }
    }

    @Test("a job is computed only with all keys")
    func oneKeyMissing() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        try await Bench(models: [keys.model]).run { unit async throws in
            let manifest = try unit.bench.signed(keys.manifest)
            let need = try await unit.announce(manifest).need
            for key in need.dropLast() {
                let bytes = try #require(Digest(hex: key).flatMap { keys.keys[$0] })
                _ = try await unit.send(.put, "/v1/manifests/\(manifest.digest)/keys/\(key)", body: bytes)
            }
            #expect(try await unit.status(manifest.digest).need == need.suffix(1))
            let inputs = try keys.encrypt(Models.tinyRecords(3))
            let job = unit.bench.job(keys, manifest: manifest.digest, inputs: inputs)
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: try unit.bundle(job, inputs))
                    == "missing-evaluation-keys")
        }
    }

    @Test("ciphertexts that the circuit does not take")
    func ciphertexts() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let profile = keys.descriptor.profile
        let foreign = try EncryptionContext(try #require(ParameterPreset.named("ckks-14")).parameters)
        let foreignCiphertext = try KeySetFixture.unrelatedCiphertext(foreign)
        try await Bench(models: [keys.model]).run { unit async throws in
            let manifest = try await unit.bring(keys)
            let good = try keys.encrypt(Models.tinyRecords(3))[0]
            func refusal(_ input: [UInt8]) async throws -> String {
                let inputs = [good, input, good]
                let job = unit.bench.job(keys, manifest: manifest, inputs: inputs)
                let body = try unit.bundle(job, inputs)
                let name = try await unit.refusal(.post, "/v1/evaluate", body: body)
                // Its nonce is not used up.
                #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == name)
                return name
            }
            let slots = [1.0, 2, 3]
            #expect(
                try await refusal(try keys.encrypt(slots: slots, scale: profile.scale, level: profile.inputLevel - 1))
                    == "unsuitable-ciphertext")
            #expect(
                try await refusal(try keys.encrypt(slots: slots, scale: profile.scale * 2, level: profile.inputLevel))
                    == "unsuitable-ciphertext")
            #expect(try await refusal(foreignCiphertext) == "unsuitable-ciphertext")
            #expect(try await refusal(keys.publicKey.serialized()) == "malformed-ciphertext")
            #expect(try await refusal(Array(good.dropLast())) == "malformed-ciphertext")
            #expect(try await refusal([]) == "malformed-ciphertext")
            var altered = good
            altered[300] ^= 1
            #expect(try await refusal(altered) == "malformed-ciphertext")
        }
    }

    @Test("bodies that are no bundle of a job")
    func bundles() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        try await Bench(models: [keys.model]).run { unit async throws in
            let inputs = [[UInt8](repeating: 1, count: 8)]
            let job = unit.bench.job(keys, manifest: Digest(of: [1]), inputs: inputs)
            let good = try unit.bundle(job, inputs)
            func refusal(_ body: [UInt8]) async throws -> String {
                try await unit.refusal(.post, "/v1/evaluate", body: body)
            }
            #expect(try await refusal([]) == "bundle-malformed")
            #expect(try await refusal(Array("garbage".utf8)) == "bundle-malformed")
            #expect(try await refusal(good.dropLast()) == "bundle-malformed")
            #expect(try await refusal(good + [0]) == "bundle-malformed")
            #expect(try await refusal(OctetBundle.encode([])) == "malformed-job")
            #expect(try await refusal(OctetBundle.encode([[1, 2, 3]])) == "malformed-job")
            let receipt = try unit.bench.signed(keys.manifest, by: unit.bench.gateway).serialized()
            #expect(try await refusal(OctetBundle.encode([receipt])) == "malformed-job", "a statement of another type")
            let many = OctetBundle.encode([[UInt8]](repeating: [], count: 5000))
            #expect(try await refusal(many) == "bundle-too-large")
        }
    }

    @Test("a full pool refuses at once, and the refused job may come again")
    func saturation() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let bench = Bench(models: [keys.model], limits: .init(threads: 1, queued: 0))
        try await bench.run { unit async throws in
            let manifest = try await unit.bring(keys)
            let inputs = try keys.encrypt(Models.tinyRecords(8 * keys.descriptor.packing.batch))
            let bodies = try (0..<2).map { _ in
                try unit.bundle(bench.job(keys, manifest: manifest, inputs: inputs), inputs)
            }
            async let first = unit.send(.post, "/v1/evaluate", body: bodies[0])
            async let second = unit.send(.post, "/v1/evaluate", body: bodies[1])
            let responses = try await [first, second]
            let refused = try #require(responses.firstIndex { $0.status != .ok })
            #expect(try unit.checkedName(of: responses[refused]) == "compute-saturated")
            #expect(responses[refused].headers[.retryAfter] == "2")
            #expect(responses[1 - refused].status == .ok)
            #expect(try await unit.send(.post, "/v1/evaluate", body: bodies[refused]).status == .ok)
        }
    }
}

extension KeySetFixture {
    /// A well-formed ciphertext of other parameters.
    static func unrelatedCiphertext(_ context: EncryptionContext) throws -> [UInt8] {
        let plaintext = try CKKSEncoder(context).encode([1], scale: 0x1p40)
        return try Ciphertext(
            context: context, polynomials: [plaintext.polynomial, plaintext.polynomial], scale: 0x1p40
        ).serialized()
    }
}
