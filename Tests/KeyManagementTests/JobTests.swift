import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Testing

/// Jobs and receipts: what a unit may make decryptable, and what it may not.
@Suite struct JobTests {
    /// A unit that answers 7, and a key set that it works under.
    private struct Unit {
        let fixture: Fixture
        let keySet: String
        let seven: SevenUnit

        init(_ fixture: Fixture, operator: KeySetOwner? = nil) async throws {
            self.fixture = fixture
            keySet = try await fixture.register()
            seven = try SevenUnit(operator: `operator`)
        }

        func result(level: Int = 1) async throws -> [UInt8] {
            try await seven.result(fixture.manager, under: keySet, level: level, as: fixture.alice)
        }

        func open(over inputs: [Digest]? = nil, keepsOutputs: Bool = true) async throws -> JobDescription {
            try await seven.openJob(
                fixture.manager, under: keySet, over: inputs, keepsOutputs: keepsOutputs, as: fixture.alice)
        }

        func complete(
            _ job: JobDescription, _ outputs: [[UInt8]], by signer: SigningKey? = nil,
            _ change: (inout Receipt) -> Void = { _ in }
        ) async throws -> JobSummary {
            try await seven.complete(job, outputs, fixture.manager, by: signer, change)
        }

        func decrypt(_ output: [UInt8]) async throws -> Double {
            try await fixture.manager.decrypt([output], of: keySet, count: 1, as: fixture.alice).vectors[0][0].real
        }
    }

