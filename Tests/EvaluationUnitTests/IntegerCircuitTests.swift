import Attestation
import EncryptedInference
import EvaluationUnit
import Foundation
import HomomorphicEncryption
import SecretKeys
import SecretMemory
import ServiceKit
import Testing

/// Circuits on exact integers at a unit that has models, too.
@Suite struct IntegerCircuitTests {
    static let file = Array(
        """
        {"format": "hkms.circuit.v1", "name": "totals", "version": 1, "description": "for tests",
         "columns": [{"name": "a", "minimum": -3, "maximum": 9}, {"name": "b", "minimum": 0, "maximum": 250}],
         "records": 4, "sums": [["a"], ["a", "b"]]}
        """.utf8)

    /// A key set made from a fixed seed for the circuit.
    private struct Keys: Sendable {
        let circuit: CompiledIntegerCircuit
        let descriptor: IntegerCircuitDescriptor
        let publicKey: PublicKey
        let keys: [Digest: [UInt8]]
        let manifest: KeySetManifest

        private static func seed() throws -> Seed {
            guard let seed = Seed(try SecretBytes(copying: [UInt8](repeating: 9, count: 32))) else {
                throw HEError.malformedObject(reason: "seed")
            }
            return seed
        }

        init() throws {
            circuit = try CompiledIntegerCircuit(IntegerCircuit(parsing: file))
            descriptor = IntegerCircuitDescriptor(circuit, unit: "unit-1")
            let context = circuit.context
            let seed = try Self.seed()
            let secret = try seed.secretKey(context)
            publicKey = try seed.publicKey(secret)
            var objects: [KeySetObject] = []
            var keys: [Digest: [UInt8]] = [:]
            for id in circuit.profile.evaluationKeys {
                let bytes = try seed.evaluationKey(id, secret).serialized()
                objects.append(
                    KeySetObject(
                        kind: id.kind == .galois ? .galois : .relinearization, galois: id.galois, level: id.level,
                        generation: 0, bytes: bytes.count, digest: Digest(of: bytes)))
                keys[Digest(of: bytes)] = bytes
            }
            self.keys = keys
            let digest = try #require(Digest(bytes: context.parameterDigest))
            manifest = KeySetManifest(
                keySet: "ks-1", version: 1, installation: "test", tenant: "default",
                owner: KeySetOwner(kind: .user, issuer: "static", subject: "alice"), parameters: context.parameters,
                parameterDigest: digest, suite: 1, generation: 0, origin: .derived,
                sealing: .init(
                    mode: .ephemeral, provider: "none", keyName: "none", keyVersion: nil, epoch: 0, sealedSeed: nil,
                    sealedDataKey: nil),
                commitment: try #require(Digest(bytes: try seed.commitment(context.parameterDigest))),
                objects: objects, state: .active, dates: .init(created: Date()), policy: .unflooded(.bfv),
                profile: circuit.profile, manifestKey: try seed.manifestKey(context.parameterDigest))
        }

        func encrypt(_ records: [IntegerRecord], level: Int? = nil) throws -> [[UInt8]] {
            let encoder = try BFVEncoder(circuit.context)
            return try descriptor.slots(of: records).map {
                try publicKey.encrypt(encoder.encode($0), level: level ?? circuit.profile.inputLevel).serialized()
            }
        }

        func decrypt(_ output: [UInt8]) throws -> [Int64] {
            let secret = try Self.seed().secretKey(circuit.context)
            let ciphertext = try Ciphertext(serialized: output, context: circuit.context)
            let slots = try BFVEncoder(circuit.context).decode(secret.decryptBFV(ciphertext))
            return descriptor.results.map { slots[$0.slot] }
        }

        func job(_ manifest: Digest, _ inputs: [[UInt8]]) -> JobDescription {
            JobDescription(
                job: "job-1", nonce: Digest(of: (0..<32).map { _ in UInt8.random(in: .min ... .max) }),
                gateway: "gateway-1", unit: "unit-1", keySet: "ks-1", manifest: manifest, model: "totals",
                modelDigest: circuit.digest, inputs: inputs.map { Digest(of: $0) }, created: Date())
        }
    }

