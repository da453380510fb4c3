import Foundation
import GRDB
import KeyManagement
import StorageSQLite
import Testing

/// What the store in SQLite promises beyond its port.
@Suite("SQLite metadata store") struct SQLiteMetadataStoreTests {
    let directory: TemporaryDirectory
    let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path + "/metadata.sqlite"
    }

    private func open() throws -> SQLiteMetadataStore {
        try SQLiteMetadataStore(path: path)
    }

    /// Another connection, as an operator with the SQLite shell has.
    private func tamper(_ path: String, sql: String) throws {
        var configuration = Configuration()
        // A store that has just gone out of scope may still be closing the file.
        configuration.busyMode = .timeout(10)
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
        try queue.close()
    }

    @Test func `data is kept when the store is opened again`() async throws {
        try await open().apply([.insert(row("c", "a")), .insert(row("c", "b"))])
        try await open().apply([.delete(collection: "c", id: "a", version: 1)])
        let again = try open()
        #expect(try await again.read(collection: "c", id: "a") == nil)
        #expect(try await again.read(collection: "c", id: "b") == row("c", "b"))
    }

    @Test func `only the owner may read`() async throws {
        let store = try open()
        try await store.apply([.insert(row("c", "a"))])
        #expect(
            files(below: directory.path) == ["metadata.sqlite", "metadata.sqlite-wal", "metadata.sqlite-shm"])
        for suffix in ["", "-wal", "-shm"] { #expect(try mode(of: path + suffix) == 0o600) }
    }

    @Test func `the rights of others are taken from an existing file`() throws {
        try Data().write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        _ = try open()
        #expect(try mode(of: path) == 0o600)
    }

    @Test func `stores that create one file at once all open it`() async throws {
        for round in 0..<5 {
            let path = path + "\(round)"
            let stores = try await withThrowingTaskGroup(of: SQLiteMetadataStore.self) { group in
                for _ in 0..<8 { group.addTask { try SQLiteMetadataStore(path: path) } }
                return try await group.reduce(into: [SQLiteMetadataStore]()) { $0.append($1) }
            }
            for (number, store) in stores.enumerated() {
                try await store.apply([.insert(row("c", "\(number)"))])
            }
            for store in stores {
                #expect(try await store.list(collection: "c", index: "index", after: nil, limit: 100).count == 8)
            }
        }
    }

    @Test func `opening waits for one that has the file locked`() async throws {
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        let other = try DatabaseQueue(path: path, configuration: configuration)
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        let path = path
        // Without SQLite's own waiting, which it does not do for the switch to WAL.
        async let store = SQLiteMetadataStore(path: path, busyTimeout: 0)
        try await Task.sleep(for: .milliseconds(300))
        try await other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
        try await store.apply([.insert(row("c", "a"))])
    }

    @Test func `two stores on one file lose no increment`() async throws {
        let stores = [try open(), try open()]
        try await stores[0].apply([.insert(row("c", "counter", body: bytes(of: 0)))])
        try await increment(stores, "c", tasks: 16, times: 20)
        // And the other one sees it, too.
        #expect(try await stores[1].read(collection: "c", id: "counter")?.version == 321)
    }

    @Test func `a write waits for another process no longer than it should`() async throws {
        let store = try SQLiteMetadataStore(path: path, busyTimeout: 0.2)
        try await store.apply([.insert(row("c", "a"))])
        var configuration = Configuration()
        configuration.allowsUnsafeTransactions = true
        let other = try DatabaseQueue(path: path, configuration: configuration)
        try await other.writeWithoutTransaction { try $0.execute(sql: "BEGIN IMMEDIATE") }
        await expectUnavailable("another process") { try await store.apply([.insert(row("c", "b"))]) }
        await expectUnavailable("another process") { try await store.checkHealth() }
        #expect(try await store.read(collection: "c", id: "a") == row("c", "a"))
        try await other.writeWithoutTransaction { try $0.execute(sql: "ROLLBACK") }
        try await store.apply([.insert(row("c", "b"))])
    }

    @Test func `what is no database is refused and left alone`() throws {
        var generator = SystemRandomNumberGenerator()
        // From 2: SQLite takes a file of one byte for an empty one.
        for count in [2, 15, 16, 99, 100, 511, 512, 4096, 100_000] {
            var bytes = (0..<count).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
            bytes[0] = 0
            try Data(bytes).write(to: URL(fileURLWithPath: path))
            #expect(throws: SQLiteMetadataStoreError.notADatabase(path: path)) { try open() }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(bytes))
        }
    }

    @Test func `the database of another application is refused and left alone`() throws {
        try tamper(path, sql: "CREATE TABLE theirs (a); INSERT INTO theirs VALUES (1)")
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        #expect(throws: SQLiteMetadataStoreError.foreignDatabase(path: path)) { try open() }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
    }

    @Test func `a database of a later version is refused`() async throws {
        try await open().apply([.insert(row("c", "a"))])
        try tamper(path, sql: "INSERT INTO grdb_migrations VALUES ('2 of the future')")
        #expect(throws: SQLiteMetadataStoreError.newerSchema(path: path)) { try open() }
    }

    @Test func `a path that cannot be is refused with a reason`() throws {
        try Data().write(to: URL(fileURLWithPath: directory.path + "/file"))
        for (path, text) in [
            ("/none/metadata", "directory does not exist"), ("/file/metadata", "no directory"), ("", "no regular file"),
        ] {
            let error = #expect(throws: SQLiteMetadataStoreError.self) {
                try SQLiteMetadataStore(path: directory.path + path)
            }
            #expect(error?.description.contains(text) == true, "\(String(describing: error))")
        }
        #expect(files(below: directory.path) == ["file"])
    }

    @Test(arguments: [
        "UPDATE records SET body = 'text'", "UPDATE records SET body = zeroblob(1048577)",
        "UPDATE records SET body = NULL", "UPDATE records SET version = 1.5", "UPDATE records SET version = 'x'",
        "UPDATE records SET idx = x'00'",
    ])
    func `a row of wrong types or sizes is an error, not a crash`(sql: String) async throws {
        try await open().apply([.insert(row("c", "a"))])
        // Whoever writes the file can also give the table another schema.
        try tamper(
            path,
            sql: """
                CREATE TABLE loose (collection, id, idx, version, body);
                INSERT INTO loose SELECT * FROM records;
                DROP TABLE records;
                ALTER TABLE loose RENAME TO records;
                \(sql);
                """)
        let store = try open()
        await expectUnavailable("wrong type or size") { _ = try await store.read(collection: "c", id: "a") }
    }

    @Test func `a missing table is an error, not a crash`() async throws {
        _ = try open()
        try tamper(path, sql: "DROP TABLE records; DROP TABLE probe")
        let store = try open()
        await expectUnavailable { _ = try await store.read(collection: "c", id: "a") }
        await expectUnavailable { try await store.apply([.insert(row("c", "a"))]) }
        await expectUnavailable { try await store.checkHealth() }
    }

    @Test func `a damaged file is an error or read as it is, never a crash`() async throws {
        try await open().apply((0..<100).map { .insert(row("c", "\($0)", body: .init(repeating: 1, count: 300))) })
        let whole = try Data(contentsOf: URL(fileURLWithPath: path))
        for round in 0..<60 {
            var damaged = whole
            if round % 3 == 0 { damaged = damaged.prefix(Int.random(in: 1..<whole.count)) }
            for _ in 0..<30 { damaged[Int.random(in: 0..<damaged.count)] = UInt8.random(in: .min ... .max) }
            let path = path + "-\(round)"
            try damaged.write(to: URL(fileURLWithPath: path))
            guard let store = try? SQLiteMetadataStore(path: path) else { continue }
            for number in 0..<100 { _ = try? await store.read(collection: "c", id: "\(number)") }
            _ = try? await store.list(collection: "c", index: "index", after: nil, limit: 1000)
            _ = try? await store.apply([.insert(row("c", "new"))])
        }
    }

    /// A killed process leaves database and WAL as they stand; a killed machine may leave the WAL short.
    @Test func `after a crash every committed transaction is there, whole`() async throws {
        let store = try open()
        let count = 30
        for number in 0..<count {
            try await store.apply([
                .insert(row("c", "a\(100 + number)")), .insert(row("c", "b\(100 + number)", index: "other")),
            ])
        }
        let wal = try Data(contentsOf: URL(fileURLWithPath: path + "-wal"))
        for keep in [wal.count, wal.count - 1, wal.count / 2, wal.count / 3, 4000, 31, 0] {
            let copy = directory.path + "/copy-\(keep)"
            try FileManager.default.copyItem(atPath: path, toPath: copy)
            // Not the -shm file: it is memory, made anew after a crash.
            try wal.prefix(keep).write(to: URL(fileURLWithPath: copy + "-wal"))
            let after = try SQLiteMetadataStore(path: copy)
            let first = try await after.list(collection: "c", index: "index", after: nil, limit: 1000)
            let second = try await after.list(collection: "c", index: "other", after: nil, limit: 1000)
            #expect(first.map(\.id) == (0..<first.count).map { "a\(100 + $0)" })
            #expect(second.map(\.id) == (0..<first.count).map { "b\(100 + $0)" })
            if keep == wal.count { #expect(first.count == count) }
        }
    }

    @Test func `a cancelled task's transaction is done whole`() async throws {
        let store = try open()
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await store.apply([.insert(row("c", "a"))])
            return try await store.read(collection: "c", id: "a")
        }
        #expect(try await task.value == row("c", "a"))
    }
}