    @Test("a receipt makes its outputs decryptable, once, and destroying the key set removes them")
    func receipt() async throws {
        let fixture = try await Fixture()
        let unit = try await Unit(fixture)
        let job = try await unit.open()
        let output = try await unit.result()
        await #expect(throws: KeyManagementError.notVouched(Digest(of: output))) { try await unit.decrypt(output) }
        #expect(try await unit.complete(job, [output]).state == .evaluated)
        #expect(abs(try await unit.decrypt(output) - 7) < 1e-3)
        #expect(try await fixture.manager.outputs(of: job.job, as: fixture.alice) == [output])
        await #expect(throws: KeyManagementError.jobNotOpen(job.job, state: "evaluated")) {
            try await unit.complete(job, [try await unit.result()])
        }
        await #expect(throws: KeyManagementError.unknownJob(job.job)) {
            try await fixture.manager.outputs(of: job.job, as: fixture.bob)
        }
        #expect(fixture.files(unit.keySet).contains { $0.contains("output-") })
        let destroyed = try await fixture.manager.destroy(unit.keySet, as: fixture.alice)
        #expect(destroyed.manifests == [job.manifest])
        let left = fixture.files(unit.keySet).filter {
            var isFolder: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: fixture.path(unit.keySet, $0).path, isDirectory: &isFolder)
            return !isFolder.boolValue
        }
        #expect(left.count == 1 && left[0].hasPrefix("manifest-"))
    }

    @Test("a prediction's job keeps no results, and says so")
    func resultsNotKept() async throws {
        let fixture = try await Fixture()
        let unit = try await Unit(fixture)
        let job = try await unit.open(keepsOutputs: false)
        let output = try await unit.result()
        _ = try await unit.complete(job, [output])
        #expect(abs(try await unit.decrypt(output) - 7) < 1e-3)
        await #expect(throws: KeyManagementError.jobKeepsNoResults(job.job)) {
            try await fixture.manager.outputs(of: job.job, as: fixture.alice)
        }
    }

    @Test("a receipt that does not answer the job in every field is refused, and the job stays open")
    func wrongReceipts() async throws {
        let fixture = try await Fixture()
        let unit = try await Unit(fixture)
        let (job, other) = (try await unit.open(), try await unit.open())
        let output = try await unit.result()
        for (field, change) in SevenUnit.wrongReceipts(other) {
            do {
                _ = try await unit.complete(job, [output], change)
                Issue.record("a receipt with another \(field) is believed")
            } catch {
                guard case KeyManagementError.receiptRejected = error else {
                    Issue.record("\(field): \(error)")
                    continue
                }
            }
        }
        // Signed by the gateway itself, or by somebody else's key.
        for signer in [
            fixture.keys.requestKey, fixture.keys.manifestKey, try SigningKey(seed: SecretBytes(randomCount: 32)),
        ] {
            await #expect(throws: KeyManagementError.receiptRejected(.unknownSigner)) {
                try await unit.complete(job, [output], by: signer)
            }
        }
        await #expect(throws: KeyManagementError.notVouched(Digest(of: output))) { try await unit.decrypt(output) }
        #expect(try await unit.complete(job, [output]).state == .evaluated)
    }

    @Test("results at another level, or that are no ciphertexts, are refused")
    func wrongResults() async throws {
        let fixture = try await Fixture()
        let unit = try await Unit(fixture)
        let job = try await unit.open()
        let fresh = try await unit.result(level: 2)
        await #expect(throws: KeyManagementError.homomorphicEncryption(.invalidLevel(2, maximum: 1))) {
            try await unit.complete(job, [fresh])
        }
        await #expect(throws: KeyManagementError.self) { try await unit.complete(job, [[1, 2, 3]]) }
        await #expect(throws: KeyManagementError.notVouched(Digest(of: fresh))) { try await unit.decrypt(fresh) }
    }

    @Test("a principal's own unit does not vouch for its results")
    func unitIsRequester() async throws {
        let fixture = try await Fixture()
        let group = KeySetOwner(kind: .group, issuer: "static", subject: "clinic")
        for runner in [fixture.alice.owner, group] {
            let unit = try await Unit(fixture, operator: runner)
            await #expect(throws: KeyManagementError.unitIsRequester(unit: "unit-1")) { try await unit.open() }
            var timings = StepTimings()
            let ephemeral = try await fixture.manager.makeEphemeralKeySet(
                for: unit.seven.profile, policy: .raw(), as: fixture.alice, timings: &timings)
            #expect(throws: KeyManagementError.unitIsRequester(unit: "unit-1")) {
                try ephemeral.openJob(inputs: [], profile: unit.seven.profile, unit: unit.seven.registered)
            }
        }
        let unit = try await Unit(fixture, operator: fixture.mallory.owner)
        _ = try await unit.open()
    }

    @Test("who runs the unit decrypts no result of it, whoever opened the job")
    func operatorDecrypts() async throws {
        let fixture = try await Fixture()
        var request = try fixture.request()
        request.owner = KeySetOwner(kind: .group, issuer: "static", subject: "clinic")
        let keySet = try await fixture.manager.register(request, as: fixture.alice).keySet.manifest.keySet
        let seven = try SevenUnit(operator: fixture.bob.owner)
        let job = try await seven.openJob(fixture.manager, under: keySet, as: fixture.alice)
        let output = try await seven.result(fixture.manager, under: keySet, as: fixture.alice)
        _ = try await seven.complete(job, [output], fixture.manager)
        await #expect(throws: KeyManagementError.unitIsRequester(unit: "unit-1")) {
            try await fixture.manager.decrypt([output], of: keySet, count: 1, as: fixture.bob)
        }
        #expect(try await fixture.manager.show(keySet, as: fixture.alice).counters.decryptions == 0)
        let seen = try await fixture.manager.decrypt([output], of: keySet, count: 1, as: fixture.alice).vectors[0][0]
        #expect(abs(seen.real - 7) < 1e-3)
    }

    @Test("two jobs over the same input have the same result, and both are answered")
    func sameResult() async throws {
        let fixture = try await Fixture()
        let unit = try await Unit(fixture)
        let inputs = try await fixture.manager.encrypt([.init(sample)], under: unit.keySet, as: fixture.alice).digests
        let jobs = [try await unit.open(over: inputs), try await unit.open(over: inputs)]
        let output = try await unit.result()
        async let first = unit.complete(jobs[0], [output])
        async let second = unit.complete(jobs[1], [output])
        let states = try await [first.state, second.state]
        #expect(states == [.evaluated, .evaluated])
        #expect(abs(try await unit.decrypt(output) - 7) < 1e-3)
    }

    @Test("more ciphertexts than one answer has room for are refused before any is made")
    func room() async throws {
        let fixture = try await Fixture()
        let keySet = try await fixture.register()
        let vectors = [EncryptionInput](repeating: .init(sample), count: KeyManager.maximumVectors)
        await #expect(throws: KeyManagementError.self) {
            try await fixture.manager.encrypt(vectors, under: keySet, as: fixture.alice)
        }
        #expect(try await fixture.manager.show(keySet, as: fixture.alice).counters.encryptions == 0)
    }

    @Test("a job over an input that HKMS did not encrypt under this key set is not opened")
    func foreignInputs() async throws {
        let fixture = try await Fixture()
        let (unit, other) = (try await Unit(fixture), try await Unit(fixture))
        let foreign = try await fixture.manager.encrypt([.init(sample)], under: other.keySet, as: fixture.alice).digests
        // Neither another key set's, nor made outside, nor the result of another job.
        let earlier = try await unit.result()
        _ = try await unit.complete(try await unit.open(), [earlier])
        for input in [foreign[0], Digest(of: try await unit.result()), Digest(of: earlier)] {
            await #expect(throws: KeyManagementError.notVouched(input)) {
                try await unit.open(over: [input], keepsOutputs: false)
            }
        }
    }

    @Test("an ephemeral key set decrypts its receipt's outputs at the circuit's level, and nothing else")
    func ephemeral() async throws {
        let fixture = try await Fixture()
        let unit = try SevenUnit()
        var timings = StepTimings()
        let keySet = try await fixture.manager.makeEphemeralKeySet(
            for: unit.profile, policy: .raw(), as: fixture.alice, timings: &timings)
        let inputs = try await keySet.encrypt([[0.5]], profile: unit.profile, timings: &timings)
        let job = try keySet.openJob(
            inputs: inputs.map { Digest(of: $0) }, profile: unit.profile, unit: unit.registered
        ).body
        // The input itself as the output: level 2, where the circuit ends at 1.
        let receipt = try unit.receipt(job, inputs)
        await #expect(throws: KeyManagementError.homomorphicEncryption(.invalidLevel(2, maximum: 1))) {
            _ = try await keySet.decrypt(
                inputs, receipt: receipt, job: job, profile: unit.profile, unit: unit.registered, timings: &timings)
        }
        let forged = try unit.receipt(job, inputs, by: fixture.keys.requestKey)
        await #expect(throws: KeyManagementError.receiptRejected(.unknownSigner)) {
            _ = try await keySet.decrypt(
                inputs, receipt: forged, job: job, profile: unit.profile, unit: unit.registered, timings: &timings)
        }
    }

    @Test("registrations that a crash broke off are removed after ten minutes, not before")
    func abandonedRegistrations() async throws {
        let fixture = try await Fixture()
        let kept = try await fixture.register()
        // A registration that stops dead after it stored its seed.
        let stopping = StoppingStore(fixture.objects, after: 2)
        let manager = Fixture.manager(
            kms: fixture.kms, objects: stopping, metadata: fixture.metadata, keys: fixture.keys)
        let task = Task { try await manager.register(fixture.request(.envelope, id: "broken"), as: fixture.alice) }
        while !stopping.hasStopped { try await Task.sleep(for: .milliseconds(5)) }
        let before = fixture.files().count
        #expect(try await fixture.manager.removeAbandonedRegistrations() == 0)
        let later = Fixture.manager(
            kms: fixture.kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys,
            clock: { Date() + 601 })
        #expect(try await later.removeAbandonedRegistrations() == 1)
        #expect(fixture.files().count < before)
        #expect(try await later.removeAbandonedRegistrations() == 0)
        // The id is free again, and what was whole is untouched.
        let again = try await later.register(fixture.request(.envelope, id: "broken"), as: fixture.alice)
        #expect(again.isNew)
        _ = try await later.encrypt([.init(sample)], under: kept, as: fixture.alice)
        stopping.fail()
        await #expect(throws: (any Error).self) { _ = try await task.value }
        // The broken one, waking up, harms nobody.
        let keySet = again.keySet.manifest.keySet
        let ciphertexts = try await later.encrypt([.init(sample)], under: keySet, as: fixture.alice).ciphertexts
        _ = try await later.decrypt(ciphertexts, of: keySet, as: fixture.alice)
    }
}

/// A store whose `put` hangs from the n-th call on, as a process does that is about to be killed.
private final class StoppingStore: ObjectStore, @unchecked Sendable {
    // Sendable: every variable is behind the lock.
    private let store: any ObjectStore
    private let lock = NSLock()
    private var left: Int
    private var stopped = false
    private var failed = false

    init(_ store: any ObjectStore, after count: Int) {
        self.store = store
        left = count
    }

    var hasStopped: Bool { lock.withLock { stopped } }
    func fail() { lock.withLock { failed = true } }

    func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
        let stops = lock.withLock {
            left -= 1
            stopped = left < 0
            return stopped
        }
        if stops {
            while !lock.withLock({ failed }) { try? await Task.sleep(for: .milliseconds(5)) }
            throw .unavailable(reason: "stopped")
        }
        try await store.put(bytes, at: key, onlyIfAbsent: onlyIfAbsent)
    }

    func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        try await store.get(key, limit: limit)
    }
    func delete(_ key: ObjectKey) async throws(ObjectStoreError) { try await store.delete(key) }
    func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] { try await store.list(prefix: prefix) }
    func checkHealth() async throws(ObjectStoreError) { try await store.checkHealth() }
}
