import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import Testing

/// What vouches for a ciphertext must hold when it is decrypted: it is asked for each time, before the KMS is.
@Suite struct VouchingTests {
    @Test("a completed job that the metadata store rolls back or deletes vouches for nothing")
    func lostJobs() async throws {
        let fixture = try await Fixture()
        let alice = fixture.alice
        let (store, kms) = (LyingMetadata(fixture.metadata), LyingKMS(fixture.kms))
        let manager = Fixture.manager(kms: kms, objects: fixture.objects, metadata: store, keys: fixture.keys)
        let (keySet, unit) = (try await fixture.register(), try SevenUnit())
        let job = try await unit.openJob(manager, under: keySet, as: alice)
        let open = try #require(try await fixture.metadata.read(collection: "jobs", id: job.job))
        let output = try await unit.result(manager, under: keySet, as: alice)
        try await unit.complete(job, [output], manager)
        func decrypt() async throws {
            let result = try await manager.decrypt([output], of: keySet, count: 1, as: alice)
            #expect(abs(result.vectors[0][0].real - 7) < 1e-3)
        }
        let lies: [(row: MetadataRecord?, fetching: KeyManagementError)] = [
            (open, .jobNotOpen(job.job, state: "open")), (nil, .unknownJob(job.job)),
        ]
        for lie in lies {
            store.lie { $0.collection == "jobs" ? lie.row : $0 }
            #expect(await refusal { try await decrypt() } == .notVouched(Digest(of: output)))
            #expect(await refusal { _ = try await manager.outputs(of: job.job, as: alice) } == lie.fetching)
        }
        // The job's row is there, and what names it is not.
        let id = "\(keySet).\(Digest(of: output).hex)"
        store.lie { $0.id == id ? nil : $0 }
        #expect(await refusal { try await decrypt() } == .notVouched(Digest(of: output)))
        #expect(kms.opened == 0)
        store.lie(nil)
        try await decrypt()
    }

    @Test("decrypt.any ends with the configuration's grant, and members of an owning group never have it")
    func decryptAny() async throws {
        let fixture = try await Fixture(decryptAny: ["alice"])
        let kms = LyingKMS(fixture.kms)
        let (alice, unit) = (fixture.alice, try SevenUnit())
        let policy = KeySetPolicy.raw(decryptAny: true)
        let keySet = try await fixture.register(.direct, policy: policy)
        let outside = try await unit.result(fixture.manager, under: keySet, as: alice)
        let notVouched = KeyManagementError.notVouched(Digest(of: outside))
        let withoutGrant = Fixture.manager(
            kms: kms, objects: fixture.objects, metadata: fixture.metadata, keys: fixture.keys)
        #expect(await refusal { _ = try await withoutGrant.decrypt([outside], of: keySet, as: alice) } == notVouched)
        #expect(try await !withoutGrant.show(keySet, as: alice).exposed)
        let result = try await fixture.manager.decrypt([outside], of: keySet, count: 1, as: alice)
        #expect(abs(result.vectors[0][0].real - 7) < 1e-3)
        // Neither does it help that the key set was exposed before.
        #expect(await refusal { _ = try await withoutGrant.decrypt([outside], of: keySet, as: alice) } == notVouched)

        let clinic = KeySetOwner(kind: .group, issuer: "static", subject: "clinic")
        let generous = KeyManager(
            configuration: .init(
                installation: "test", gateway: "gateway-1", tenant: "default",
                decryptAnyOwners: [clinic, alice.owner]),
            keys: fixture.keys, kms: KMSDirectory(kms, key: Fixture.kmsKey), objects: fixture.objects,
            metadata: fixture.metadata,
            compute: InlineCompute(), logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        var request = try fixture.request(policy: policy)
        request.owner = clinic
        let ungranted = request
        await #expect(throws: KeyManagementError.decryptAnyNotGranted) {
            try await fixture.manager.register(ungranted, as: alice)
        }
        let shared = try await generous.register(request, as: alice).keySet.manifest.keySet
        let foreign = try await unit.result(generous, under: shared, as: alice)
        for member in [alice, fixture.bob] {
            #expect(
                await refusal { _ = try await generous.decrypt([foreign], of: shared, as: member) }
                    == .notVouched(Digest(of: foreign)))
        }
        #expect(try await !generous.show(shared, as: alice).exposed)
        #expect(kms.opened == 0)
    }
}
