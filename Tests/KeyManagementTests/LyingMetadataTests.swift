import Attestation
import Foundation
import KeyManagement
import Synchronization
import Testing

/// A metadata store may roll back and delete rows, and make HKMS forget by it; it can forge and move none.
@Suite struct LyingMetadataTests {
    private static let collections = ["keysets", "registrations", "ciphertexts", "jobs"]

    private struct Scene {
        let fixture: Fixture
        let store: LyingMetadata
        let kms: LyingKMS
        let manager: KeyManager
        let keySet: String
        let ciphertexts: [[UInt8]]
        let job: String

        init(policy: KeySetPolicy = .raw()) async throws {
            fixture = try await Fixture()
            store = LyingMetadata(fixture.metadata)
            kms = LyingKMS(fixture.kms)
            manager = Fixture.manager(
                kms: kms, objects: fixture.objects, metadata: store, keys: fixture.keys)
            let request = try fixture.request(.envelope, id: "first", policy: policy)
            keySet = try await manager.register(request, as: fixture.alice).keySet.manifest.keySet
            let made = try await manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
            ciphertexts = made.ciphertexts
            job = try await Self.open(manager, keySet, made.digests, fixture.alice)
        }

        static func open(
            _ manager: KeyManager, _ keySet: String, _ inputs: [Digest], _ requester: Requester
        ) async throws -> String {
            try await SevenUnit().openJob(manager, under: keySet, over: inputs, as: requester).job
        }

        /// What reads a row of the collection.
        func use(_ collection: String) async throws {
            switch collection {
            case "keysets": _ = try await manager.show(keySet, as: fixture.alice)
            case "registrations":
                let again = try await manager.register(
                    fixture.request(.envelope, id: "first", policy: .raw()), as: fixture.alice)
                #expect(!again.isNew && again.keySet.manifest.keySet == keySet)
            case "ciphertexts":
                _ = try await manager.decrypt(ciphertexts, of: keySet, count: 1, as: fixture.alice)
            default: _ = try await manager.job(job, as: fixture.alice)
            }
        }

        /// Puts an earlier row in the place of the present one.
        func rollBack(to row: MetadataRecord) async throws {
            let present = try #require(
                try await fixture.metadata.read(collection: row.collection, id: row.id))
            try await fixture.metadata.apply([
                .delete(collection: row.collection, id: row.id, version: present.version)
            ])
            try await fixture.metadata.apply([.insert(row)])
        }

