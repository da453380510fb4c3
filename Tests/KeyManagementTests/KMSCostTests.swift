import Attestation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Synchronization
import Testing

/// What operations cost in calls of the trusted KMS: each is a round trip.
@Suite struct KMSCostTests {
    @Test(
        "a decryption asks the KMS once, however many ciphertexts it has; a registration at most three times",
        arguments: [ProtectionMode.direct, .envelope])
    func calls(mode: ProtectionMode) async throws {
        let fixture = try await Fixture()
        let kms = CountingKMS(fixture.kms)
        let manager = Fixture.manager(
            kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        let keySet = try await manager.register(fixture.request(mode), as: fixture.alice).keySet.manifest.keySet
        #expect(kms.take() == [mode == .direct ? "seal" : "generateDataKey": 1, "random": 1])

        let encrypted = try await manager.encrypt(
            Array(repeating: .init(sample), count: 16), under: keySet, as: fixture.alice)
        #expect(kms.take().isEmpty)
        for count in [1, 2, 16] {
            let decrypted = try await manager.decrypt(
                Array(encrypted.ciphertexts.prefix(count)), of: keySet, count: 8, as: fixture.alice)
            #expect(decrypted.vectors.allSatisfy { close($0, sample) })
            #expect(kms.take() == ["open": 1])
        }
        _ = try await manager.show(keySet, as: fixture.alice)
        _ = try await manager.list(as: fixture.alice)
        _ = try await manager.destroy(keySet, as: fixture.alice)
        #expect(kms.take().isEmpty)
    }

    @Test("what is refused before the seed is opened costs no call", arguments: [ProtectionMode.direct, .envelope])
    func refusals(mode: ProtectionMode) async throws {
        let fixture = try await Fixture()
        let kms = CountingKMS(fixture.kms)
        let manager = Fixture.manager(
            kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        let keySet = try await manager.register(fixture.request(mode), as: fixture.alice).keySet.manifest.keySet
        let encrypted = try await manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
        _ = kms.take()
        var altered = encrypted.ciphertexts[0]
        altered[altered.count / 2] ^= 1
        for ciphertext in [altered, []] {
            let error = await refusal { _ = try await manager.decrypt([ciphertext], of: keySet, as: fixture.alice) }
            #expect(error != nil)
        }
        let stranger = await refusal {
            _ = try await manager.decrypt(encrypted.ciphertexts, of: keySet, as: fixture.mallory)
        }
        #expect(stranger == .unknownKeySet(keySet))
        #expect(kms.take().isEmpty)
    }
}

/// Counts the calls of a KMS by their names, all of them.
private final class CountingKMS: ForwardingKMS {
    let inner: any TrustedKMS
    private let counts = Mutex<[String: Int]>([:])

    init(_ inner: any TrustedKMS) { self.inner = inner }

    /// The calls since the last time.
    func take() -> [String: Int] {
        counts.withLock { counts in
            defer { counts = [:] }
            return counts
        }
    }

    private func count(_ call: String) { counts.withLock { $0[call, default: 0] += 1 } }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        count("seal")
        return try await inner.seal(secret, under: key, context: context, as: caller)
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        count("open")
        return try await inner.open(sealed, under: key, context: context, as: caller)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        count("generateDataKey")
        return try await inner.generateDataKey(under: key, context: context, as: caller)
    }

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        count("rewrap")
        return try await inner.rewrap(sealed, under: key, context: context, as: caller)
    }

    func random(count bytes: Int) async throws(KMSError) -> SecretBytes {
        count("random")
        return try await inner.random(count: bytes)
    }

    func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        count("sign")
        return try await inner.sign(message, with: key)
    }

    func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        count("createKey")
        try await inner.createKey(name, purpose: purpose)
    }

    func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        count("describeKey")
        return try await inner.describeKey(name)
    }

    func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName {
        count("principalKey")
        return try await inner.principalKey(of: caller)
    }

    func checkHealth() async throws(KMSError) {
        count("checkHealth")
        try await inner.checkHealth()
    }
}
