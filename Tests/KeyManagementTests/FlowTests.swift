import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import StorageSQLite
import Testing

@Suite struct FlowTests {
    @Test(
        "what is encrypted under a key set decrypts under it, in both modes",
        arguments: [ProtectionMode.direct, .envelope])
    func roundTrip(mode: ProtectionMode) async throws {
        let fixture = try await Fixture()
        let result = try await fixture.manager.register(fixture.request(mode), as: fixture.alice)
        #expect(result.isNew)
        #expect(result.keySet.state == .active)
        #expect(result.keySet.manifest.sealing.mode == mode)
        #expect((result.keySet.manifest.sealing.sealedDataKey != nil) == (mode == .envelope))
        let keySet = result.keySet.manifest.keySet
        let encrypted = try await fixture.manager.encrypt(
            [.init(sample), .init(sample)], under: keySet, as: fixture.alice)
        let decrypted = try await fixture.manager.decrypt(
            encrypted.ciphertexts, of: keySet, count: 8, as: fixture.alice)
        #expect(decrypted.vectors.count == 2)
        #expect(decrypted.vectors.allSatisfy { close($0, sample) })
        #expect(decrypted.release == .raw)
        let shown = try await fixture.manager.show(keySet, as: fixture.alice)
        #expect(shown.counters.encryptions == 2)
        #expect(shown.counters.decryptions == 2)
        #expect(shown.tainted)
        #expect(!shown.exposed)
    }

    @Test("another process with the same stores and KMS opens what this one registered")
    func restart() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register(.envelope)
        let encrypted = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
        let second = Fixture.manager(
            kms: fixture.kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        let decrypted = try await second.decrypt(encrypted.ciphertexts, of: keySet, count: 8, as: fixture.alice)
        #expect(close(decrypted.vectors[0], sample))
    }

