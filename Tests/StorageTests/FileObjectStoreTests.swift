import Foundation
import KeyManagement
import StorageFiles
import Testing

/// What the store of files promises beyond its port.
@Suite("File object store") struct FileObjectStoreTests {
    let directory: TemporaryDirectory
    let root: String

    init() throws {
        directory = try TemporaryDirectory()
        root = directory.path + "/objects"
    }

    private func open() throws -> FileObjectStore {
        try FileObjectStore(directory: root)
    }

    @Test(arguments: [
        "", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../b", "a/..", ".tmp/a", ".tmp", "a/.b", "a\u{0}", "a b",
        "\u{E9}", "a\\b", "a:b", "~", "*", String(repeating: "a", count: 513),
    ])
    func `hostile keys are refused`(_ name: String) {
        #expect(ObjectKey(name) == nil)
    }

    @Test func `data is kept when the store is opened again`() async throws {
        try await open().put([1, 2], at: key("a/b"), onlyIfAbsent: true)
        let again = try open()
        #expect(try await again.get(key("a/b"), limit: 2) == [1, 2])
        await #expect(throws: ObjectStoreError.alreadyExists("a/b")) {
            try await again.put([3], at: key("a/b"), onlyIfAbsent: true)
        }
    }

    @Test func `only the owner may read`() async throws {
        try await open().put([1], at: key("a/b"), onlyIfAbsent: true)
        for name in ["", "/.tmp", "/a"] { #expect(try mode(of: root + name) == 0o700) }
        #expect(try mode(of: root + "/a/b") == 0o600)
    }

    @Test func `directories are made with their parents and removed when empty`() async throws {
        let store = try FileObjectStore(directory: root + "/x/y//")
        try await store.put([1], at: key("a/b/c"), onlyIfAbsent: true)
        #expect(files(below: root) == ["x/y/a/b/c"])
        try await store.delete(key("a/b/c"))
        #expect(!FileManager.default.fileExists(atPath: root + "/x/y/a"))
        try await store.checkHealth()
    }

    @Test func `no operation leaves a temporary file`() async throws {
        let store = try open()
        try await store.put([1], at: key("a"), onlyIfAbsent: true)
        try await store.put([2], at: key("a"), onlyIfAbsent: false)
        try? await store.put([3], at: key("a"), onlyIfAbsent: true)
        try? await store.put([3], at: key("a/b"), onlyIfAbsent: false)
        try await store.checkHealth()
        #expect(files(below: root) == ["a"])
    }

    @Test func `what a crash left is invisible, and removed once it is old`() async throws {
        let store = try open()
        try await store.put([1], at: key("a"), onlyIfAbsent: true)
        let young = root + "/.tmp/1-young"
        let old = root + "/.tmp/1-old"
        for path in [young, old] { try Data([9, 9]).write(to: URL(fileURLWithPath: path)) }
        try FileManager.default.setAttributes([.modificationDate: Date() - 3700], ofItemAtPath: old)
        #expect(try await store.list(prefix: "") == [key("a")])
        #expect(try await store.list(prefix: ".tmp/").isEmpty)

        let again = try open()
        #expect(files(below: root) == ["a", ".tmp/1-young"])
        #expect(try await again.list(prefix: "") == [key("a")])
        #expect(try await again.get(key("a"), limit: 1) == [1])
    }

    @Test func `a symbolic link is not followed`() async throws {
        let store = try open()
        try await store.put([1], at: key("a/b"), onlyIfAbsent: true)
        let outside = directory.path + "/outside"
        try FileManager.default.createDirectory(atPath: outside, withIntermediateDirectories: false)
        try Data("secret".utf8).write(to: URL(fileURLWithPath: outside + "/file"))
        try FileManager.default.createSymbolicLink(
            atPath: root + "/a/link", withDestinationPath: outside + "/file")
        try FileManager.default.createSymbolicLink(atPath: root + "/folder", withDestinationPath: outside)

        await expectUnavailable("no regular file") { _ = try await store.get(key("a/link"), limit: 100) }
        await #expect(throws: ObjectStoreError.alreadyExists("a/link")) {
            try await store.put([2], at: key("a/link"), onlyIfAbsent: true)
        }
        await #expect(throws: ObjectStoreError.notFound("folder/file")) {
            try await store.get(key("folder/file"), limit: 100)
        }
        await expectUnavailable("no directory") { try await store.put([2], at: key("folder/new"), onlyIfAbsent: true) }
        try await store.delete(key("folder/file"))
        #expect(try await store.list(prefix: "") == [key("a/b")])
        #expect(try await store.list(prefix: "folder/") == [])

        // A link in an object's place is replaced, or removed, itself.
        try await store.put([2], at: key("a/link"), onlyIfAbsent: false)
        #expect(try await store.get(key("a/link"), limit: 1) == [2])
        try await store.delete(key("folder"))
        #expect(files(below: root) == ["a/b", "a/link"])
        #expect(files(below: outside) == ["file"])
        #expect(try Data(contentsOf: URL(fileURLWithPath: outside + "/file")) == Data("secret".utf8))
    }

    @Test(.timeLimit(.minutes(1))) func `a pipe in an object's place is refused at once`() async throws {
        let store = try open()
        try #require(mkfifo(root + "/pipe", 0o600) == 0)
        await expectUnavailable("no regular file") { _ = try await store.get(key("pipe"), limit: 100) }
        #expect(try await store.list(prefix: "").isEmpty)
    }

    @Test func `foreign names are not listed`() async throws {
        let store = try open()
        for name in ["with space", ".hidden", "caf\u{E9}"] {
            try Data().write(to: URL(fileURLWithPath: root + "/" + name))
        }
        try await store.put([], at: key("a"), onlyIfAbsent: true)
        #expect(try await store.list(prefix: "") == [key("a")])
    }

    @Test func `a key that is a folder is refused with a reason`() async throws {
        let store = try open()
        try await store.put([1], at: key("a/b"), onlyIfAbsent: true)
        for onlyIfAbsent in [true, false] {
            await expectUnavailable("the directory of other objects") {
                try await store.put([2], at: key("a"), onlyIfAbsent: onlyIfAbsent)
            }
            await expectUnavailable("no directory") {
                try await store.put([2], at: key("a/b/c"), onlyIfAbsent: onlyIfAbsent)
            }
        }
        #expect(try await store.get(key("a/b"), limit: 1) == [1])
        try await store.delete(key("a/b"))
        try await store.put([2], at: key("a"), onlyIfAbsent: true)
        #expect(try await store.get(key("a"), limit: 1) == [2])
    }

    @Test(arguments: [true, false]) func `an empty folder takes up no key`(onlyIfAbsent: Bool) async throws {
        let store = try open()
        try FileManager.default.createDirectory(atPath: root + "/a", withIntermediateDirectories: false)
        try await store.put([1], at: key("a"), onlyIfAbsent: onlyIfAbsent)
        #expect(try await store.get(key("a"), limit: 1) == [1])
    }

    @Test func `a segment longer than a file name is refused with a reason`() async throws {
        let store = try open()
        let longest = String(repeating: "x", count: 255)
        try await store.put([1], at: key(longest), onlyIfAbsent: true)
        #expect(try await store.get(key(longest), limit: 1) == [1])
        await expectUnavailable("255 bytes") { try await store.put([1], at: key(longest + "x"), onlyIfAbsent: true) }
        await #expect(throws: ObjectStoreError.notFound(longest + "x")) {
            try await store.get(key(longest + "x"), limit: 1)
        }
        try await store.delete(key(longest + "x"))
    }

    @Test func `a root that cannot be is refused with a reason`() async throws {
        try Data().write(to: URL(fileURLWithPath: root))
        await expectUnavailable("no directory") { _ = try FileObjectStore(directory: root) }
        await expectUnavailable("no directory") { _ = try FileObjectStore(directory: root + "/below") }
        await expectUnavailable { _ = try FileObjectStore(directory: "") }
    }

    /// As when a volume is not mounted: objects that are not there now are not gone, and none is
    /// written beside the volume.
    @Test(arguments: [true, false])
    func `a store whose root is gone is unavailable, not empty`(mountPointStays: Bool) async throws {
        let store = try open()
        try await store.put([1], at: key("a"), onlyIfAbsent: true)
        try FileManager.default.moveItem(atPath: root, toPath: root + "-elsewhere")
        if mountPointStays {
            try FileManager.default.createDirectory(atPath: root, withIntermediateDirectories: false)
        }
        let reason = "its directory is gone"
        await expectUnavailable(reason) { _ = try await store.get(key("a"), limit: 1) }
        await expectUnavailable(reason) { try await store.put([1], at: key("b"), onlyIfAbsent: false) }
        await expectUnavailable(reason) { try await store.delete(key("a")) }
        await expectUnavailable(reason) { _ = try await store.list(prefix: "") }
        await expectUnavailable(reason) { try await store.checkHealth() }
        #expect(files(below: root).isEmpty)
    }

    @Test func `two stores on one directory agree on one winner`() async throws {
        let stores = [try open(), try open()]
        for round in 0..<20 {
            let name = try key("race/\(round)")
            let winners = try await withThrowingTaskGroup(of: Int.self) { group in
                for writer in 0..<16 {
                    group.addTask {
                        do throws(ObjectStoreError) {
                            try await stores[writer % 2].put([UInt8(writer)], at: name, onlyIfAbsent: true)
                            return 1
                        } catch let error where error == .alreadyExists(name.value) {
                            return 0
                        }
                    }
                }
                return try await group.reduce(0, +)
            }
            #expect(winners == 1)
        }
    }

    @Test func `a cancelled task's put is done whole`() async throws {
        let store = try open()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await store.put([1], at: key("a"), onlyIfAbsent: true)
        }
        try await task.value
        #expect(try await store.get(key("a"), limit: 1) == [1])
    }

    @Test func `more operations than threads all finish`() async throws {
        let store = try FileObjectStore(directory: root, concurrency: 1)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<200 {
                group.addTask { try await store.put([1], at: key("\(number)"), onlyIfAbsent: true) }
            }
            try await group.waitForAll()
        }
        #expect(try await store.list(prefix: "").count == 200)
    }
}
