import Attestation
import ComplexModule
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// Whatever the object store answers instead of what was stored is named, and the KMS is not asked to open anything.
@Suite struct LyingStorageTests {
    /// An installation over a store that lies, with a key set of each kind that objects may be swapped with.
    private struct Scene {
        let fixture: Fixture
        let store: LyingObjects
        let kms: LyingKMS
        let scheme: Scheme
        let keySet: String
        let ciphertexts: [[UInt8]]
        let job: String

        init(_ mode: ProtectionMode = .envelope, _ scheme: Scheme = .ckks) async throws {
            fixture = try await Fixture()
            store = LyingObjects(fixture.objects)
            kms = LyingKMS(fixture.kms)
            self.scheme = scheme
            keySet = try await fixture.register(mode, scheme: scheme)
            ciphertexts = try await fixture.manager.encrypt(
                [scheme.sampleInput], under: keySet, as: fixture.alice
            ).ciphertexts
            job = try await evaluated(fixture, keySet, scheme).job
        }

        /// Nothing is cached in a fresh one.
        var manager: KeyManager {
            Fixture.manager(kms: kms, objects: store, metadata: fixture.metadata, keys: fixture.keys)
        }

        func name(_ object: String, of keySet: String? = nil) -> String {
            if object == "manifest" {
                return fixture.files(keySet ?? self.keySet).first { $0.hasPrefix("manifest-") }!
            }
            guard object == "output" else { return object }
            return fixture.files(self.keySet).first { $0.hasPrefix("jobs/\(job)/output-") }!
        }

        func bytes(_ object: String, of keySet: String? = nil) throws -> [UInt8] {
            Array(try Data(contentsOf: fixture.path(keySet ?? self.keySet, name(object, of: keySet))))
        }

        func key(_ object: String) -> String { "keysets/\(keySet)/\(name(object))" }

        /// What reads the object.
        func use(_ object: String) async throws {
            let manager = manager
            switch object {
            case "public-key":
                _ = try await manager.encrypt([scheme.sampleInput], under: keySet, as: fixture.alice)
            case "relinearization", "galois-3":
                _ = try await manager.evaluationKey(object, of: keySet, as: fixture.alice)
            case "output": _ = try await manager.outputs(of: job, as: fixture.alice)
            default:
                let result = try await manager.decrypt(ciphertexts, of: keySet, count: 8, as: fixture.alice)
                switch scheme {
                case .ckks: #expect(close(result.vectors[0], sample))
                case .bfv: #expect(result.integers == [integerSample])
                }
            }
        }

        /// Expects that a form of an object is refused by the object's name, before anything is opened.
        func refuses(_ object: String, _ form: String, _ lie: LyingObjects.Lie) async {
            store.lie(lie, at: key(object))
            let before = kms.opened
            let error = await refusal { try await use(object) }
            #expect(isNamed(error, object), "\(object), \(form): \(error.map { "\($0)" } ?? "taken")")
            #expect(kms.opened == before, "\(object), \(form)")
            store.lie(nil, at: key(object))
        }

        private func isNamed(_ error: KeyManagementError?, _ object: String) -> Bool {
            switch error {
            case .objectTampered(let name):
                name == object || name == key(object) || (object == "output" && name == "output of \(job)")
            case .objectMissing(let name): name == key(object)
            case .statementRejected: object == "manifest"
            default: false
            }
        }

        /// Nothing of all that was counted, and the truth is taken again.
        func isUnharmed(_ object: String) async throws {
            let before = try await fixture.manager.show(keySet, as: fixture.alice).counters
            #expect(before.failures == 0 && before.decryptions == 0)
            try await use(object)
        }
    }

    private static let objects = [
        "sealed-seed", "sealed-data-key", "public-key", "relinearization", "galois-3", "output",
        "manifest",
    ]

    @Test("each field altered, each length, nothing at all", arguments: objects, Scheme.allCases)
    func alteredObjects(object: String, scheme: Scheme) async throws {
        let scene = try await Scene(.envelope, scheme)
        let original = try scene.bytes(object)
        let forgeries: Forgeries =
            switch object {
            case "sealed-seed", "sealed-data-key": .sealedObject
            case "manifest":
                // JSON: letters of the envelope's three members and of what they hold.
                Forgeries(
                    hasDigest: false, fields: (0..<40).map { ("letter", $0 * original.count / 40) },
                    headerBytes: 12)
            default: .publicObject
            }
        for (name, bytes) in forgeries.altered(original) + forgeries.resized(original) {
            await scene.refuses(object, name, .bytes(bytes))
        }
        await scene.refuses(object, "missing", .missing)
        try await scene.isUnharmed(object)
    }