    @Test("a request id gives one key set however often it comes; for something else it is refused")
    func idempotent() async throws {
        let fixture = try await Fixture()
        let request = try fixture.request(.direct, id: "one")
        let first = try await fixture.manager.register(request, as: fixture.alice)
        let again = try await fixture.manager.register(request, as: fixture.alice)
        #expect(!again.isNew)
        #expect(again.keySet.manifest.keySet == first.keySet.manifest.keySet)
        let other = try fixture.request(.envelope, id: "one")
        await #expect(throws: KeyManagementError.requestIDReused) {
            try await fixture.manager.register(other, as: fixture.alice)
        }
        // Somebody else's "one" is another request.
        let bobs = try fixture.request(.direct, id: "one", owner: fixture.bob)
        #expect(try await fixture.manager.register(bobs, as: fixture.bob).isNew)
    }

    @Test("sixteen registrations with one request id at once make one key set")
    func concurrentRegistration() async throws {
        let fixture = try await Fixture()
        let request = try fixture.request(.direct, id: "race")
        let ids = await withTaskGroup(of: String?.self) { group in
            for _ in 0..<16 {
                group.addTask {
                    for _ in 0..<200 {
                        do {
                            return try await fixture.manager.register(request, as: fixture.alice).keySet.manifest.keySet
                        } catch KeyManagementError.registrationInProgress {
                            try? await Task.sleep(for: .milliseconds(20))
                        } catch { return nil }
                    }
                    return nil
                }
            }
            return await group.reduce(into: Set<String?>()) { $0.insert($1) }
        }
        #expect(ids.count == 1)
        #expect(ids.first != .some(nil))
        #expect(try await fixture.manager.list(as: fixture.alice).count == 1)
    }

    @Test("principals cannot touch each other's key sets; a group shares its own")
    func ownership() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register()
        let encrypted = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
        let unknown = KeyManagementError.unknownKeySet(keySet)
        for other in [fixture.bob, fixture.mallory] {
            await #expect(throws: unknown) { try await fixture.manager.show(keySet, as: other) }
            await #expect(throws: unknown) { try await fixture.manager.publicKey(keySet, as: other) }
            await #expect(throws: unknown) {
                try await fixture.manager.evaluationKey("relinearization", of: keySet, as: other)
            }
            await #expect(throws: unknown) {
                try await fixture.manager.encrypt([.init(sample)], under: keySet, as: other)
            }
            await #expect(throws: unknown) {
                try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, as: other)
            }
            await #expect(throws: unknown) { try await fixture.manager.destroy(keySet, as: other) }
            #expect(try await fixture.manager.list(as: other).isEmpty)
        }
        let abroad = Requester(issuer: "static", subject: "alice", tenant: "elsewhere", groups: ["clinic"])
        await #expect(throws: unknown) { try await fixture.manager.show(keySet, as: abroad) }
        let impostor = Requester(issuer: "https://issuer", subject: "alice", tenant: "default", groups: ["clinic"])
        await #expect(throws: unknown) { try await fixture.manager.show(keySet, as: impostor) }
        // Equal to Swift and to Unicode, and two people to their issuer.
        let names = ["ren\u{E9}", "rene\u{301}"]
        #expect(names[0] == names[1])
        let people = names.map { Requester(issuer: "static", subject: $0, tenant: "default", groups: []) }
        let first = try await fixture.manager.register(
            fixture.request(owner: people[0]), as: people[0]
        ).keySet.manifest.keySet
        #expect(try await fixture.manager.list(as: people[0]).count == 1)
        #expect(try await fixture.manager.list(as: people[1]).isEmpty)
        await #expect(throws: KeyManagementError.unknownKeySet(first)) {
            try await fixture.manager.show(first, as: people[1])
        }

        var request = try fixture.request()
        request.owner = KeySetOwner(kind: .group, issuer: "static", subject: "clinic")
        let shared = try await fixture.manager.register(request, as: fixture.alice).keySet.manifest.keySet
        let sealed = try await fixture.manager.encrypt([.init(sample)], under: shared, as: fixture.bob)
        let opened = try await fixture.manager.decrypt(sealed.ciphertexts, of: shared, count: 8, as: fixture.alice)
        #expect(close(opened.vectors[0], sample))
        await #expect(throws: KeyManagementError.unknownKeySet(shared)) {
            try await fixture.manager.show(shared, as: fixture.mallory)
        }
        request.requestID = "foreign group"
        await #expect(throws: KeyManagementError.self) {
            try await fixture.manager.register(request, as: fixture.mallory)
        }
    }

    @Test("destroy answers tombstoned, removes the objects, and nothing works after it")
    func destroy() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register(.envelope)
        let encrypted = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
        let sealed = try Data(contentsOf: fixture.path(keySet, "sealed-seed"))
        let destruction = try await fixture.manager.destroy(keySet, as: fixture.alice)
        #expect(destruction.erasure == .tombstoned)
        let left = fixture.files(keySet)
        #expect(left.count == 1 && left[0].hasPrefix("manifest-"))
        let again = try await fixture.manager.destroy(keySet, as: fixture.alice)
        #expect(again.date.timeIntervalSince(destruction.date).magnitude < 1.5)
        // A storage that kept everything does not bring it back.
        try sealed.write(to: fixture.path(keySet, "sealed-seed"))
        let gone = KeyManagementError.keySetDestroyed(keySet)
        await #expect(throws: gone) {
            try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, as: fixture.alice)
        }
        await #expect(throws: gone) {
            try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
        }
        await #expect(throws: gone) { try await fixture.manager.publicKey(keySet, as: fixture.alice) }
        let shown = try await fixture.manager.show(keySet, as: fixture.alice)
        #expect(shown.state == .destroyed)
        #expect(shown.manifest.state == .destroyed)
        #expect(shown.destroyed != nil)
    }

    @Test("a budget is debited before release and never given back")
    func budget() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register(.direct, policy: KeySetPolicy.raw(decryptionBudget: 3))
        let encrypted = try await fixture.manager.encrypt(
            [.init(sample), .init(sample)], under: keySet, as: fixture.alice)
        _ = try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, count: 1, as: fixture.alice)
        await #expect(throws: KeyManagementError.budgetExhausted) {
            try await fixture.manager.decrypt(encrypted.ciphertexts, of: keySet, count: 1, as: fixture.alice)
        }
        let one = [encrypted.ciphertexts[0]]
        _ = try await fixture.manager.decrypt(one, of: keySet, count: 1, as: fixture.alice)
        await #expect(throws: KeyManagementError.budgetExhausted) {
            try await fixture.manager.decrypt(one, of: keySet, count: 1, as: fixture.alice)
        }
        #expect(try await fixture.manager.show(keySet, as: fixture.alice).counters.decryptionsLeft == 0)
    }

    @Test("concurrent decryptions neither lose a debit nor exceed the budget")
    func concurrentBudget() async throws {
        let fixture = try await Fixture()
        // As another process has it: a manager and connections of its own.
        let other = Fixture.manager(
            kms: fixture.kms, objects: fixture.objects,
            metadata: try SQLiteMetadataStore(path: fixture.folder.appendingPathComponent("metadata.sqlite").path),
            keys: fixture.keys)
        let keySet = try await fixture.register(.direct, policy: KeySetPolicy.raw(decryptionBudget: 10))
        let ciphertext = try await fixture.manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
            .ciphertexts
        let released = await withTaskGroup(of: Bool.self) { group in
            for manager in [fixture.manager, other] {
                for _ in 0..<12 {
                    group.addTask {
                        (try? await manager.decrypt(ciphertext, of: keySet, count: 1, as: fixture.alice)) != nil
                    }
                }
            }
            return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
        }
        #expect(released == 10)
        let counters = try await fixture.manager.show(keySet, as: fixture.alice).counters
        #expect(counters.decryptions == 10)
        #expect(counters.decryptionsLeft == 0)
    }

    @Test("requests that make no sense are named before anything is stored")
    func invalidRequests() async throws {
        let fixture = try await Fixture()
        func refuse(_ change: (inout RegistrationRequest) throws -> Void) async throws {
            var request = try fixture.request()
            try change(&request)
            let changed = request
            await #expect(throws: KeyManagementError.self) {
                try await fixture.manager.register(changed, as: fixture.alice)
            }
        }
        try await refuse { $0.requestID = "" }
        try await refuse { $0.requestID = String(repeating: "x", count: 129) }
        try await refuse { $0.owner = fixture.bob.owner }
        try await refuse { $0.mode = .ephemeral }
        try await refuse { $0.policy = .raw(decryptAny: true) }
        try await refuse { $0.policy = .raw(decryptionBudget: -1) }
        try await refuse { $0.evaluationKeys.append($0.evaluationKeys[0]) }
        try await refuse { $0.evaluationKeys = [EvaluationKeyID(kind: .galois, galois: 4, level: 2)] }
        try await refuse { $0.evaluationKeys = [EvaluationKeyID(kind: .relinearization, level: 3)] }
        try await refuse { $0.evaluationKeys = [EvaluationKeyID(kind: .switching, level: 2)] }
        try await refuse {
            $0.parameters = try EncryptionParameters(
                scheme: .ckks, logN: 11, q: [1_152_921_504_606_830_593], p: [], alpha: 0,
                security: .insecureForTestsOnly)
            $0.evaluationKeys = []
        }
        #expect(fixture.files().isEmpty)
        #expect(try await fixture.manager.list(as: fixture.alice).isEmpty)
    }

    @Test("values that cannot be encrypted are named")
    func invalidValues() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register()
        func refuse(_ input: EncryptionInput, scaleBits: Int? = nil, level: Int? = nil, _ error: KeyManagementError)
            async
        {
            await #expect(throws: error) {
                try await fixture.manager.encrypt(
                    [input], under: keySet, scaleBits: scaleBits, level: level, as: fixture.alice)
            }
        }
        await refuse(.init(real: [1, .nan]), .homomorphicEncryption(.notFinite(index: 1)))
        await refuse(.init(real: [.infinity]), .homomorphicEncryption(.notFinite(index: 0)))
        await refuse(
            .init(real: [Double](repeating: 0, count: 2049)),
            .homomorphicEncryption(.tooManyValues(count: 2049, slots: 2048)))
        await refuse(.init(real: [1]), level: 3, .homomorphicEncryption(.invalidLevel(3, maximum: 2)))
        await refuse(.init(real: [1]), scaleBits: 0, .invalidRequest(reason: "the scale is 2^1 to 2^120"))
        await #expect(throws: KeyManagementError.self) {
            try await fixture.manager.encrypt([.init(real: [1e30])], under: keySet, as: fixture.alice)
        }
        await #expect(throws: KeyManagementError.self) {
            try await fixture.manager.encrypt([], under: keySet, as: fixture.alice)
        }
    }
}

extension FlowTests {
    @Test("destroying at once from many sides leaves a readable tombstone")
    func concurrentDestruction() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register()
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<16 { group.addTask { _ = try? await fixture.manager.destroy(keySet, as: fixture.alice) } }
        }
        let second = Fixture.manager(
            kms: fixture.kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        #expect(try await second.show(keySet, as: fixture.alice).manifest.state == .destroyed)
        #expect(try await second.list(as: fixture.alice).count == 1)
    }
}