        /// The row that ``use(_:)`` reads first.
        func row(_ collection: String) async throws -> MetadataRecord {
            let seen = Mutex<MetadataRecord?>(nil)
            store.lie { record in
                if record.collection == collection { seen.withLock { $0 = $0 ?? record } }
                return record
            }
            try await use(collection)
            store.lie(nil)
            return try #require(seen.withLock { $0 })
        }
    }

    @Test(
        "a row altered, cut, moved or written elsewhere is refused, and nothing is opened",
        arguments: collections)
    func forgedRows(collection: String) async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        let original = try await scene.row(collection)
        // Another row of the collection, and one of every other collection, all of this installation.
        let second = try await scene.manager.register(
            try fixture.request(.envelope, id: "second"), as: fixture.alice
        ).keySet.manifest.keySet
        let other = try await scene.manager.encrypt([.init(sample)], under: second, as: fixture.alice)
        _ = try await Scene.open(scene.manager, second, other.digests, fixture.alice)
        var lies: [(name: String, row: MetadataRecord)] = []
        func lie(_ name: String, _ change: (inout MetadataRecord) -> Void) {
            var row = original
            change(&row)
            lies.append((name, row))
        }
        for offset in [0, 31, 32, 33, original.body.count / 2, original.body.count - 1] {
            lie("byte \(offset)") { $0.body[offset] ^= 1 }
        }
        for count in [0, 1, 31, 32, 33, original.body.count / 2, original.body.count - 1] {
            lie("cut to \(count)") { $0.body = Array($0.body.prefix(count)) }
        }
        lie("longer") { $0.body.append(0x20) }
        lie("another version") { $0.version += 1 }
        lie("version 0") { $0.version = 0 }
        lie("another index") { $0.index += "0" }
        lie("another id") { $0.id += "0" }
        lie("another collection") { $0.collection = collection == "jobs" ? "keysets" : "jobs" }
        for name in Self.collections where name != collection {
            let foreign = try await scene.row(name)
            lies.append(("a row of \(name)", foreign))
            lie("the body of a row of \(name)") { $0.body = foreign.body }
        }
        // The same row written by another installation, whose secret is another.
        let (keys, _) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(fixture.kms, key: Fixture.kmsKey))
        let stranger = Fixture.manager(
            kms: scene.kms, objects: fixture.objects, metadata: scene.store, keys: keys)
        let before = scene.kms.opened
        #expect(
            await refusal { _ = try await stranger.show(scene.keySet, as: fixture.alice) }
                == .metadataTampered(collection: "keysets"))
        for (name, row) in lies {
            scene.store.lie { $0.collection == collection && $0.id == original.id ? row : $0 }
            let error = await refusal { try await scene.use(collection) }
            guard case .metadataTampered = error else {
                Issue.record("\(collection), \(name): \(error.map { "\($0)" } ?? "taken")")
                continue
            }
        }
        #expect(scene.kms.opened == before)
        scene.store.lie(nil)
        try await scene.use(collection)
    }

    @Test("rows that are gone are as if they had never been, and vouch for nothing")
    func deletedRows() async throws {
        let scene = try await Scene()
        let alice = scene.fixture.alice
        func without(_ collection: String) {
            scene.store.lie { $0.collection == collection ? nil : $0 }
        }
        without("keysets")
        #expect(await refusal { try await scene.use("keysets") } == .unknownKeySet(scene.keySet))
        #expect(await refusal { try await scene.use("ciphertexts") } == .unknownKeySet(scene.keySet))
        #expect(try await scene.manager.list(as: alice).isEmpty)
        without("ciphertexts")
        let digest = Digest(of: scene.ciphertexts[0])
        #expect(await refusal { try await scene.use("ciphertexts") } == .notVouched(digest))
        #expect(
            await refusal { _ = try await Scene.open(scene.manager, scene.keySet, [digest], alice) }
                == .notVouched(digest))
        without("jobs")
        #expect(await refusal { try await scene.use("jobs") } == .unknownJob(scene.job))
        #expect(try await scene.manager.jobs(as: alice).isEmpty)
        #expect(scene.kms.opened == 0)
        scene.store.lie(nil)
        try await scene.use("ciphertexts")
    }

    @Test("a rollback brings back budget and state, and a destroyed key set's row but not its keys")
    func rolledBackRows() async throws {
        let scene = try await Scene(policy: KeySetPolicy.raw(decryptionBudget: 1))
        let (fixture, keySet) = (scene.fixture, scene.keySet)
        let early = try #require(try await fixture.metadata.read(collection: "keysets", id: keySet))
        try await scene.use("ciphertexts")
        #expect(await refusal { try await scene.use("ciphertexts") } == .budgetExhausted)
        // docs/threat-model.md: the metadata store is believed for freshness. This is what that costs.
        try await scene.rollBack(to: early)
        try await scene.use("ciphertexts")
        _ = try await scene.manager.destroy(keySet, as: fixture.alice)
        try await scene.rollBack(to: early)
        let opened = scene.kms.opened
        // The manager that destroyed it still has its first manifest in memory.
        let fresh = Fixture.manager(
            kms: scene.kms, objects: fixture.objects, metadata: scene.store, keys: fixture.keys)
        for manager in [fresh, scene.manager] {
            let error = await refusal {
                _ = try await manager.decrypt(scene.ciphertexts, of: keySet, as: fixture.alice)
            }
            guard case .objectMissing = error else {
                Issue.record("\(error.map { "\($0)" } ?? "decrypted")")
                continue
            }
        }
        #expect(scene.kms.opened == opened)
    }

    @Test("a rolled-back registration does not make HKMS remove the key set that it made")
    func rolledBackRegistration() async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        // The row as it was while the key set was being made.
        let creating = Mutex<MetadataRecord?>(nil)
        let watching = WatchingMetadata(scene.store) { record in
            if record.collection == "registrations" { creating.withLock { $0 = $0 ?? record } }
        }
        let manager = Fixture.manager(
            kms: scene.kms, objects: fixture.objects, metadata: watching, keys: fixture.keys)
        let request = try fixture.request(.direct, id: "third")
        let made = try await manager.register(request, as: fixture.alice).keySet.manifest.keySet
        let row = try #require(creating.withLock { $0 })
        let before = fixture.files(made)
        let later = Fixture.manager(
            kms: scene.kms, objects: fixture.objects, metadata: scene.store, keys: fixture.keys,
            clock: { Date() + 601 })
        // By a process that starts, and by the client's own repetition in the process that made it and in another.
        try await scene.rollBack(to: row)
        _ = try await later.removeAbandonedRegistrations()
        #expect(fixture.files(made) == before)
        for manager in [manager, later] {
            try await scene.rollBack(to: row)
            _ = try await manager.register(request, as: fixture.alice)
            #expect(fixture.files(made) == before)
        }
        let ciphertexts = try await later.encrypt([.init(sample)], under: made, as: fixture.alice)
            .ciphertexts
        _ = try await later.decrypt(ciphertexts, of: made, count: 1, as: fixture.alice)
    }

    @Test("a list that repeats or reorders its rows, or never ends, is refused")
    func lists() async throws {
        let scene = try await Scene()
        let fixture = scene.fixture
        for id in ["second", "third"] {
            _ = try await scene.manager.register(try fixture.request(.direct, id: id), as: fixture.alice)
        }
        let index = try await scene.row("keysets").index
        let rows = try await fixture.metadata.list(
            collection: "keysets", index: index, after: nil, limit: 500)
        #expect(rows.count == 3)
        let tampered = KeyManagementError.metadataTampered(collection: "keysets")
        let alone = Requester(issuer: "static", subject: "alice", tenant: "default", groups: [])
        let foreign = try await scene.row("registrations")
        let lies: [[MetadataRecord]] = [
            rows + [rows[2]], [rows[0], rows[0]], rows.reversed(), [foreign],
            // As long as a page is: there would always be one more.
            [MetadataRecord](repeating: rows[0], count: 500),
        ]
        for (number, lie) in lies.enumerated() {
            scene.store.list { _ in lie }
            let error = await refusal { _ = try await scene.manager.list(as: alone) }
            #expect(error == tampered, "list \(number)")
        }
        // Rows that are left out are deleted rows.
        scene.store.list { _ in [rows[1]] }
        #expect(try await scene.manager.list(as: alone).count == 1)
    }
}

/// Tells of every row that is inserted.
private struct WatchingMetadata: MetadataStore {
    let inner: any MetadataStore
    let inserted: @Sendable (MetadataRecord) -> Void

    init(_ inner: any MetadataStore, _ inserted: @escaping @Sendable (MetadataRecord) -> Void) {
        self.inner = inner
        self.inserted = inserted
    }

    func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        try await inner.read(collection: collection, id: id)
    }
    func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        try await inner.list(collection: collection, index: index, after: after, limit: limit)
    }
    func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        for change in changes { if case .insert(let record) = change { inserted(record) } }
        try await inner.apply(changes)
    }
    func checkHealth() async throws(MetadataStoreError) { try await inner.checkHealth() }
}
