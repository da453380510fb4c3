import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSSoftware

/// Key sets under keys of single principals, before a KMS that knows its callers as a test tells it. How a real one does
/// is tested with the real one (OpenBaoDelegationTests, SystemTests).
struct DelegationTests {
    private func scene() async throws -> (RewrapBench, KeyManager) {
        let bench = try await RewrapBench()
        return (bench, bench.before(.perPrincipal, wrapping: CallerKMS(inner: bench.old)))
    }

    @Test(
        "the principal's own credential opens, nobody else's and not the gateway's",
        arguments: [ProtectionMode.direct, .envelope])
    func ownCredential(mode: ProtectionMode) async throws {
        let (bench, manager) = try await scene()
        let alice = try person("alice")
        let keySet = try await bench.register(mode, with: manager, as: alice)
        let sealing = try await manager.show(keySet.id, as: alice).manifest.sealing
        #expect(sealing.authority == .principal && sealing.keyName == "user-alice")
        try await bench.opens(keySet, with: manager, as: alice)
        // The same principal without a credential, and with another's.
        await #expect(throws: KeyManagementError.kmsCredentialMissing) {
            try await bench.opens(keySet, with: manager, as: bench.alice)
        }
        await #expect(throws: KeyManagementError.kmsCredentialRefused(reason: "not the caller's key")) {
            try await bench.opens(keySet, with: manager, as: person("alice", knownAs: "bob"))
        }
        // Somebody else does not even see it.
        await #expect(throws: KeyManagementError.unknownKeySet(keySet.id)) {
            try await bench.opens(keySet, with: manager, as: person("bob"))
        }
        let counters = try await manager.show(keySet.id, as: alice).counters
        #expect(counters.failures == 0 && counters.decryptions == 1)
    }

    @Test("a group has no credential: its key sets are refused; so is a registration without a credential")
    func refusals() async throws {
        let (bench, manager) = try await scene()
        await #expect(throws: KeyManagementError.kmsCredentialMissing) {
            _ = try await bench.register(with: manager)
        }
        let alice = try person("alice")
        let request = RegistrationRequest(
            requestID: "group", mode: .direct, owner: KeySetOwner(kind: .group, issuer: "static", subject: "clinic"),
            parameters: try Scheme.ckks.smallParameters, evaluationKeys: [], profile: nil, policy: .unflooded(.ckks))
        await #expect(throws: KeyManagementError.self) { _ = try await manager.register(request, as: alice) }
        #expect(try await manager.list(as: alice).isEmpty)
    }

    @Test("a rotation rewraps what the gateway cannot open, by the KMS itself")
    func rotation() async throws {
        let (bench, manager) = try await scene()
        let alice = try person("alice")
        let keySet = try await bench.register(with: manager, as: alice)
        let key = try #require(KMSKeyName("user-alice"))
        try await bench.old.rotateKey(key)
        var request = RewrapBench.rotation
        request.addsVersion = false
        let progress = try await manager.rewrapAll(request)
        #expect(progress.rewrapped == 1 && progress.phase == .complete)
        #expect(try await bench.sealing(keySet).keyVersion == 2)
        try await bench.opens(keySet, with: manager, as: alice)
    }

    @Test("a migration waits for the principal, and the key set moves when they come")
    func lazyMove() async throws {
        let (bench, before) = try await scene()
        let (alice, bob) = (try person("alice"), try person("bob"))
        let keySets = [
            (alice, try await bench.register(.direct, with: before, as: alice)),
            (bob, try await bench.register(.envelope, with: before, as: bob)),
        ]
        let manager = bench.manager(
            KMSDirectory(
                ConfiguredKMS(
                    name: "new", CallerKMS(inner: bench.new), key: RewrapBench.newKey, placement: .perPrincipal),
                others: [
                    ConfiguredKMS(
                        name: "old", CallerKMS(inner: bench.old), key: RewrapBench.oldKey, placement: .perPrincipal)
                ]))
        let progress = try await manager.rewrapAll(RewrapBench.migration)
        #expect(progress.waiting == 2 && progress.rewrapped == 0 && progress.failed == 0)
        for (person, keySet) in keySets {
            #expect(try await manager.show(keySet.id, as: person).manifest.sealing.provider == "old")
            try await bench.opens(keySet, with: manager, as: person)
            let sealing = try await manager.show(keySet.id, as: person).manifest.sealing
            #expect(sealing.provider == "new" && sealing.authority == .principal)
            try await bench.opens(keySet, with: manager, as: person)
            await #expect(throws: KeyManagementError.kmsCredentialMissing) {
                try await bench.opens(
                    keySet, with: manager,
                    as: Requester(
                        issuer: "static", subject: person.subject, tenant: "default", groups: []))
            }
        }
    }
}

/// A requester with a credential that ``CallerKMS`` takes for their name, or for another's.
func person(_ name: String, knownAs token: String? = nil) throws -> Requester {
    let text = Array((token ?? name).utf8)
    let credential: KMSCredential? = try text.withUnsafeBytes { text in try KMSCredential(copying: text) }
    let known: KMSCredential = try #require(credential)
    return Requester(issuer: "static", subject: name, tenant: "default", groups: ["clinic"], kmsCredential: known)
}

/// A KMS that takes a credential for its holder's name and gives each name a key of its own. The gateway may rewrap
/// under these keys, and nothing else.
struct CallerKMS: ForwardingKMS {
    let inner: any TrustedKMS

    var capabilities: KMSCapabilities {
        var capabilities = inner.capabilities
        capabilities.authenticates = [.service, .caller]
        return capabilities
    }

    private static func key(_ caller: KMSCaller) -> String? {
        guard case .principal(let credential) = caller else { return nil }
        return "user-" + credential.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }

    private func check(_ key: KMSKeyName, _ caller: KMSCaller) throws(KMSError) {
        guard key.value.hasPrefix("user-") ? Self.key(caller) == key.value : caller == .service else {
            throw .denied(reason: "not the caller's key")
        }
    }

    func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName {
        guard let name = Self.key(caller), let key = KMSKeyName(name) else {
            throw .notSupported(operation: "keys of principals")
        }
        try await inner.createKey(key)
        return key
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try check(key, caller)
        return try await inner.seal(secret, under: key, context: context, as: caller)
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        try check(key, caller)
        return try await inner.open(sealed, under: key, context: context, as: caller)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        try check(key, caller)
        return try await inner.generateDataKey(under: key, context: context, as: caller)
    }
}
