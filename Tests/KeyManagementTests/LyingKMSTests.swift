import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Testing

/// A KMS that opens to something else gives the one uniform error, counted; one that fails is named and not counted;
/// neither gives a wrong plaintext.
@Suite struct LyingKMSTests {
    private struct Scene {
        let fixture: Fixture
        let kms: LyingKMS
        let manager: KeyManager

        init() async throws {
            fixture = try await Fixture()
            kms = LyingKMS(fixture.kms)
            manager = Fixture.manager(
                kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        }

        func register(_ mode: ProtectionMode, budget: Int? = nil) async throws -> (
            id: String, ciphertexts: [[UInt8]]
        ) {
            let request = try fixture.request(mode, policy: KeySetPolicy.raw(decryptionBudget: budget))
            let id = try await manager.register(request, as: fixture.alice).keySet.manifest.keySet
            return (
                id, try await manager.encrypt([.init(sample)], under: id, as: fixture.alice).ciphertexts
            )
        }

        func decrypt(_ keySet: (id: String, ciphertexts: [[UInt8]])) async throws {
            let result = try await manager.decrypt(
                keySet.ciphertexts, of: keySet.id, count: 8, as: fixture.alice)
            #expect(close(result.vectors[0], sample))
        }

        func counters(_ keySet: String) async throws -> KeySetDescription.Counters {
            try await manager.show(keySet, as: fixture.alice).counters
        }
    }

