import KeyManagement
import StorageFiles
import StorageSQLite
import Testing

/// One after the other: where mounting is not allowed, a limit of the whole process stands in.
@Suite("Full device", .serialized) struct FullDeviceTests {
    @Test func `a full object store keeps what it has and works again once there is room`() async throws {
        let device = try SmallDevice()
        let store = try FileObjectStore(directory: device.path + "/objects")
        try await store.put([1, 2, 3], at: key("a/b"), onlyIfAbsent: true)
        let tooMuch = [UInt8](repeating: 7, count: device.capacity + 1)
        for (name, onlyIfAbsent) in [("a/b", false), ("a/c", true), ("d/e", false)] {
            await expectUnavailable(device.isMounted ? "no space left" : "larger than the system lets") {
                try await store.put(tooMuch, at: key(name), onlyIfAbsent: onlyIfAbsent)
            }
        }
        #expect(files(below: device.path + "/objects") == ["a/b"])
        #expect(try await store.get(key("a/b"), limit: 3) == [1, 2, 3])
        #expect(try await store.list(prefix: "") == [key("a/b")])

        device.free()
        let fits = [UInt8](repeating: 8, count: device.capacity * 3 / 4)
        try await store.put(fits, at: key("a/b"), onlyIfAbsent: false)
        #expect(try await store.get(key("a/b"), limit: fits.count) == fits)
    }

    @Test func `a full metadata store keeps what it has and works again once there is room`() async throws {
        let device = try SmallDevice()
        let store = try SQLiteMetadataStore(path: device.path + "/metadata.sqlite")
        let body = [UInt8](repeating: 7, count: 1 << 20)
        await expectUnavailable(device.isMounted ? "no space left" : "input/output error") {
            for number in 0..<300 {
                // The second row of the transaction is small: it must not be kept without the first.
                try await store.apply([
                    .insert(row("c", "big\(number)", body: body)), .insert(row("c", "small\(number)")),
                ])
            }
        }
        let rows = try await store.list(collection: "c", index: "index", after: nil, limit: 1000)
        let stored = rows.count / 2
        let expected = (0..<stored).flatMap { ["big\($0)", "small\($0)"] }
        #expect(rows.map(\.id) == expected.sorted())

        device.free()
        try await store.apply([.insert(row("c", "small\(stored)"))])
        try await store.checkHealth()
        #expect(try await store.read(collection: "c", id: "small\(stored)") != nil)
    }
}
