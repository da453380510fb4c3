import Attestation
import HomomorphicEncryption
import KeyManagement
import RLWE
import SecretKeys
import SecretMemory
import Testing

/// Sets of evaluation keys that are made several at a time, and more of them than are made together.
@Suite(.serialized) struct KeyCreationTests {
    /// Keys of 768 KiB; 85 are made together.
    private static let count = 90

    private static func request(by owner: Requester, id: String = "keys") throws -> RegistrationRequest {
        let parameters = try #require(ParameterPreset.named("ckks-13")).parameters
        let level = parameters.maximumEvaluationKeyLevel
        let steps = (1..<count).map {
            EvaluationKeyID(
                kind: .galois,
                galois: UInt32(GaloisAutomorphism.element(rotatingBy: $0, degree: parameters.degree)), level: level)
        }
        return RegistrationRequest(
            requestID: id, mode: .direct, owner: owner.owner, parameters: parameters,
            evaluationKeys: [EvaluationKeyID(kind: .relinearization, level: level)] + steps, profile: nil,
            policy: KeySetPolicy.raw(decryptionBudget: FaultBench.budget))
    }

    @Test("stored keys are those of the seed, in their order, for any number of threads", arguments: [1, 3])
    func stored(width: Int) async throws {
        let bench = try await FaultBench()
        let request = try Self.request(by: bench.alice)
        Parallelism.width = width
        defer { Parallelism.width = 1 }
        let manager = bench.manager()
        let manifest = try await manager.register(request, as: bench.alice).keySet.manifest
        Parallelism.width = 1
        let bytes = try #require(bench.kms.secrets.last)
        let context = try EncryptionContext(request.parameters)
        guard let seed = Seed(try Self.secret(bytes)) else { throw KeyManagementError.internalFailure(reason: "seed") }
        let secret = try seed.secretKey(context)
        let keys = manifest.objects.filter { $0.kind != .publicKey }
        #expect(keys.map(\.galois) == request.evaluationKeys.map(\.galois))
        for (entry, id) in zip(keys, request.evaluationKeys) {
            let stored = try await manager.evaluationKey(entry.name, of: manifest.keySet, as: bench.alice)
            let expected = try seed.evaluationKey(id, secret).serialized()
            #expect(stored == expected, "\(entry.name)")
        }
    }

    private static func secret(_ bytes: [UInt8]) throws -> SecretBytes {
        var secret = try SecretBytes(count: bytes.count)
        secret.withUnsafeMutableBytes { $0.copyBytes(from: bytes) }
        return secret
    }

    @Test(
        "a failure among many keys leaves nothing, and the next attempt succeeds",
        arguments: [Fault.refused, .hangs])
    func failure(fault: Fault) async throws {
        let bench = try await FaultBench()
        let alice = bench.alice
        bench.plan.disarm()
        _ = try await bench.manager().register(Self.request(by: alice, id: "trial"), as: alice)
        let ports = bench.plan.ports
        let trial = try await bench.newKeySets()
        let puts = ports.indices.filter { ports[$0] == .objects }
        // Keys of the first chunk, of which more are being made meanwhile; the making of each; keys of the last.
        let calls =
            [puts[5], puts[40], puts[puts.count - 3]] + ports.indices.filter { ports[$0] == .compute }.suffix(2)
        for (index, call) in calls.enumerated() {
            let request = try Self.request(by: alice, id: "\(index)")
            let manager = bench.manager()
            let outcome = await bench.attempt(fault, at: call + 1) {
                _ = try await manager.register(request, as: alice)
            }
            #expect(outcome.error is KeyManagementError, "call \(call)")
            #expect(try await bench.newKeySets() == trial, "call \(call)")
            try await bench.checkObjects("call \(call)")
        }
        let again = try await bench.manager().register(Self.request(by: alice, id: "0"), as: alice)
        #expect(again.isNew)
        #expect(again.keySet.manifest.objects.count == Self.count + 1)
        try await bench.checkObjects("in the end")
    }
}