    @Test(
        "a valid one of another key set, owner, mode, parameter set, tenant or installation",
        arguments: objects)
    func swappedObjects(object: String) async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        var donors = [("another key set", try await fixture.register(.envelope))]
        donors.append(("another mode", try await fixture.register(.direct)))
        donors.append(("another scheme", try await fixture.register(.envelope, scheme: .bfv)))
        var request = try fixture.request(.envelope, owner: fixture.bob)
        donors.append(
            (
                "another owner",
                try await fixture.manager.register(request, as: fixture.bob).keySet.manifest.keySet
            ))
        request = try fixture.request(.envelope)
        request.parameters = try #require(ParameterPreset.named("ckks-13")).parameters
        request.requestID = "other parameters"
        let other = try await fixture.manager.register(request, as: fixture.alice).keySet.manifest
            .keySet
        donors.append(("other parameters", other))
        for (installation, tenant) in [("test", "other"), ("other", "default")] {
            let (keys, _) = try await InstallationKeys.create(
                installation: installation, tenant: tenant, kms: KMSDirectory(fixture.kms, key: Fixture.kmsKey))
            let manager = KeyManager(
                configuration: .init(
                    installation: installation, gateway: "gateway-1", tenant: tenant),
                keys: keys, kms: KMSDirectory(fixture.kms, key: Fixture.kmsKey), objects: fixture.objects,
                metadata: fixture.metadata,
                compute: InlineCompute(), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            let alice = Requester(issuer: "static", subject: "alice", tenant: tenant, groups: [])
            let made = try await manager.register(try fixture.request(.envelope), as: alice)
            donors.append(("\(installation), tenant \(tenant)", made.keySet.manifest.keySet))
        }
        for (name, donor) in donors {
            if object == "output" {
                guard !["other", "test,"].contains(where: { name.hasPrefix($0) }) else { continue }
                let foreign = try await evaluated(
                    fixture, donor, name == "another scheme" ? .bfv : .ckks,
                    as: name == "another owner" ? fixture.bob : nil)
                await scene.refuses(object, name, .bytes(foreign.output))
            } else if let bytes = try? scene.bytes(object, of: donor) {
                await scene.refuses(object, name, .bytes(bytes))
            } else {
                #expect(object == "sealed-data-key" && name == "another mode")
            }
        }
        // Other objects of the same key set under this name, and another output of the same circuit.
        for stored in Self.objects where stored != object {
            await scene.refuses(object, stored, .bytes(try scene.bytes(stored)))
        }
        await scene.refuses(
            object, "a later result", .bytes(try await evaluated(fixture, scene.keySet).output))
        try await scene.isUnharmed(object)
    }

    @Test("under BFV: a valid one of another key set, of CKKS, and of another plaintext modulus", arguments: objects)
    func swappedIntegerObjects(object: String) async throws {
        let scene = try await Scene(.envelope, .bfv)
        let fixture = scene.fixture
        var request = try fixture.request(.envelope, scheme: .bfv)
        let same = request.parameters
        request.parameters = try EncryptionParameters(
            scheme: .bfv, logN: same.logN, q: same.q, p: same.p, alpha: same.alpha, t: 40961)
        let otherModulus = try await fixture.manager.register(request, as: fixture.alice).keySet.manifest.keySet
        let sameScheme = try await fixture.register(.envelope, scheme: .bfv)
        let otherScheme = try await fixture.register(.envelope)
        for (name, donor, scheme) in [("another key set", sameScheme, Scheme.bfv), ("CKKS", otherScheme, .ckks)] {
            let bytes =
                object == "output"
                ? try await evaluated(fixture, donor, scheme).output : try scene.bytes(object, of: donor)
            await scene.refuses(object, name, .bytes(bytes))
        }
        if object != "output" {
            await scene.refuses(object, "another t", .bytes(try scene.bytes(object, of: otherModulus)))
        }
        try await scene.isUnharmed(object)
    }