    @Test("another secret than the sealed one", arguments: [ProtectionMode.direct, .envelope])
    func wrongSecrets(mode: ProtectionMode) async throws {
        let scene = try await Scene()
        let (keySet, other) = (
            try await scene.register(mode, budget: 3), try await scene.register(mode)
        )
        try await scene.decrypt(keySet)
        let secret = scene.kms.lastSecret
        #expect(secret.count == 32)
        try await scene.decrypt(other)
        let others = scene.kms.lastSecret
        var altered = secret
        altered[31] ^= 1
        // Among them another key set's, as an earlier answer replayed would be, and every length class.
        let lies =
            [others, altered, [UInt8](repeating: 0, count: 32), Array(secret.reversed())]
            + [[], Array(secret.prefix(16)), Array(secret.dropLast()), secret + [0], secret + secret]
        for (number, lie) in lies.enumerated() {
            scene.kms.lie(.secret(lie))
            #expect(
                await refusal { try await scene.decrypt(keySet) } == .decryptionFailed, "lie \(number)")
            let counters = try await scene.counters(keySet.id)
            #expect(counters.failures == number + 1)
            #expect(counters.decryptions == 1 && counters.decryptionsLeft == 2)
        }
        scene.kms.lie(nil)
        try await scene.decrypt(keySet)
        #expect(try await scene.counters(other.id).failures == 0)
        for _ in lies.count..<KeyManager.failureLimit {
            scene.kms.lie(.secret(others))
            #expect(await refusal { try await scene.decrypt(keySet) } == .decryptionFailed)
        }
        scene.kms.lie(nil)
        let opened = scene.kms.opened
        #expect(
            await refusal { try await scene.decrypt(keySet) }
                == .keySetNotActive(keySet.id, state: .suspended))
        #expect(scene.kms.opened == opened)
    }

    @Test(
        "every error of the KMS keeps its name and costs nothing",
        arguments: [ProtectionMode.direct, .envelope])
    func errors(mode: ProtectionMode) async throws {
        let scene = try await Scene()
        let keySet = try await scene.register(mode, budget: 1)
        let errors: [KMSError] = [
            .unavailable(reason: "x"), .throttled(retryAfterSeconds: 9), .denied(reason: "x"),
            .keyNotFound(Fixture.kmsKey), .keyUnusable(Fixture.kmsKey, reason: "x"), .cannotOpen,
            .notSupported(operation: "x"), .invalidResponse(reason: "x"),
        ]
        for error in errors {
            // More often than failures that count would be allowed.
            for _ in 0...KeyManager.failureLimit {
                scene.kms.lie(.error(error))
                #expect(await refusal { try await scene.decrypt(keySet) } == .kms(error))
            }
        }
        scene.kms.lie(nil)
        let counters = try await scene.counters(keySet.id)
        #expect(counters.failures == 0 && counters.decryptions == 0)
        try await scene.decrypt(keySet)
    }

    @Test("a key set that is destroyed while the KMS takes its time releases nothing")
    func slow() async throws {
        let scene = try await Scene()
        let (slow, other) = (try await scene.register(.direct), try await scene.register(.direct))
        let answers = Signal()
        scene.kms.lie(.late(answers))
        async let late = refusal { try await scene.decrypt(slow) }
        // Where something below throws, nobody waits for ever.
        defer { answers.set() }
        while scene.kms.opened == 0 { try await Task.sleep(for: .milliseconds(5)) }
        scene.kms.lie(nil)
        // Nobody else waits.
        try await scene.decrypt(other)
        _ = try await scene.manager.destroy(slow.id, as: scene.fixture.alice)
        answers.set()
        #expect(await late == .keySetNotActive(slow.id, state: .destroyed))
        #expect(try await scene.counters(slow.id).decryptions == 0)
    }

    @Test("what a KMS seals wrongly is refused, or never opens to another plaintext")
    func sealing() async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        let before = fixture.files()
        // Nobody could read these again.
        for mode in [ProtectionMode.direct, .envelope] {
            for count in [0, KMSSealedBlob.maximumBytes + 1] {
                scene.kms.lieInSealing(
                    .init(blob: {
                        KMSSealedBlob(bytes: .init(repeating: 1, count: count), keyVersion: $0.keyVersion)
                    }))
                let error = await refusal { _ = try await scene.register(mode) }
                guard case .kms(.invalidResponse) = error else {
                    Issue.record("\(mode), \(count) bytes: \(error.map { "\($0)" } ?? "taken")")
                    continue
                }
            }
        }
        for count in [0, 16, 24, 31, 33, 64] {
            scene.kms.lieInSealing(.init(dataKeyCount: count))
            let error = await refusal { _ = try await scene.register(.envelope) }
            guard case .kms(.invalidResponse) = error else {
                Issue.record("a data key of \(count) bytes: \(error.map { "\($0)" } ?? "taken")")
                continue
            }
        }
        #expect(fixture.files() == before)
        // Another data key than the sealed one: found out when it is opened.
        scene.kms.lieInSealing(.init(dataKeyCount: 32))
        let mixed = try await scene.register(.envelope)
        #expect(await refusal { try await scene.decrypt(mixed) } == .decryptionFailed)
        // An earlier blob, of another key set.
        scene.kms.lieInSealing(.init())
        let earlier = try await scene.register(.direct)
        let stored = Array(try Data(contentsOf: fixture.path(earlier.id, "sealed-seed")))
        let blob = Array(stored[20..<stored.count - 32])
        scene.kms.lieInSealing(.init(blob: { KMSSealedBlob(bytes: blob, keyVersion: $0.keyVersion) }))
        let replayed = try await scene.register(.direct)
        #expect(await refusal { try await scene.decrypt(replayed) } == .kms(.cannotOpen))
        scene.kms.lieInSealing(.init())
        try await scene.decrypt(earlier)
    }

    @Test("a generator that always gives the same does not make two key sets alike")
    func random() async throws {
        let scene = try await Scene()
        var publicKeys: Set<Digest> = []
        for bytes in [
            [UInt8](repeating: 0, count: 32), [UInt8](repeating: 0, count: 32), [1, 2, 3], [],
        ] {
            scene.kms.lieInSealing(.init(random: bytes))
            let keySet = try await scene.register(.direct)
            let manifest = try await scene.manager.signedManifest(keySet.id, as: scene.fixture.alice).body
            publicKeys.insert(try #require(manifest.publicKey).digest)
            try await scene.decrypt(keySet)
        }
        #expect(publicKeys.count == 4)
    }

    @Test(
        "an installation secret of another length is refused; another one makes rows and manifests foreign"
    )
    func installationSecret() async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        let keySet = try await scene.register(.direct)
        let (_, sealed) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(scene.kms, key: Fixture.kmsKey))
        func open() async throws -> InstallationKeys {
            try await InstallationKeys.open(
                sealed, installation: "test", tenant: "default", kms: KMSDirectory(scene.kms, key: Fixture.kmsKey))
        }
        for count in [0, 16, 31, 33, 64] {
            scene.kms.lie(.secret([UInt8](repeating: 5, count: count)))
            #expect(
                await refusal { _ = try await open() }
                    == .objectTampered("the installation's sealed signing key"))
        }
        scene.kms.lie(.secret([UInt8](repeating: 5, count: 32)))
        let keys = try await open()
        scene.kms.lie(nil)
        let opened = scene.kms.opened
        let manager = Fixture.manager(
            kms: scene.kms, objects: fixture.objects, metadata: fixture.metadata, keys: keys)
        #expect(
            await refusal {
                _ = try await manager.decrypt(keySet.ciphertexts, of: keySet.id, as: fixture.alice)
            }
                == .metadataTampered(collection: "keysets"))
        #expect(scene.kms.opened == opened)
    }
}
