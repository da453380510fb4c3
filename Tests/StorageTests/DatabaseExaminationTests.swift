import Foundation
import GRDB
import KeyManagement
import StorageSQLite
import Testing

/// Looking at a metadata store's file without changing it.
@Suite("Examination of a metadata store") struct DatabaseExaminationTests {
    let directory: TemporaryDirectory
    let path: String

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path + "/metadata.sqlite"
    }

    private func alter(_ sql: String) throws {
        var configuration = Configuration()
        configuration.busyMode = .timeout(10)
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        try queue.writeWithoutTransaction { try $0.execute(sql: sql) }
        try queue.close()
    }

    /// A settled file with some rows.
    private func make() async throws {
        do {
            let store = try SQLiteMetadataStore(path: path)
            try await store.apply((0..<10).map { .insert(row("c", "\($0)")) } + [.insert(row("d", "a"))])
        }
        try alter("PRAGMA wal_checkpoint(TRUNCATE)")
    }

    @Test func `a sound file: rows, a sample of each collection, and not a byte changed`() async throws {
        try await make()
        let before = try Data(contentsOf: URL(fileURLWithPath: path))
        let found = try DatabaseExamination(path: path, rows: 3)
        #expect(found.isCurrent && found.faults.isEmpty && found.rowCount == 11)
        #expect(found.sample == [row("c", "0"), row("c", "1"), row("c", "2"), row("d", "a")])
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == before)
        #expect(files(below: directory.path) == ["metadata.sqlite"])
    }

    @Test func `a store that is in use is looked at, too, and goes on`() async throws {
        try await make()
        let store = try SQLiteMetadataStore(path: path)
        try await store.apply([.insert(row("e", "a"))])
        #expect(try DatabaseExamination(path: path, rows: 1).rowCount == 12)
        try await store.apply([.insert(row("e", "b"))])
        #expect(try await store.read(collection: "e", id: "b") != nil)
    }

    @Test func `what is no store of ours, or of another version, is told`() async throws {
        try await make()
        try alter("INSERT INTO grdb_migrations VALUES ('2 of the future')")
        #expect(throws: SQLiteMetadataStoreError.newerSchema(path: path)) {
            try DatabaseExamination(path: path, rows: 1)
        }
        try alter("DELETE FROM grdb_migrations")
        #expect(try !DatabaseExamination(path: path, rows: 1).isCurrent)
        try alter("PRAGMA application_id = 1")
        #expect(throws: SQLiteMetadataStoreError.foreignDatabase(path: path)) {
            try DatabaseExamination(path: path, rows: 1)
        }
        try Data(repeating: 1, count: 4096).write(to: URL(fileURLWithPath: path))
        #expect(throws: SQLiteMetadataStoreError.notADatabase(path: path)) {
            try DatabaseExamination(path: path, rows: 1)
        }
    }

    @Test func `a row that the store cannot have written counts as nobody's`() async throws {
        try await make()
        try alter("UPDATE records SET version = 0, body = zeroblob(2 << 20) WHERE collection = 'd'")
        let found = try DatabaseExamination(path: path, rows: 100)
        let odd = try #require(found.sample.first { $0.collection == "d" })
        #expect(odd.body.isEmpty)
    }

    @Test func `a damaged page is found`() async throws {
        try await make()
        let file = URL(fileURLWithPath: path)
        var bytes = try Data(contentsOf: file)
        bytes.replaceSubrange(4096..<bytes.count, with: Data(repeating: 0xA5, count: bytes.count - 4096))
        try bytes.write(to: file)
        let found = try? DatabaseExamination(path: path, rows: 1)
        #expect(found == nil || found?.faults.isEmpty == false)
    }
}
