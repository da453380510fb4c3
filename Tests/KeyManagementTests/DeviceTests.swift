import Attestation
import Foundation
import KeyManagement
import StorageFiles
import StorageSQLite
import TestSupport
import Testing

/// Register and destroy where the storage takes no more: a full device, and one that is read-only.
@Suite(.serialized) struct DeviceTests {
    @Test(
        "a full device refuses by name, loses nothing, and works again when there is room",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)), arguments: [true, false])
    func full(isMetadataThere: Bool) async throws {
        let fixture = try await Fixture()
        let device = try #require(try MountedDevice(mebibytes: 8))
        let objects = try FileObjectStore(directory: device.path + "/objects")
        let metadata =
            isMetadataThere
            ? try SQLiteMetadataStore(path: device.path + "/metadata.sqlite") : fixture.metadata
        let manager = Fixture.manager(
            kms: fixture.kms, objects: objects, metadata: metadata, keys: fixture.keys)
        let kept = try await manager.register(fixture.request(), as: fixture.alice).keySet.manifest
            .keySet
        let ciphertexts = try await manager.encrypt([.init(sample)], under: kept, as: fixture.alice)
            .ciphertexts
        // From nothing left to almost enough: each time it fails at another write.
        var refusals = 0
        for room in stride(from: 0, through: 960, by: 160) {
            try device.fill(butKiB: room)
            let before = try await objects.list(prefix: "")
            let request = try fixture.request(.envelope, id: "full \(room)")
            do {
                _ = try await manager.register(request, as: fixture.alice)
            } catch {
                refusals += 1
                #expect(Self.namesTheSpace(error), "\(room) KiB: \(error)")
                #expect(try await objects.list(prefix: "") == before)
            }
            if room == 0 {
                // Its last manifest has no room.
                let error = await refusal { _ = try await manager.destroy(kept, as: fixture.alice) }
                #expect(error.map(Self.namesTheSpace) == true, "\(error.map { "\($0)" } ?? "destroyed")")
                let shown = try await manager.show(kept, as: fixture.alice)
                #expect(shown.state == .active)
                // A decryption needs room for its debit where the metadata is, and is not released without.
                let undone = await refusal {
                    _ = try await manager.decrypt(ciphertexts, of: kept, count: 8, as: fixture.alice)
                }
                #expect(undone.map(Self.namesTheSpace) ?? true, "\(undone.map { "\($0)" } ?? "")")
                if !isMetadataThere { #expect(undone == nil) }
                let counters = try await manager.show(kept, as: fixture.alice).counters
                #expect(counters.decryptions == shown.counters.decryptions + (undone == nil ? 1 : 0))
                #expect(counters.failures == 0)
            }
            try device.empty()
            let keySet = try await manager.register(request, as: fixture.alice).keySet.manifest.keySet
            let fresh = try await manager.encrypt([.init(sample)], under: keySet, as: fixture.alice)
                .ciphertexts
            _ = try await manager.decrypt(fresh, of: keySet, count: 8, as: fixture.alice)
            _ = try await manager.destroy(keySet, as: fixture.alice)
            #expect(try await objects.list(prefix: "keysets/\(keySet)/").count == 1)
        }
        #expect(refusals >= 2)
        let opened = try await manager.decrypt(ciphertexts, of: kept, count: 8, as: fixture.alice)
        #expect(close(opened.vectors[0], sample))
        _ = try await manager.destroy(kept, as: fixture.alice)
    }

    private static func namesTheSpace(_ error: KeyManagementError) -> Bool {
        switch error {
        case .objectStore(.unavailable(let reason)), .metadataStore(.unavailable(let reason)):
            // SQLite tells a full device by an error of input and output where it cannot grow its shared memory.
            reason.contains("no space left") || reason.contains("free space")
        default: false
        }
    }

    @Test(
        "a read-only device refuses by name, and what is on it can still be used",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)))
    func readOnly() async throws {
        let fixture = try await Fixture()
        let device = try #require(try MountedDevice(mebibytes: 8))
        let objects = try FileObjectStore(directory: device.path + "/objects")
        let manager = Fixture.manager(
            kms: fixture.kms, objects: objects, metadata: fixture.metadata, keys: fixture.keys)
        let kept = try await manager.register(fixture.request(), as: fixture.alice).keySet.manifest
            .keySet
        let before = try await objects.list(prefix: "")
        try device.remount("ro")
        let request = try fixture.request(.envelope, id: "read-only")
        func expectReadOnly(_ body: () async throws(KeyManagementError) -> Void) async {
            do {
                try await body()
                Issue.record("written to a read-only device")
            } catch {
                guard case .objectStore(.unavailable(let reason)) = error, reason.contains("read-only")
                else {
                    Issue.record(error)
                    return
                }
            }
        }
        await expectReadOnly { () async throws(KeyManagementError) in
            _ = try await manager.register(request, as: fixture.alice)
        }
        await expectReadOnly { () async throws(KeyManagementError) in
            _ = try await manager.destroy(kept, as: fixture.alice)
        }
        #expect(try await manager.show(kept, as: fixture.alice).state == .active)
        let fresh = try await manager.encrypt([.init(sample)], under: kept, as: fixture.alice)
            .ciphertexts
        let opened = try await manager.decrypt(fresh, of: kept, count: 8, as: fixture.alice)
        #expect(close(opened.vectors[0], sample))
        #expect(await manager.unavailableSystems().count == 1)

        try device.remount("rw")
        #expect(try await objects.list(prefix: "") == before)
        let keySet = try await manager.register(request, as: fixture.alice)
        #expect(keySet.isNew)
        _ = try await manager.destroy(kept, as: fixture.alice)
        #expect(try await manager.show(kept, as: fixture.alice).state == .destroyed)
    }

    @Test(
        "a disk that turns read-only under the open stores refuses by name to decrypt and to destroy",
        .enabled(if: FailingDisk.canMount, Comment(rawValue: FailingDisk.need)), arguments: [true, false])
    func readOnlyUnderneath(areObjectsThere: Bool) async throws {
        let fixture = try await Fixture()
        let disk = try #require(try FailingDisk())
        let metadata = try SQLiteMetadataStore(path: disk.path + "/metadata.sqlite")
        let objects = areObjectsThere ? try FileObjectStore(directory: disk.path + "/objects") : fixture.objects
        let manager = Fixture.manager(kms: fixture.kms, objects: objects, metadata: metadata, keys: fixture.keys)
        let kept = try await manager.register(fixture.request(), as: fixture.alice).keySet.manifest.keySet
        let ciphertexts = try await manager.encrypt([.init(sample)], under: kept, as: fixture.alice).ciphertexts
        try disk.fail()
        for _ in 0..<2 {
            let undone = await refusal { _ = try await manager.decrypt(ciphertexts, of: kept, as: fixture.alice) }
            guard case .metadataStore(.unavailable) = undone else {
                Issue.record("\(undone.map { "\($0)" } ?? "decrypted without a debit")")
                return
            }
            let error = await refusal { _ = try await manager.destroy(kept, as: fixture.alice) }
            switch error {
            case .objectStore(.unavailable(let reason)): #expect(areObjectsThere && reason.contains("read-only"))
            case .metadataStore(.unavailable): #expect(!areObjectsThere)
            default: Issue.record("\(error.map { "\($0)" } ?? "destroyed")")
            }
        }
        let shown = try await manager.show(kept, as: fixture.alice)
        #expect(shown.state == .active && shown.counters.decryptions == 0 && shown.counters.failures == 0)
        #expect(await manager.unavailableSystems().count == (areObjectsThere ? 2 : 1))
    }

    @Test(
        "a metadata file on a read-only device is refused by name when it is opened",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)))
    func readOnlyMetadata() async throws {
        let device = try #require(try MountedDevice(mebibytes: 8))
        let path = device.path + "/metadata.sqlite"
        do { _ = try SQLiteMetadataStore(path: path) }
        try device.remount("ro")
        #expect(throws: SQLiteMetadataStoreError.self) { _ = try SQLiteMetadataStore(path: path) }
        try device.remount("rw")
        _ = try SQLiteMetadataStore(path: path)
    }
}
