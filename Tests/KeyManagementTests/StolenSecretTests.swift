import Attestation
import Crypto
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import SecretMemory
import Testing

/// What a thief of the installation's secret can write into both stores: rows and signed manifests, but no proof by a
/// seed.
@Suite struct StolenSecretTests {
    private struct Scene {
        let fixture: Fixture
        let kms: LyingKMS
        /// Of the gateway and of the thief.
        let keys: InstallationKeys
        let manifest: KeySetManifest
        let ciphertexts: [[UInt8]]
        var keySet: String { manifest.keySet }
        private static let stolen = [UInt8](repeating: 5, count: 32)

        init(_ mode: ProtectionMode = .direct) async throws {
            fixture = try await Fixture()
            kms = LyingKMS(fixture.kms)
            let (_, sealed) = try await InstallationKeys.create(
                installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Fixture.kmsKey))
            kms.lie(.secret(Self.stolen))
            keys = try await InstallationKeys.open(
                sealed, installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Fixture.kmsKey))
            kms.lie(nil)
            let manager = Fixture.manager(
                kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: keys)
            manifest = try await manager.register(fixture.request(mode), as: fixture.alice).keySet.manifest
            ciphertexts = try await manager.encrypt([.init(sample)], under: manifest.keySet, as: fixture.alice)
                .ciphertexts
        }

        /// Nothing is cached in a fresh one.
        func manager(believing pinned: [VerificationKey] = []) -> KeyManager {
            KeyManager(
                configuration: .init(
                    installation: "test", gateway: "gateway-1", tenant: "default",
                    pinnedManifestKeys: pinned),
                keys: keys, kms: KMSDirectory(kms, key: Fixture.kmsKey), objects: fixture.objects,
                metadata: fixture.metadata, compute: InlineCompute(),
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        }

        /// Makes a manifest the current one, as docs/formats.md says it is done.
        func anchor(_ forged: KeySetManifest, by key: SigningKey? = nil) async throws {
            let signed = try SignedStatement(forged, by: key ?? keys.manifestKey)
            let name = try #require(ObjectKey("keysets/\(keySet)/manifest-\(signed.digest.hex)"))
            try await fixture.objects.put(signed.serialized(), at: name, onlyIfAbsent: false)
            var row = try #require(try await fixture.metadata.read(collection: "keysets", id: keySet))
            let json = String(decoding: row.body.dropFirst(32), as: UTF8.self).replacing(
                /"manifest":"[0-9a-f]{64}"/, with: "\"manifest\":\"\(signed.digest.hex)\"")
            #expect(json.contains(signed.digest.hex))
            row.version += 1
            row.body = Self.code(row, json) + Array(json.utf8)
            try await fixture.metadata.apply([.update(row)])
        }

        private static func code(_ row: MetadataRecord, _ json: String) -> [UInt8] {
            var info = CanonicalBytes()
            for field in ["HKMS-installation-key-v1", "metadata-rows", "default"] { info.append(field) }
            let key = HKDF<SHA512>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: stolen), info: info.bytes, outputByteCount: 32)
            var message = CanonicalBytes()
            for field in ["HKMS-row-v1", row.collection, row.id, row.index] { message.append(field) }
            message.append(row.version)
            message.append(json)
            return Array(HMAC<SHA256>.authenticationCode(for: message.bytes, using: key))
        }

        func decrypt(by manager: KeyManager? = nil) async throws {
            let result = try await (manager ?? self.manager()).decrypt(
                ciphertexts, of: keySet, count: 8, as: fixture.alice)
            #expect(close(result.vectors[0], sample))
        }

        func counters() async throws -> KeySetDescription.Counters {
            try await manager().show(keySet, as: fixture.alice).counters
        }
    }

    @Test(
        "what the seed proves cannot be changed by whoever holds every key of the installation",
        arguments: [ProtectionMode.direct, .envelope])
    func proof(mode: ProtectionMode) async throws {
        let scene = try await Scene(mode)
        let (fixture, keySet, alice) = (scene.fixture, scene.keySet, scene.fixture.alice)
        let other = try await scene.manager().register(fixture.request(mode), as: alice).keySet.manifest
        let theirs = try #require(other.publicKey)
        let relinearization = try #require(scene.manifest.objects.first { $0.kind == .relinearization })
        func replacing(_ kind: KeySetObject.Kind, by entry: KeySetObject?) -> [KeySetObject] {
            scene.manifest.objects.compactMap { $0.kind == kind ? entry : $0 }
        }
        func relabelled(level: Int = 2, generation: UInt32 = 0) -> KeySetObject {
            KeySetObject(
                kind: .relinearization, galois: 0, level: level, generation: generation,
                bytes: relinearization.bytes, digest: relinearization.digest)
        }
        let forgeries: [(name: String, isProved: Bool, change: (inout KeySetManifest) -> Void)] = [
            // The rest is under the signature alone, which the thief has.
            ("another version", true, { $0.version = 9 }),
            ("another policy", true, { $0.policy = .raw(decryptAny: true) }),
            ("another key set's public key", false, { $0.objects = replacing(.publicKey, by: theirs) }),
            ("an evaluation key less", false, { $0.objects = replacing(.relinearization, by: nil) }),
            ("another level", false, { $0.objects = replacing(.relinearization, by: relabelled(level: 1)) }),
            ("a key's generation", false, { $0.objects = replacing(.relinearization, by: relabelled(generation: 1)) }),
            ("another order", false, { $0.objects.reverse() }),
            ("another generation", false, { $0.generation = 1 }),
            ("another pd", false, { $0.parameterDigest = Digest(of: [1]) }),
            ("another proof", false, { $0.seedProof = other.seedProof }),
        ]
        var (failures, decryptions) = (0, 0)
        for forgery in forgeries {
            var forged = scene.manifest
            forgery.change(&forged)
            try await scene.anchor(forged)
            let error = await refusal { try await scene.decrypt() }
            #expect(error == (forgery.isProved ? nil : .decryptionFailed), "\(forgery.name)")
            if forgery.isProved { decryptions += 1 } else { failures += 1 }
            let counters = try await scene.counters()
            #expect(counters.failures == failures && counters.decryptions == decryptions, "\(forgery.name)")
        }

        // Until the seed is opened the signature is all there is: what is encrypted now, the thief can read.
        var forged = scene.manifest
        forged.objects = replacing(.publicKey, by: theirs)
        let stored = try Data(contentsOf: fixture.path(keySet, "public-key"))
        try Data(contentsOf: fixture.path(other.keySet, "public-key")).write(to: fixture.path(keySet, "public-key"))
        try await scene.anchor(forged)
        let fresh = try await scene.manager().encrypt([.init(sample)], under: keySet, as: alice).ciphertexts
        #expect(
            await refusal { _ = try await scene.manager().decrypt(fresh, of: keySet, as: alice) }
                == .decryptionFailed)
        try stored.write(to: fixture.path(keySet, "public-key"))
        try await scene.anchor(scene.manifest)
        try await scene.decrypt()
    }

    @Test("a manifest by another manifest key is believed only where that key is pinned")
    func earlierManifestKeys() async throws {
        let scene = try await Scene()
        let earlier = try SigningKey(seed: SecretBytes(randomCount: 32))
        let stranger = try SigningKey(seed: SecretBytes(randomCount: 32))
        try await scene.anchor(scene.manifest, by: earlier)
        for pinned in [[], [stranger.verificationKey]] {
            #expect(
                await refusal { try await scene.decrypt(by: scene.manager(believing: pinned)) }
                    == .statementRejected(.unknownSigner))
        }
        #expect(scene.kms.opened == 1, "the installation's secret alone")
        let believing = scene.manager(believing: [stranger.verificationKey, earlier.verificationKey])
        try await scene.decrypt(by: believing)
        // Today's key signs what comes next.
        _ = try await believing.destroy(scene.keySet, as: scene.fixture.alice)
        let last = try await scene.manager().signedManifest(scene.keySet, as: scene.fixture.alice)
        #expect(last.signer == scene.keys.manifestKey.id && last.body.state == .destroyed)
    }
}
