import Attestation
import ComplexModule
import Foundation
import HomomorphicEncryption
import KeyManagement
import RLWE
import SecretMemory
import Testing

/// What a storage, a caller or a metadata store may try, and what HKMS says.
@Suite struct TrustTests {
    @Test("a ciphertext that nobody vouches for is not decrypted: the key-recovery query included")
    func unvouched() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register()
        let bytes = try await fixture.manager.publicKey(keySet, as: fixture.alice)
        let context = try EncryptionContext(try #require(ParameterPreset.named("ckks-12")).parameters)
        let publicKey = try PublicKey(serialized: bytes, context: context)
        let encoder = try CKKSEncoder(context)
        let outside = try publicKey.encrypt(encoder.encode([1, 2, 3], scale: 0x1p31))
        // Enc(0) + (0, K) decrypts to K s: an ordinary-looking ciphertext that is the secret key.
        let zero = try publicKey.encrypt(encoder.encode([0], scale: 0x1p31))
        var one = RNSPolynomial(basis: context.ciphertextBasis(level: 2), form: .coefficient)
        for row in 0..<2 { one.withMutableRow(row) { $0[0] = 1 << 20 } }
        one.transform()
        let query = try Ciphertext(
            context: context, polynomials: [zero.polynomials[0], zero.polynomials[1] + one], scale: 0x1p31)
        for ciphertext in [outside, query] {
            let serialized = ciphertext.serialized()
            await #expect(throws: KeyManagementError.notVouched(Digest(of: serialized))) {
                try await fixture.manager.decrypt([serialized], of: keySet, as: fixture.alice)
            }
        }
        // One bad apple refuses the whole request, before anything is debited.
        let good = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice).ciphertexts
        await #expect(throws: KeyManagementError.self) {
            try await fixture.manager.decrypt(good + [query.serialized()], of: keySet, as: fixture.alice)
        }
        #expect(try await fixture.manager.show(keySet, as: fixture.alice).counters.decryptions == 0)
    }

    @Test("a ciphertext of another key set, or altered, is not vouched for")
    func foreignCiphertext() async throws {
        let fixture = try await Fixture()
        let (first, second) = (try await fixture.register(), try await fixture.register())
        let ciphertext = try await fixture.manager.encrypt([.init(sample)], under: first, as: fixture.alice)
            .ciphertexts[0]
        await #expect(throws: KeyManagementError.notVouched(Digest(of: ciphertext))) {
            try await fixture.manager.decrypt([ciphertext], of: second, as: fixture.alice)
        }
        for index in [0, 40, 112, ciphertext.count / 2, ciphertext.count - 1] {
            var altered = ciphertext
            altered[index] ^= 1
            let digest = Digest(of: altered)
            let bytes = altered
            await #expect(throws: KeyManagementError.notVouched(digest)) {
                try await fixture.manager.decrypt([bytes], of: first, as: fixture.alice)
            }
        }
    }

    @Test("decrypt.any needs the configuration's grant and the key set's policy, and exposes the key set for ever")
    func decryptAny() async throws {
        let fixture = try await Fixture(decryptAny: ["alice"])
        let granted = try await fixture.register(.direct, policy: KeySetPolicy.raw(decryptAny: true))
        let plain = try await fixture.register()
        for (keySet, allowed) in [(granted, true), (plain, false)] {
            let context = try EncryptionContext(try #require(ParameterPreset.named("ckks-12")).parameters)
            let publicKey = try PublicKey(
                serialized: await fixture.manager.publicKey(keySet, as: fixture.alice), context: context)
            let bytes = try publicKey.encrypt(CKKSEncoder(context).encode(complex: sample, scale: 0x1p31)).serialized()
            if allowed {
                let result = try await fixture.manager.decrypt([bytes], of: keySet, count: 8, as: fixture.alice)
                #expect(close(result.vectors[0], sample))
            } else {
                await #expect(throws: KeyManagementError.self) {
                    try await fixture.manager.decrypt([bytes], of: keySet, as: fixture.alice)
                }
            }
            #expect(try await fixture.manager.show(keySet, as: fixture.alice).exposed == allowed)
        }
    }

    @Test(
        "an altered, cut, swapped or missing object is named before a seed is opened",
        arguments: ["sealed-seed", "sealed-data-key", "manifest", "public-key"])
    func lyingStorage(object: String) async throws {
        let fixture = try await Fixture()
        let (first, second) = (try await fixture.register(.envelope), try await fixture.register(.envelope))
        let ciphertexts = try await fixture.manager.encrypt([.init(sample)], under: first, as: fixture.alice)
            .ciphertexts
        func location(_ keySet: String) -> URL {
            let name = object == "manifest" ? fixture.files(keySet).first { $0.hasPrefix("manifest-") } : object
            return fixture.path(keySet, name ?? object)
        }
        let path = location(first)
        let original = try Data(contentsOf: path)
        func operate() async throws {
            // A fresh manager: nothing is cached.
            let manager = Fixture.manager(
                kms: fixture.kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
            if object == "public-key" {
                _ = try await manager.encrypt([.init(sample)], under: first, as: fixture.alice)
            } else {
                _ = try await manager.decrypt(ciphertexts, of: first, count: 1, as: fixture.alice)
            }
        }
        var variants: [Data] = [Data(), original.prefix(10), original.dropLast(), original + [0]]
        for index in stride(from: 0, to: original.count, by: max(1, original.count / 23)) {
            var altered = original
            altered[index] ^= 0x40
            variants.append(altered)
        }
        variants.append(try Data(contentsOf: location(second)))
        for variant in variants {
            try variant.write(to: path)
            await #expect(throws: KeyManagementError.self) { try await operate() }
        }
        try FileManager.default.removeItem(at: path)
        await #expect(throws: KeyManagementError.self) { try await operate() }
        try original.write(to: path)
        try await operate()
        let counters = try await fixture.manager.show(first, as: fixture.alice).counters
        #expect(counters.failures == 0)
    }

    @Test("a sealed seed does not open in another key set, owner, tenant, mode or installation")
    func sealingContext() async throws {
        let fixture = try await Fixture()
        let parameters = try #require(ParameterPreset.named("ckks-12")).parameters
        let secret = try SecretBytes(randomCount: 32)
        let base = SealingContextParts()
        let blob = try await fixture.kms.seal(
            secret, under: Fixture.kmsKey, context: base.context(parameters), as: .service)
        let opened = try await fixture.kms.open(
            blob, under: Fixture.kmsKey, context: base.context(parameters), as: .service)
        let same = opened.equals(secret)
        #expect(same)
        let other = try #require(ParameterPreset.named("ckks-13")).parameters
        var contexts = [base.context(other)]
        for change in SealingContextParts.changes {
            var parts = base
            change(&parts)
            contexts.append(parts.context(parameters))
        }
        #expect(Set(contexts).count == contexts.count)
        for context in contexts {
            await #expect(throws: KMSError.cannotOpen) {
                _ = try await fixture.kms.open(blob, under: Fixture.kmsKey, context: context, as: .service)
            }
        }
    }

    @Test("rows that this installation did not write are refused; rolled-back rows only roll back")
    func metadata() async throws {
        let fixture = try await Fixture()
        let (first, second) = (try await fixture.register(), try await fixture.register())
        func row(_ id: String) async throws -> MetadataRecord {
            try #require(await fixture.metadata.read(collection: "keysets", id: id))
        }
        let original = try await row(first)
        let foreign = try await row(second)
        func replace(_ body: [UInt8]) async throws {
            var next = try await row(first)
            next.version += 1
            next.body = body
            try await fixture.metadata.apply([.update(next)])
        }
        let tampered = KeyManagementError.metadataTampered(collection: "keysets")
        var altered = original.body
        altered[altered.count - 3] ^= 1
        for body in [foreign.body, altered, [], Array(original.body.prefix(40)), original.body] {
            try await replace(body)
            // The original body at a higher version is a replay, and refused as well.
            await #expect(throws: tampered) { try await fixture.manager.show(first, as: fixture.alice) }
        }
        let shown = try await fixture.manager.show(second, as: fixture.alice)
        #expect(shown.manifest.keySet == second)
    }

    @Test("sixteen failures after the seed was opened suspend the key set")
    func suspension() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register(.direct)
        let ciphertexts = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
            .ciphertexts
        // A KMS that opens to another seed: only the commitment tells.
        let manager = Fixture.manager(
            kms: WrongSeedKMS(inner: fixture.kms), objects: fixture.objects, metadata: fixture.metadata,
            keys: fixture.keys)
        for _ in 0..<16 {
            await #expect(throws: KeyManagementError.decryptionFailed) {
                try await manager.decrypt(ciphertexts, of: keySet, as: fixture.alice)
            }
        }
        await #expect(throws: KeyManagementError.keySetNotActive(keySet, state: .suspended)) {
            try await fixture.manager.decrypt(ciphertexts, of: keySet, as: fixture.alice)
        }
        #expect(try await fixture.manager.show(keySet, as: fixture.alice).manifest.state == .suspended)
    }

    @Test("a KMS that is down, or whose key is gone, is named, and nothing is half registered")
    func kmsFailures() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register()
        let ciphertexts = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
            .ciphertexts
        try await fixture.kms.destroyKey(Fixture.kmsKey)
        let gone = KeyManagementError.kms(.keyNotFound(Fixture.kmsKey))
        await #expect(throws: gone) { try await fixture.manager.decrypt(ciphertexts, of: keySet, as: fixture.alice) }
        let before = fixture.files()
        let request = try fixture.request(.envelope, id: "retry")
        await #expect(throws: gone) { try await fixture.manager.register(request, as: fixture.alice) }
        #expect(fixture.files() == before)
        #expect(try await fixture.manager.list(as: fixture.alice).count == 1)
        // The same request id works once the key is back.
        try await fixture.kms.createKey(Fixture.kmsKey)
        #expect(try await fixture.manager.register(request, as: fixture.alice).isNew)
    }
}

/// The parts of a context that a test varies.
struct SealingContextParts {
    var installation = "test"
    var tenant = "default"
    var owner = KeySetOwner(kind: .user, issuer: "static", subject: "alice")
    var keySet = "ks-1"
    var object = SealingContext.Object.seed
    var mode = ProtectionMode.direct
    var origin = KeyOrigin.derived
    var suite = 1

    static let changes: [@Sendable (inout SealingContextParts) -> Void] = [
        { $0.installation = "other" }, { $0.tenant = "other" }, { $0.keySet = "ks-2" },
        { $0.owner = KeySetOwner(kind: .user, issuer: "static", subject: "bob") },
        { $0.owner = KeySetOwner(kind: .user, issuer: "https://issuer", subject: "alice") },
        { $0.owner = KeySetOwner(kind: .group, issuer: "static", subject: "alice") },
        { $0.object = .dataKey }, { $0.mode = .envelope }, { $0.origin = .imported },
        { $0.suite = 2 },
    ]

    func context(_ parameters: EncryptionParameters) -> SealingContext {
        SealingContext(
            installation: installation, tenant: tenant, owner: owner, keySet: keySet, parameters: parameters,
            suite: suite,
            origin: origin, object: object, mode: mode)
    }
}