    private func bring(_ keys: Keys, to unit: Conversation) async throws -> Digest {
        let manifest = try unit.bench.signed(keys.manifest)
        let need = try await unit.announce(manifest).need
        #expect(Set(need) == Set(keys.keys.keys.map(\.hex)))
        for digest in need {
            let known = try #require(Digest(hex: digest))
            let bytes = try #require(keys.keys[known])
            let answer = try await unit.send(.put, "/v1/manifests/\(manifest.digest)/keys/\(digest)", body: bytes)
            try #require(answer.status == .noContent, "\(answer.text)")
        }
        return manifest.digest
    }

    @Test("a circuit stands in the list of models, and is evaluated with its operands in turn")
    func evaluate() async throws {
        let keys = try Keys()
        try await Bench(models: [try Models.tiny(), keys.circuit]).run { unit async throws in
            let list = try APIJSON.decode(
                UnitModelList.self, from: try await unit.send(.get, "/v1/models").bytes)
            let names = try list.descriptors.map {
                try CircuitDescriptions.read(Array($0.utf8), pinned: [unit.bench.unitKey]).name
            }
            #expect(names == ["tiny", "totals"])
            let manifest = try await bring(keys, to: unit)
            // Three batches of two operands, the last not full.
            let records = (0..<9).map { (row: Int64) -> IntegerRecord in ["a": row - 3, "b": 29 * row] }
            let inputs = try keys.encrypt(records)
            #expect(inputs.count == 6)
            let job = keys.job(manifest, inputs)
            let answer = try await unit.send(.post, "/v1/evaluate", body: try unit.bundle(job, inputs))
            try #require(answer.status == .ok, "\(answer.text)")
            let strings = try OctetBundle.decode(answer.bytes, maximumCount: 100, maximumBytes: 1 << 30)
            let receipt = try SignedStatement<Receipt>(verifying: strings[0], pinned: [unit.bench.unitKey]).body
            let outputs = Array(strings.dropFirst())
            try receipt.validate(answering: job, profile: keys.circuit.profile.digest, operands: 2)
            #expect(throws: AttestationError.mismatch(field: "number of outputs")) {
                try receipt.validate(answering: job, profile: keys.circuit.profile.digest)
            }
            #expect(receipt.outputs == outputs.map { Digest(of: $0) } && outputs.count == 3)
            var totals: [Int64] = [0, 0]
            for output in outputs {
                for (index, value) in try keys.decrypt(output).enumerated() { totals[index] += value }
            }
            let plain = records.map { [$0["a"] ?? 0, $0["b"] ?? 0] }
            #expect(totals == keys.circuit.circuit.evaluateInTheClear(plain))
        }
    }

    @Test("inputs that do not make whole evaluations, or are of another level, are refused by name")
    func refusals() async throws {
        let keys = try Keys()
        try await Bench(models: [keys.circuit]).run { unit async throws in
            let manifest = try await bring(keys, to: unit)
            let inputs = try keys.encrypt([["a": 1, "b": 2]])
            let half = [inputs[0]]
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: unit.bundle(keys.job(manifest, half), half))
                    == "incomplete-operands")
            let low = try keys.encrypt([["a": 1, "b": 2]], level: keys.circuit.profile.inputLevel - 1)
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: unit.bundle(keys.job(manifest, low), low))
                    == "unsuitable-ciphertext")
            var altered = inputs
            altered[1][altered[1].count / 2] ^= 1
            let bytes = altered
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: unit.bundle(keys.job(manifest, bytes), bytes))
                    == "malformed-ciphertext")
        }
    }

    @Test("a plan for flooded results is not made for a circuit on integers")
    func noPlan() async throws {
        try await Bench(models: [try Keys().circuit]).run { unit async throws in
            #expect(try await unit.refusal(.post, "/v1/models/totals/plan", body: Array("{}".utf8)) == "unknown-model")
        }
    }
}