    @Test(
        "the key set's own keys, made from its own seed for a second generation, are not those of the first",
        arguments: ["public-key", "relinearization", "galois-3"])
    func otherGeneration(object: String) async throws {
        let scene = try await Scene(.direct)
        try await scene.use("sealed-seed")
        let context = try EncryptionContext.shared(try #require(ParameterPreset.named("ckks-12")).parameters)
        guard let seed = Seed(try SecretBytes(copying: scene.kms.lastSecret)) else {
            Issue.record("the KMS opened no seed")
            return
        }
        let secret = try seed.secretKey(context)
        func key(generation: UInt32) throws -> [UInt8] {
            switch object {
            case "public-key": return try seed.publicKey(secret, generation: generation).serialized()
            case "relinearization":
                let id = EvaluationKeyID(kind: .relinearization, level: 2, generation: generation)
                return try seed.evaluationKey(id, secret).serialized()
            default:
                let id = EvaluationKeyID(kind: .galois, galois: 3, level: 2, generation: generation)
                return try seed.evaluationKey(id, secret).serialized()
            }
        }
        // What is stored can be made again from the seed, bit for bit; so nothing but the generation differs.
        let (first, second) = (try key(generation: 0), try key(generation: 1))
        #expect(try scene.bytes(object) == first)
        #expect(second.count == first.count && second != first)
        await scene.refuses(object, "of generation 1", .bytes(second))
        try await scene.use(object)
    }

    @Test("a manifest with any member changed, by any signer, is not the one that the row names")
    func forgedManifests() async throws {
        let scene = try await Scene()
        let envelope = try #require(
            try JSONSerialization.jsonObject(with: Data(try scene.bytes("manifest"))) as? [String: Any])
        let payload = try #require((envelope["payload"] as? String).flatMap { Data(base64Encoded: $0) })
        let members = try #require(try JSONSerialization.jsonObject(with: payload) as? [String: Any])
        #expect(members.count >= 17)
        let stranger = try SigningKey(seed: SecretBytes(randomCount: 32))
        let owner = scene.fixture.keys.manifestKey
        func signed(_ payload: Data, by key: SigningKey, as id: SigningKeyID, type: String) throws
            -> [UInt8]
        {
            let message = Array("DSSEv1 \(type.utf8.count) \(type) \(payload.count) ".utf8) + payload
            return Array(
                try JSONSerialization.data(withJSONObject: [
                    "payload": payload.base64EncodedString(), "payloadType": type,
                    "signatures": [
                        ["keyid": id.value, "sig": Data(try key.sign(message)).base64EncodedString()]
                    ],
                ]))
        }
        let type = KeySetManifest.payloadType
        for name in members.keys.sorted() {
            var changed = members
            changed[name] = Self.changed(members[name])
            let forged = try JSONSerialization.data(withJSONObject: changed, options: [.sortedKeys])
            #expect(forged != payload)
            for (signer, id) in [(stranger, stranger.id), (stranger, owner.id), (owner, owner.id)] {
                // Even one by the manifest key itself, stolen: the row is authenticated by another key.
                await scene.refuses(
                    "manifest", "\(name) changed", .bytes(try signed(forged, by: signer, as: id, type: type)))
            }
        }
        // Another statement of this gateway's, and an envelope with no signature, two, or one too many members.
        await scene.refuses(
            "manifest", "a job", .bytes(try signed(payload, by: owner, as: owner.id, type: "job")))
        for signatures in [[], [1, 2]] {
            var other = envelope
            let one = (envelope["signatures"] as? [Any])?.first ?? ""
            other["signatures"] = signatures.map { _ in one }
            await scene.refuses(
                "manifest", "\(signatures.count) signatures",
                .bytes(Array(try JSONSerialization.data(withJSONObject: other))))
        }
        try await scene.isUnharmed("manifest")
    }

    /// Another value of the same type.
    private static func changed(_ value: Any?) -> Any {
        switch value {
        case let text as String: return String(text.reversed()) + (text == "active" ? "" : "0")
        case let list as [Any]: return Array(list.dropLast())
        case let object as [String: Any]:
            guard let first = object.keys.sorted().first else { return ["a": 1] }
            return object.merging([first: changed(object[first])]) { $1 }
        case let number as Int: return number + 1
        default: return "?"
        }
    }

