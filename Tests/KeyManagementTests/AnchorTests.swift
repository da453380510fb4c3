import Attestation
import Foundation
import KeyManagement
import Testing

/// What is kept in the metadata store of what lies elsewhere, as the head of the audit log is.
@Suite struct AnchorTests {
    @Test("what was written last is read, and what another installation wrote, or the store moved, is refused")
    func anchors() async throws {
        let fixture = try await Fixture()
        let anchors = Anchors(metadata: fixture.metadata, keys: fixture.keys)
        #expect(try await anchors.read("audit-head.gateway-1") == nil)
        for text in ["1:aa", "2:bb", "2:bb"] { try await anchors.write(text, to: "audit-head.gateway-1") }
        #expect(try await anchors.read("audit-head.gateway-1") == "2:bb")
        #expect(try await anchors.read("audit-head.gateway-2") == nil)

        let key = try #require(KMSKeyName("hkms-other"))
        try await fixture.kms.requireKey(key)
        let (others, _) = try await InstallationKeys.create(
            installation: "other", tenant: "default", kms: KMSDirectory(fixture.kms, key: key))
        let foreign = Anchors(metadata: fixture.metadata, keys: others)
        let tampered = KeyManagementError.metadataTampered(collection: "anchors")
        await #expect(throws: tampered) { _ = try await foreign.read("audit-head.gateway-1") }
        await #expect(throws: tampered) { try await foreign.write("3:cc", to: "audit-head.gateway-1") }

        // The row of one gateway under the name of another.
        let stored = try #require(
            try await fixture.metadata.read(collection: "anchors", id: "audit-head.gateway-1"))
        try await fixture.metadata.apply([
            .insert(
                MetadataRecord(
                    collection: "anchors", id: "audit-head.gateway-2", index: "audit-head.gateway-2",
                    version: stored.version, body: stored.body))
        ])
        await #expect(throws: tampered) { _ = try await anchors.read("audit-head.gateway-2") }
    }

    @Test("of two writers at once none writes half: one may fail, and what is there is one of the two")
    func writers() async throws {
        let fixture = try await Fixture()
        let anchors = Anchors(metadata: fixture.metadata, keys: fixture.keys)
        try await anchors.write("0", to: "name")
        await withTaskGroup(of: Void.self) { group in
            for number in 1...8 {
                group.addTask { try? await anchors.write("\(number)", to: "name") }
            }
        }
        let text = try #require(try await anchors.read("name"))
        #expect((1...8).contains(Int(text) ?? 0))
    }
}
