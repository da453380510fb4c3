import Attestation
import Foundation
import HomomorphicEncryption
import SecretMemory
import TestSupport
import Testing

/// Manifests byte by byte, by the independent implementation Tests/Reference/manifest_vectors.py.
@Suite struct ManifestVectorTests {
    private struct Vector: Decodable {
        let name: String
        let version: Int
        let digest: String
        let envelope: String

        var bytes: [UInt8] { Array(envelope.utf8) }
    }

    private let vectors: [Vector]
    private let key: SigningKey

    init() throws {
        let file = try #require(
            Bundle.module.url(forResource: "manifests", withExtension: "json", subdirectory: "Vectors"))
        vectors = try JSONDecoder().decode([Vector].self, from: Data(contentsOf: file))
        key = try Fixtures.alice()
    }

    private func read(_ envelope: [UInt8]) throws -> SignedStatement<KeySetManifest> {
        try SignedStatement(verifying: envelope, pinned: [key.verificationKey])
    }

    private func read(_ name: String) throws -> SignedStatement<KeySetManifest> {
        try read(try #require(vectors.first { $0.name == name }).bytes)
    }

    /// What the vectors of this policy say, made here.
    private func manifest(_ policy: KeySetPolicy) throws -> KeySetManifest {
        let isExact = policy.release == .exact
        let parameters =
            isExact
            ? try #require(BFVParameterPreset.named("bfv-12")).parameters : try Fixtures.parameters("ckks-13")
        func object(_ kind: KeySetObject.Kind, _ galois: UInt32, _ level: Int, _ byte: UInt8) throws -> KeySetObject {
            KeySetObject(
                kind: kind, galois: galois, level: level, generation: 2, bytes: 100 * Int(byte),
                digest: try Fixtures.digest(byte))
        }
        let profile = CircuitProfile(
            model: "m", modelDigest: try Fixtures.digest(5), parameters: parameters, scaleBits: isExact ? 0 : 60,
            inputLevel: isExact ? 2 : 4, outputLevel: isExact ? 2 : 3, batch: 1,
            evaluationKeys: [EvaluationKeyID(kind: .relinearization, level: 2)], operands: isExact ? 2 : nil)
        return KeySetManifest(
            keySet: "ks-1", version: 3, installation: "test", tenant: "default",
            owner: KeySetOwner(kind: .user, issuer: "static", subject: "alice"), parameters: parameters,
            parameterDigest: try #require(Digest(bytes: parameters.digest)), suite: 1, generation: 2, origin: .derived,
            sealing: .init(
                mode: .envelope, provider: "software", keyName: "master", keyVersion: 1, epoch: 4,
                sealedSeed: try Fixtures.digest(9), sealedDataKey: try Fixtures.digest(10)),
            commitment: try Fixtures.digest(11),
            objects: try [
                object(.publicKey, 0, parameters.q.count, 1), object(.relinearization, 0, 2, 2),
                object(.galois, 9, 2, 3),
            ], state: .active, dates: .init(created: Fixtures.date, activated: Fixtures.date), policy: policy,
            profile: profile, manifestKey: try SecretBytes(copying: Fixtures.manifestKeyBytes))
    }

    private func flooded() throws -> KeySetPolicy {
        .flooded(
            FloodedRelease(
                precision: 1e-3,
                policy: try FloodingPolicy(
                    errorBound: 0x1p20, budget: 100, precision: 1e-3, level: 3, scaleBits: 60, audience: .shared)))
    }

    @Test("version 2, each kind of release: the bytes are read as what they say, and are those that are written")
    func versionTwo() throws {
        let policies = ["raw": .raw(decryptionBudget: 10), "flooded": try flooded(), "exact": .unflooded(.bfv)]
        #expect(Set(vectors.filter { $0.version == 2 }.map(\.name)) == Set(policies.keys))
        for (name, policy) in policies {
            let (signed, expected) = (try read(name), try manifest(policy))
            #expect(signed.body == expected, "\(name)")
            #expect(try signed.body.isProved(by: SecretBytes(copying: Fixtures.manifestKeyBytes)), "\(name)")
            let vector = try #require(vectors.first { $0.name == name })
            #expect(try signed.digest.hex == vector.digest && signed.serialized() == vector.bytes, "\(name)")
            // Signatures need not be the same twice; what is signed is.
            let written = try SignedStatement(expected, by: key)
            #expect(String(decoding: written.payload, as: UTF8.self) == String(decoding: signed.payload, as: UTF8.self))
            #expect(try LooseEnvelope(written.serialized()).payloadType == LooseEnvelope(vector.bytes).payloadType)
        }
        #expect(try read("flooded").body.policy.flooding?.policy.step == 0x1p-11)
        #expect(try read("exact").body.profile?.operands == 2)
    }

    @Test("version 1 is read, passed on as it came, and signed anew as version 2")
    func versionOne() throws {
        let vector = try #require(vectors.first { $0.version == 1 })
        let signed = try read(vector.bytes)
        #expect(try signed.body == manifest(.raw(decryptionBudget: 10)))
        #expect(try signed.body.isProved(by: SecretBytes(copying: Fixtures.manifestKeyBytes)))
        #expect(try signed.digest.hex == vector.digest && signed.serialized() == vector.bytes)
        #expect(try SignedStatement(signed.body, by: key).payload == read("raw").payload)
        #expect(
            try LooseEnvelope(SignedStatement(signed.body, by: key).serialized()).payloadType
                == LooseEnvelope(try #require(vectors.first { $0.name == "raw" }).bytes).payloadType)
        // One version's signature is none of the other's.
        var moved = try LooseEnvelope(vector.bytes)
        moved.payloadType = KeySetManifest.payloadType
        let bytes = try moved.bytes
        #expect(throws: AttestationError.badSignature) { try read(bytes) }
    }
}