    @Test("an earlier manifest, put back, brings back neither state nor a destroyed key set")
    func replayedManifests() async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        let first = try scene.bytes("manifest")
        let backup = try Self.objects.filter { $0 != "output" }.map {
            (scene.key($0), try scene.bytes($0))
        }
        // Suspended: a second manifest.
        scene.kms.lie(.secret([UInt8](repeating: 1, count: 32)))
        for _ in 0..<KeyManager.failureLimit {
            let error = await refusal { try await scene.use("sealed-seed") }
            #expect(error == .decryptionFailed)
        }
        scene.kms.lie(nil)
        var opened = scene.kms.opened
        let suspended = try await scene.manager.signedManifest(scene.keySet, as: fixture.alice)
        #expect(suspended.body.state == .suspended && suspended.body.version == 2)
        let second = "keysets/\(scene.keySet)/manifest-\(suspended.digest.hex)"
        scene.store.lie(.bytes(first), at: second)
        #expect(
            await refusal { _ = try await scene.manager.show(scene.keySet, as: fixture.alice) }
                == .objectTampered("manifest"))
        #expect(
            await refusal { try await scene.use("sealed-seed") }
                == .keySetNotActive(scene.keySet, state: .suspended))
        scene.store.lie(nil, at: second)

        // Destroyed, with a store that brings everything back as it was.
        scene.store.keepWhatIsDeleted()
        let destroyed = try await scene.manager.destroy(scene.keySet, as: fixture.alice)
        #expect(destroyed.erasure == .tombstoned)
        for (key, bytes) in backup { scene.store.lie(.bytes(bytes), at: key) }
        let tombstone = try await scene.manager.signedManifest(scene.keySet, as: fixture.alice)
        let third = "keysets/\(scene.keySet)/manifest-\(tombstone.digest.hex)"
        for replayed in [first, try suspended.serialized()] {
            scene.store.lie(.bytes(replayed), at: third)
            let manager = scene.manager
            let (keySet, ciphertexts, alice) = (scene.keySet, scene.ciphertexts, fixture.alice)
            let gone = KeyManagementError.keySetDestroyed(keySet)
            #expect(
                await refusal { _ = try await manager.decrypt(ciphertexts, of: keySet, as: alice) } == gone)
            #expect(
                await refusal { _ = try await manager.encrypt([.init(sample)], under: keySet, as: alice) }
                    == gone)
            #expect(await refusal { _ = try await manager.publicKey(keySet, as: alice) } == gone)
            #expect(
                await refusal { _ = try await manager.evaluationKey("galois-3", of: keySet, as: alice) }
                    == gone)
            #expect(await refusal { _ = try await manager.outputs(of: scene.job, as: alice) } == gone)
            #expect(
                await refusal { _ = try await manager.show(keySet, as: alice) }
                    == .objectTampered("manifest"))
        }
        scene.store.lie(nil, at: third)
        #expect(try await scene.manager.show(scene.keySet, as: fixture.alice).state == .destroyed)
        opened -= scene.kms.opened
        #expect(opened == 0)
    }

    @Test("an earlier or later sealing of the same seed is not the one that the manifest names")
    func replayedSealing() async throws {
        let scene = try await Scene(.direct)
        let fixture = scene.fixture
        let original = try scene.bytes("sealed-seed")
        let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
        var parts = SealingContextParts()
        parts.keySet = scene.keySet
        let blob = KMSSealedBlob(bytes: Array(original[20..<original.count - 32]), keyVersion: 1)
        try await fixture.kms.rotateKey(Fixture.kmsKey)
        let rewrapped = try await fixture.kms.rewrap(
            blob, under: Fixture.kmsKey, context: parts.context(parameters), as: .service)
        #expect(rewrapped.keyVersion == 2)
        var bytes = Array(original[..<20])
        bytes[12] = 2
        #expect(Int(bytes[16]) == rewrapped.bytes.count)
        bytes += rewrapped.bytes
        bytes += Digest(of: bytes).bytes
        // It opens to the very seed; only the manifest tells that nobody sealed it so.
        await scene.refuses("sealed-seed", "rewrapped", .bytes(bytes))
        try await scene.isUnharmed("sealed-seed")
    }

    @Test("the size of what the store does not give is not told as nothing")
    func sizes() async throws {
        let scene = try await Scene()
        let (manager, alice) = (scene.manager, scene.fixture.alice)
        let names = ["sealed-seed", "sealed-data-key"]
        let whole = try names.reduce(0) { $0 + (try scene.bytes($1).count) }
        for name in names {
            #expect(try await manager.show(scene.keySet, as: alice).sealedSeedBytes == whole)
            scene.store.lie(.missing, at: scene.key(name))
            #expect(try await manager.show(scene.keySet, as: alice).sealedSeedBytes == nil)
            scene.store.lie(nil, at: scene.key(name))
        }
        _ = try await manager.destroy(scene.keySet, as: alice)
        #expect(try await manager.show(scene.keySet, as: alice).sealedSeedBytes == 0)
    }

    @Test("copies under other names are nobody's, and destroying removes them")
    func duplicates() async throws {
        let scene = try await Scene(.direct)
        let fixture = scene.fixture
        // The whole key set under another id, and in the name of a job.
        let copy = "ks-" + String(repeating: "0", count: 32)
        for name in fixture.files(scene.keySet) where !name.contains("jobs") {
            let bytes = try Data(contentsOf: fixture.path(scene.keySet, name))
            for target in [copy, scene.keySet] {
                let file = fixture.path(target, target == copy ? name : "copy-of-\(name)")
                try FileManager.default.createDirectory(
                    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try bytes.write(to: file)
            }
        }
        let error = await refusal {
            _ = try await scene.manager.decrypt(scene.ciphertexts, of: copy, as: fixture.alice)
        }
        #expect(error == .unknownKeySet(copy))
        // A data key where the mode has none.
        let seed = try Data(contentsOf: fixture.path(scene.keySet, "sealed-seed"))
        try seed.write(to: fixture.path(scene.keySet, "sealed-data-key"))
        #expect(scene.kms.opened == 0)
        try await scene.use("sealed-seed")
        _ = try await scene.manager.destroy(scene.keySet, as: fixture.alice)
        let left = fixture.files(scene.keySet).filter { $0.hasPrefix("copy") || $0.hasPrefix("sealed") }
        #expect(left.isEmpty)
    }

    @Test("installation.sealed: each field, each length, another installation's or tenant's")
    func installationSecret() async throws {
        let fixture = try await Fixture()
        let kms = LyingKMS(fixture.kms)
        func create(_ installation: String, _ tenant: String) async throws -> (
            InstallationKeys, sealed: [UInt8]
        ) {
            try await InstallationKeys.create(
                installation: installation, tenant: tenant, kms: KMSDirectory(kms, key: Fixture.kmsKey))
        }
        func open(_ sealed: [UInt8]) async throws -> InstallationKeys {
            try await InstallationKeys.open(
                sealed, installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Fixture.kmsKey))
        }
        let (keys, original) = try await create("test", "default")
        let tampered = ["a sealed object", "the installation's sealed signing key"].map {
            KeyManagementError.objectTampered($0)
        }
        for (name, bytes) in Forgeries.sealedObject.altered(original)
            + Forgeries.sealedObject.resized(original)
        {
            let before = kms.opened
            let error = await refusal {
                let opened = try await open(bytes)
                #expect(opened.manifestKey.id == keys.manifestKey.id)
            }
            switch error {
            case nil:
                // The key version is a hint for people: the KMS's own blob has the true one.
                #expect(name.hasPrefix("key version") && name.hasSuffix("remade"), "\(name)")
            case .kms(.cannotOpen):
                // Nobody but the KMS can tell that its blob was altered.
                #expect(name.hasSuffix("remade") && kms.opened == before + 1, "\(name)")
            case let error?:
                #expect(tampered.contains(error) && kms.opened == before, "\(name): \(error)")
            }
        }
        for (installation, tenant) in [("other", "default"), ("test", "other")] {
            let (_, sealed) = try await create(installation, tenant)
            #expect(await refusal { _ = try await open(sealed) } == .kms(.cannotOpen))
        }
        let keySet = try await fixture.register(.envelope)
        for object in ["sealed-seed", "sealed-data-key"] {
            let bytes = Array(try Data(contentsOf: fixture.path(keySet, object)))
            let before = kms.opened
            #expect(await refusal { _ = try await open(bytes) } == tampered[1])
            #expect(kms.opened == before)
        }
    }
}

/// A result of an honest unit under a key set, with the job that keeps it.
private func evaluated(
    _ fixture: Fixture, _ keySet: String, _ scheme: Scheme = .ckks, as requester: Requester? = nil
) async throws -> (job: String, output: [UInt8]) {
    let (unit, manager, requester) = (try SevenUnit(scheme: scheme), fixture.manager, requester ?? fixture.alice)
    let job = try await unit.openJob(manager, under: keySet, as: requester)
    let output = try await unit.result(manager, under: keySet, as: requester)
    try await unit.complete(job, [output], manager)
    return (job.job, output)
}
