import Attestation
import Foundation
import KeyManagement
import Logging
import SecretMemory
import Synchronization
import Testing

/// Secret keys that stay between decryptions: how often the KMS is asked says whether one did.
struct SecretKeyCacheTests {
    private func scene(
        _ caching: SecretKeyCaching?, placement: KeyPlacement = .shared
    ) async throws -> (RewrapBench, KeyManager, CountingKMS) {
        let bench = try await RewrapBench()
        let inner: any TrustedKMS = placement == .perPrincipal ? CallerKMS(inner: bench.old) : bench.old
        let kms = CountingKMS(inner: inner)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let manager = KeyManager(
            configuration: .init(
                installation: "test", gateway: "gateway-1", tenant: "default", secretKeyCaching: caching),
            keys: bench.keys,
            kms: KMSDirectory(ConfiguredKMS(name: "old", kms, key: RewrapBench.oldKey, placement: placement)),
            objects: bench.objects, metadata: bench.metadata, compute: InlineCompute(), logger: logger)
        return (bench, manager, kms)
    }

    @Test("without a cache each decryption asks; with one, as often as it allows", arguments: [nil, 3])
    func uses(uses: Int?) async throws {
        let (bench, manager, kms) = try await scene(
            uses.map { SecretKeyCaching(age: .seconds(600), uses: $0, bytes: 1 << 20) })
        let keySet = try await bench.register(with: manager)
        for _ in 0..<8 { try await bench.opens(keySet, with: manager) }
        // One that asks, and as many after it as are allowed.
        #expect(kms.opened == (uses == nil ? 8 : 2))
    }

    @Test("after its time a key is gone, and the KMS is asked again")
    func age() async throws {
        let (bench, manager, kms) = try await scene(
            SecretKeyCaching(age: .milliseconds(300), uses: 1000, bytes: 1 << 20))
        let keySet = try await bench.register(with: manager)
        try await bench.opens(keySet, with: manager)
        try await Task.sleep(for: .milliseconds(500))
        try await bench.opens(keySet, with: manager)
        #expect(kms.opened == 2)
    }

    @Test("keys have so many bytes together, and those not used for longest go first")
    func bytes() async throws {
        // A key of N = 4096 has 1024 bytes and its tag.
        let (bench, manager, kms) = try await scene(
            SecretKeyCaching(age: .seconds(600), uses: 1000, bytes: 2500))
        var keySets: [KnownKeySet] = []
        for _ in 0..<3 { keySets.append(try await bench.register(with: manager)) }
        for index in [0, 1, 0, 2] { try await bench.opens(keySets[index], with: manager) }
        #expect(kms.opened == 3)
        // 0 was used after 1, which had to go.
        try await bench.opens(keySets[0], with: manager)
        #expect(kms.opened == 3)
        try await bench.opens(keySets[1], with: manager)
        #expect(kms.opened == 4)
        // What is too small for one key keeps none.
        let (other, none, asked) = try await scene(SecretKeyCaching(age: .seconds(600), uses: 1000, bytes: 1000))
        let keySet = try await other.register(with: none)
        for _ in 0..<2 { try await other.opens(keySet, with: none) }
        #expect(asked.opened == 2)
    }

    @Test("a change of state or seal empties it; a destroyed key set does not decrypt from it")
    func changes() async throws {
        let (bench, manager, kms) = try await scene(
            SecretKeyCaching(age: .seconds(600), uses: 1000, bytes: 1 << 20))
        let keySet = try await bench.register(with: manager)
        for _ in 0..<2 { try await bench.opens(keySet, with: manager) }
        #expect(kms.opened == 1)
        _ = try await bench.before().rewrapAll(RewrapBench.rotation)
        try await bench.opens(keySet, with: manager)
        #expect(kms.opened == 2)
        #expect(manager.cachedSecretKeys == 1, "the one under the old seal is gone")
        _ = try await manager.destroy(keySet.id, as: bench.alice)
        #expect(manager.cachedSecretKeys == 0)
        await #expect(throws: KeyManagementError.keySetDestroyed(keySet.id)) {
            try await bench.opens(keySet, with: manager)
        }
        // By another process, which this one learns from the row.
        let second = try await bench.register(with: manager)
        try await bench.opens(second, with: manager)
        _ = try await bench.before().destroy(second.id, as: bench.alice)
        await #expect(throws: KeyManagementError.keySetDestroyed(second.id)) {
            try await bench.opens(second, with: manager)
        }
        #expect(manager.cachedSecretKeys == 0)
    }

    @Test(
        "what only a principal's own credential opens is never kept: each decryption asks, and away is away",
        arguments: [ProtectionMode.direct, .envelope])
    func ofPrincipals(mode: ProtectionMode) async throws {
        let (bench, manager, kms) = try await scene(
            SecretKeyCaching(age: .seconds(600), uses: 1000, bytes: 1 << 20), placement: .perPrincipal)
        let alice = try person("alice")
        let keySet = try await bench.register(mode, with: manager, as: alice)
        #expect(try await manager.show(keySet.id, as: alice).manifest.sealing.authority == .principal)
        for times in 1...3 {
            try await bench.opens(keySet, with: manager, as: alice)
            #expect(kms.opened == times && manager.cachedSecretKeys == 0)
        }
        // The same principal without their credential: nothing of theirs lies about that would decrypt.
        await #expect(throws: KeyManagementError.kmsCredentialMissing) {
            try await bench.opens(keySet, with: manager, as: bench.alice)
        }
        #expect(kms.opened == 3 && manager.cachedSecretKeys == 0)
    }

    /// - Parameter stored: whether the manifest that says so is stored; without it the current one is still that under
    ///   which the key is kept.
    @Test("a suspended key set gives nothing from it, whatever its manifest says", arguments: [true, false])
    func suspended(stored: Bool) async throws {
        let (bench, manager, kms) = try await scene(
            SecretKeyCaching(age: .seconds(600), uses: 1000, bytes: 1 << 20))
        let keySet = try await bench.register(with: manager)
        for _ in 0..<2 { try await bench.opens(keySet, with: manager) }
        #expect(kms.opened == 1 && manager.cachedSecretKeys == 1)
        // In another process, which this one learns from the row.
        let objects = LyingObjects(bench.objects)
        objects.refusePuts(!stored)
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        let another = KeyManager(
            configuration: .init(installation: "test", gateway: "gateway-2", tenant: "default"), keys: bench.keys,
            kms: KMSDirectory(
                ConfiguredKMS(name: "old", WrongSeedKMS(inner: bench.old), key: RewrapBench.oldKey)),
            objects: objects, metadata: bench.metadata, compute: InlineCompute(), logger: logger)
        for _ in 0..<KeyManager.failureLimit {
            await #expect(throws: KeyManagementError.decryptionFailed) {
                try await bench.opens(keySet, with: another)
            }
        }
        for _ in 0..<2 {
            await #expect(throws: KeyManagementError.keySetNotActive(keySet.id, state: .suspended)) {
                try await bench.opens(keySet, with: manager)
            }
        }
        #expect(kms.opened == 1)
        let shown = try await manager.show(keySet.id, as: bench.alice)
        #expect(shown.state == .suspended && shown.counters.failures == KeyManager.failureLimit)
    }
}

/// Counts what it was asked to open.
private final class CountingKMS: ForwardingKMS {
    let inner: any TrustedKMS
    private let count = Mutex(0)
    var opened: Int { count.withLock { $0 } }

    init(inner: any TrustedKMS) { self.inner = inner }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        count.withLock { $0 += 1 }
        return try await inner.open(sealed, under: key, context: context, as: caller)
    }
}
