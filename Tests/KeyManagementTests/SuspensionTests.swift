import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import Testing

/// Sixteen failures after the seed was opened suspend a key set, whatever stores and requesters do meanwhile.
@Suite struct SuspensionTests {
    private struct Scene {
        let fixture: Fixture
        let plan = FaultPlan()
        let objects: LyingObjects
        let metadata: FaultyMetadata
        let kms: LyingKMS
        let manager: KeyManager
        let keySet: String
        let ciphertexts: [[UInt8]]
        var suspended: KeyManagementError { .keySetNotActive(keySet, state: .suspended) }

        init() async throws {
            fixture = try await Fixture()
            objects = LyingObjects(fixture.objects)
            metadata = FaultyMetadata(inner: CancellableMetadata(inner: fixture.metadata), plan: plan)
            kms = LyingKMS(fixture.kms)
            manager = Fixture.manager(kms: kms, objects: objects, metadata: metadata, keys: fixture.keys)
            keySet = try await manager.register(fixture.request(), as: fixture.alice).keySet.manifest.keySet
            ciphertexts = try await manager.encrypt([.init(sample)], under: keySet, as: fixture.alice).ciphertexts
        }

        /// That of a process that has just started.
        func another() -> KeyManager {
            Fixture.manager(kms: kms, objects: objects, metadata: metadata, keys: fixture.keys)
        }

        func lie() { kms.lie(.secret([UInt8](repeating: 1, count: 32))) }

        func decrypt(by manager: KeyManager? = nil) async throws {
            let result = try await (manager ?? self.manager).decrypt(
                ciphertexts, of: keySet, count: 8, as: fixture.alice)
            #expect(close(result.vectors[0], sample))
        }

        func fail(times: Int) async {
            lie()
            for _ in 0..<times { #expect(await refusal { try await decrypt() } == .decryptionFailed) }
            kms.lie(nil)
        }

        func show() async throws -> KeySetDescription { try await manager.show(keySet, as: fixture.alice) }
    }

    @Test("an object store that takes no manifest does not keep a key set active")
    func refusedManifest() async throws {
        let scene = try await Scene()
        let (keySet, alice) = (scene.keySet, scene.fixture.alice)
        scene.objects.refusePuts(true)
        await scene.fail(times: KeyManager.failureLimit)
        let opened = scene.kms.opened
        for manager in [scene.manager, scene.another()] {
            #expect(await refusal { try await scene.decrypt(by: manager) } == scene.suspended)
            #expect(
                await refusal { _ = try await manager.encrypt([.init(sample)], under: keySet, as: alice) }
                    == scene.suspended)
            #expect(await refusal { _ = try await manager.publicKey(keySet, as: alice) } == scene.suspended)
        }
        var shown = try await scene.show()
        #expect(shown.state == .suspended && shown.manifest.state == .active)
        #expect(try await scene.manager.list(as: alice).map(\.state) == [.suspended])

        // The manifest is made up for, once.
        scene.objects.refusePuts(false)
        for _ in 0..<2 {
            #expect(await refusal { try await scene.decrypt() } == scene.suspended)
            shown = try await scene.show()
            #expect(shown.state == .suspended && shown.manifest.state == .suspended && shown.manifest.version == 2)
        }
        #expect(scene.kms.opened == opened)
        _ = try await scene.manager.destroy(keySet, as: alice)
        #expect(try await scene.show().state == .destroyed)
    }

    @Test(
        "a failure that a metadata store does not count is answered as the debit of a good decryption would be",
        arguments: [Fault.refused, .lostAnswer, .gone])
    func uncounted(fault: Fault) async throws {
        let scene = try await Scene()
        var afterOpening = 0
        for call in 1...20 {
            let (before, opened) = (try await scene.show().counters.failures, scene.kms.opened)
            scene.lie()
            scene.plan.arm(fault, at: call)
            let error = await refusal { try await scene.decrypt() }
            let hit = scene.plan.hit
            scene.plan.disarm()
            scene.kms.lie(nil)
            let counted = try await scene.show().counters.failures - before
            guard hit != nil else {
                #expect(error == .decryptionFailed && counted == 1)
                break
            }
            guard case .metadataStore(.unavailable) = error else {
                Issue.record("call \(call): \(error.map { "\($0)" } ?? "decrypted")")
                continue
            }
            if scene.kms.opened > opened { afterOpening += 1 }
            #expect(counted == 0 || (counted == 1 && fault == .lostAnswer))
            // Whoever can make the store fail does not learn by that whether the secret was the right one.
            scene.plan.arm(fault, at: call)
            #expect(await refusal { try await scene.decrypt() } == error, "call \(call)")
            scene.plan.disarm()
        }
        #expect(afterOpening == 2, "the row is read and written")
    }

    @Test("a decryption that is under way when its key set is suspended releases nothing")
    func underWay() async throws {
        let scene = try await Scene()
        let (opened, go) = (Signal(), Signal())
        // The third call to the metadata is the first of the debit.
        scene.plan.beforeEveryCall { call, _ in
            guard call == 3 else { return }
            opened.set()
            await go.wait()
        }
        // And no manifest tells of the suspension.
        scene.objects.refusePuts(true)
        async let late = refusal { try await scene.decrypt() }
        await opened.wait()
        await scene.fail(times: KeyManager.failureLimit)
        go.set()
        #expect(await late == scene.suspended)
        scene.plan.disarm()
        #expect(try await scene.show().counters.decryptions == 0)
    }

    @Test("a requester who hangs up while a failure is counted does not stop the counting")
    func hangingUp() async throws {
        let scene = try await Scene()
        let (failed, go) = (Signal(), Signal())
        scene.plan.beforeEveryCall { call, _ in
            guard call == 3 else { return }
            failed.set()
            await go.wait()
        }
        scene.lie()
        let request = Task { await refusal { try await scene.decrypt() } }
        await failed.wait()
        request.cancel()
        go.set()
        #expect(await request.value == .decryptionFailed)
        scene.plan.disarm()
        #expect(try await scene.show().counters.failures == 1)
    }
}

/// A store whose calls end with the task that makes them, as those of one behind a network may.
private struct CancellableMetadata: MetadataStore {
    let inner: any MetadataStore

    private func check() throws(MetadataStoreError) {
        if Task.isCancelled { throw .unavailable(reason: "cancelled") }
    }

    func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        try check()
        return try await inner.read(collection: collection, id: id)
    }
    func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        try check()
        return try await inner.list(collection: collection, index: index, after: after, limit: limit)
    }
    func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        try check()
        try await inner.apply(changes)
    }
    func checkHealth() async throws(MetadataStoreError) { try await inner.checkHealth() }
}
