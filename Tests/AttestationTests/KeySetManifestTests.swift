import Attestation
import Foundation
import HomomorphicEncryption
import SecretMemory
import TestSupport
import Testing

@Suite struct KeySetManifestTests {
    private func isProved(_ manifest: KeySetManifest) throws -> Bool {
        manifest.isProved(by: try SecretBytes(copying: Fixtures.manifestKeyBytes))
    }

    @Test("the proof is HMAC-SHA-256 over the unchanging fields, each with its length in front")
    func knownAnswer() throws {
        // By an independent implementation (Python's hmac and struct) from the field list.
        let expected = "3cc337d49df78944e62a6978d6fd78ec52efe71098ff86635b22344eab12532f"
        #expect(try Fixtures.manifest().seedProof.hex == expected)
        #expect(try isProved(Fixtures.manifest()))
    }

    @Test("the proof survives signing and reading")
    func signing() throws {
        let key = try Fixtures.alice()
        let bytes = try SignedStatement(Fixtures.manifest(), by: key).serialized()
        let read = try SignedStatement<KeySetManifest>(verifying: bytes, pinned: [key.verificationKey])
        #expect(try isProved(read.body))
    }

    @Test("another seed proves nothing")
    func otherSeed() throws {
        var bytes = Fixtures.manifestKeyBytes
        bytes[31] ^= 1
        #expect(try !Fixtures.manifest().isProved(by: SecretBytes(copying: bytes)))
        #expect(try !Fixtures.manifest().isProved(by: SecretBytes(count: 32)))
    }

    @Test("every change of what never changes breaks the proof")
    func unchanging() throws {
        func object(
            _ index: Int, kind: KeySetObject.Kind? = nil, galois: UInt32? = nil, level: Int? = nil,
            generation: UInt32? = nil, digest: Digest? = nil
        ) -> (inout KeySetManifest) -> Void {
            { manifest in
                let old = manifest.objects[index]
                manifest.objects[index] = KeySetObject(
                    kind: kind ?? old.kind, galois: galois ?? old.galois, level: level ?? old.level,
                    generation: generation ?? old.generation, bytes: old.bytes, digest: digest ?? old.digest)
            }
        }
        let digest = try Fixtures.digest(99)
        let changes: [(String, (inout KeySetManifest) -> Void)] = [
            ("key set", { $0.keySet = "ks-2" }),
            ("suite", { $0.suite = 2 }),
            ("parameters", { $0.parameterDigest = digest }),
            ("origin", { $0.origin = .imported }),
            ("generation", { $0.generation += 1 }),
            ("public key", object(0, digest: digest)),
            ("evaluation key", object(2, digest: digest)),
            ("kind", object(1, kind: .switching)),
            ("Galois element", object(2, galois: 3)),
            ("level", object(2, level: 3)),
            ("object's generation", object(2, generation: 3)),
            ("one less", { $0.objects.removeLast() }),
            ("none", { $0.objects = [] }),
            ("one more", { $0.objects.append($0.objects[0]) }),
            ("order", { $0.objects.swapAt(0, 1) }),
            ("proof", { $0.seedProof = digest }),
        ]
        for (name, change) in changes {
            var manifest = try Fixtures.manifest()
            change(&manifest)
            #expect(try !isProved(manifest), "\(name)")
        }
    }

    @Test("what a key set's life changes leaves the proof alone")
    func changing() throws {
        let digest = try Fixtures.digest(99)
        let changes: [(inout KeySetManifest) -> Void] = [
            { $0.version += 1 },
            { $0.state = .destroyed },
            { $0.dates.activated = nil },
            { $0.dates.destroyed = Date(timeIntervalSince1970: 0) },
            { $0.policy = .raw(decryptAny: true) },
            {
                $0.sealing = .init(
                    mode: .direct, provider: "openbao", keyName: "other", keyVersion: nil, epoch: 99,
                    sealedSeed: digest, sealedDataKey: nil)
            },
        ]
        for change in changes {
            var manifest = try Fixtures.manifest()
            change(&manifest)
            #expect(try isProved(manifest))
        }
    }

    @Test("objects have the names that stores and URLs use")
    func names() throws {
        let manifest = try Fixtures.manifest()
        #expect(manifest.objects.map(\.name) == ["public-key", "relinearization", "galois-9"])
        #expect(manifest.publicKey == manifest.objects[0])
    }
}
