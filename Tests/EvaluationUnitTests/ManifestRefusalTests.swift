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

@Suite struct ManifestRefusalTests {
    private static func path(_ digest: Digest) -> String { "/v1/manifests/\(digest)" }

    @Test("manifests that are not believed")
    func manifests() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let bench = Bench(models: [keys.model], installation: "test", tenant: "default")
        try await bench.run { unit async throws in
            func refusal(
                _ change: (inout KeySetManifest) -> Void, by key: SigningKey? = nil
            ) async throws -> String {
                var manifest = keys.manifest
                change(&manifest)
                let signed = try bench.signed(manifest, by: key)
                return try await unit.refusal(.put, Self.path(signed.digest), body: try signed.serialized())
            }
            #expect(try await refusal({ _ in }, by: bench.stranger) == "manifest-not-trusted")
            #expect(try await refusal({ _ in }, by: bench.gateway) == "manifest-not-trusted")
            for state in KeySetState.allCases where state != .active {
                #expect(try await refusal { $0.state = state } == "manifest-not-active")
            }
            #expect(try await refusal { $0.installation = "other" } == "manifest-not-for-this-unit")
            #expect(try await refusal { $0.tenant = "other" } == "manifest-not-for-this-unit")
            #expect(try await refusal { $0.parameterDigest = Digest(of: []) } == "malformed-manifest")
            #expect(try await refusal { $0.objects.append($0.objects[1]) } == "malformed-manifest")
            #expect(
                try await refusal {
                    let key = $0.objects[1]
                    $0.objects[1] = KeySetObject(
                        kind: key.kind, galois: key.galois, level: key.level, generation: 0, bytes: key.bytes + 1,
                        digest: key.digest)
                } == "malformed-manifest")
            #expect(
                try await refusal {
                    $0.objects[1] = KeySetObject(
                        kind: .galois, galois: 4, level: 1, generation: 0, bytes: 1, digest: Digest(of: [1]))
                } == "malformed-manifest")

            let good = try bench.signed(keys.manifest)
            let other = Digest(of: [1])
            #expect(
                try await unit.refusal(.put, Self.path(other), body: try good.serialized())
                    == "manifest-digest-mismatch")
            #expect(try await unit.refusal(.put, Self.path(other), body: Array("{}".utf8)) == "malformed-manifest")
            #expect(try await unit.refusal(.put, Self.path(other)) == "malformed-manifest")
            let job = unit.bench.job(keys, manifest: other, inputs: [[1]])
            let envelope = try SignedStatement(job, by: bench.manifestKey).serialized()
            #expect(try await unit.refusal(.put, Self.path(other), body: envelope) == "malformed-manifest")
            #expect(try await unit.refusal(.get, Self.path(good.digest)) == "unknown-manifest", "none was kept")
        }
    }

    @Test("evaluation keys that are not the manifest's")
    func keys() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let others = try KeySetFixture(keys.model, seedByte: 8, keySet: "ks-2")
        let fixture = try #require(keys.keys.sorted { $0.key.hex < $1.key.hex }.first)
        let other = try #require(others.keys.first)
        try await Bench(models: [keys.model]).run { unit async throws in
            let manifest = try unit.bench.signed(keys.manifest)
            func path(_ key: Digest) -> String { "\(Self.path(manifest.digest))/keys/\(key)" }
            #expect(try await unit.refusal(.put, path(fixture.key), body: fixture.value) == "unknown-manifest")
            _ = try await unit.announce(manifest)
            #expect(try await unit.refusal(.put, path(other.key), body: other.value) == "key-not-in-manifest")
            let publicKey = try #require(keys.manifest.publicKey)
            #expect(
                try await unit.refusal(.put, path(publicKey.digest), body: keys.publicKey.serialized())
                    == "key-not-in-manifest")
            var altered = fixture.value
            altered[altered.count - 1] ^= 1
            #expect(try await unit.refusal(.put, path(fixture.key), body: altered) == "key-digest-mismatch")
            #expect(
                try await unit.refusal(.put, path(fixture.key), body: fixture.value + [0]) == "body-too-large",
                "the manifest's entry is the limit")
            #expect(try await unit.refusal(.put, path(fixture.key)) == "key-digest-mismatch")
            #expect(try await unit.status(manifest.digest).have.isEmpty)
        }
    }

    @Test("keys that are not what the manifest says, and objects that are none")
    func contradictions() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let galois = keys.manifest.objects.filter { $0.kind == .galois && $0.level == 4 }
        try #require(galois.count >= 2)
        let garbage = [UInt8](repeating: 9, count: galois[1].bytes)
        try await Bench(models: [keys.model]).run { unit async throws in
            // Two keys of equal length with their digests swapped, and garbage of the right length.
            var manifest = keys.manifest
            manifest.objects = [
                galois[0].with(digest: galois[1].digest), galois[1].with(digest: Digest(of: garbage)),
            ]
            let signed = try unit.bench.signed(manifest)
            _ = try await unit.announce(signed)
            let bytes = try #require(keys.keys[galois[1].digest])
            func path(_ key: Digest) -> String { "\(Self.path(signed.digest))/keys/\(key)" }
            #expect(try await unit.refusal(.put, path(galois[1].digest), body: bytes) == "key-contradicts-manifest")
            #expect(
                try await unit.refusal(.put, path(Digest(of: garbage)), body: garbage) == "malformed-evaluation-key")
        }
    }

    @Test("a key set for no model of this unit needs nothing and brings nothing")
    func otherParameters() async throws {
        let preset = try #require(ParameterPreset.named("ckks-12"))
        let keys = try KeySetFixture(try Models.tiny())
        let context = try EncryptionContext(preset.parameters)
        let digest = try #require(Digest(bytes: context.parameterDigest))
        try await Bench(models: [keys.model]).run { unit async throws in
            var manifest = keys.manifest
            manifest.parameters = preset.parameters
            manifest.parameterDigest = digest
            let signed = try unit.bench.signed(manifest)
            #expect(try await unit.announce(signed).need.isEmpty)
            let key = try #require(keys.keys.first)
            #expect(
                try await unit.refusal(.put, "\(Self.path(signed.digest))/keys/\(key.key)", body: key.value)
                    == "no-model-for-parameters")
        }
    }
}

extension KeySetObject {
    fileprivate func with(digest: Digest) -> KeySetObject {
        KeySetObject(kind: kind, galois: galois, level: level, generation: generation, bytes: bytes, digest: digest)
    }
}
