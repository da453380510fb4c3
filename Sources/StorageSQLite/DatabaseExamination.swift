import GRDB
import KeyManagement

/// What the file of a metadata store is like, found out without changing a row; what an earlier process left in SQLite's
/// log goes into the file, as at every opening.
package struct DatabaseExamination: Sendable {
    /// False where an older version wrote it: the gateway's next start brings it up to date.
    package let isCurrent: Bool
    package let rowCount: Int
    /// What SQLite's `quick_check` finds; empty for a sound file.
    package let faults: [String]
    /// Some rows of every collection.
    package let sample: [MetadataRecord]

    private static let maximumFaults = 5

    /// Reads the whole file once, and takes the write lock for a moment. Blocks meanwhile.
    /// - Parameters:
    ///   - path: of a file that exists.
    ///   - rows: of a collection that are looked at.
    package init(path: String, rows: Int) throws(SQLiteMetadataStoreError) {
        do {
            self = try Self.examine(path, rows)
        } catch { throw SQLiteMetadataStoreError(opening: path, error) }
    }

    private init(isCurrent: Bool, rowCount: Int, faults: [String], sample: [MetadataRecord]) {
        self.isCurrent = isCurrent
        self.rowCount = rowCount
        self.faults = faults
        self.sample = sample
    }

    private static func examine(_ path: String, _ rows: Int) throws -> DatabaseExamination {
        var configuration = Configuration()
        configuration.label = "hkms.metadata-examination"
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
        }
        let queue = try DatabaseQueue(path: path, configuration: configuration)
        defer { try? queue.close() }
        return try queue.writeWithoutTransaction { db in
            guard try Int.fetchOne(db, sql: "PRAGMA application_id") == DatabaseFile.applicationID else {
                throw SQLiteMetadataStoreError.foreignDatabase(path: path)
            }
            let migrator = DatabaseFile.migrator
            if try migrator.hasBeenSuperseded(db) { throw SQLiteMetadataStoreError.newerSchema(path: path) }
            let isCurrent = try migrator.hasCompletedMigrations(db)
            let faults = try String.fetchAll(db, sql: "PRAGMA quick_check(\(maximumFaults))").filter { $0 != "ok" }
            guard isCurrent, faults.isEmpty else {
                return DatabaseExamination(isCurrent: isCurrent, rowCount: 0, faults: faults, sample: [])
            }
            try db.inTransaction(.immediate) {
                try db.execute(sql: "DELETE FROM probe")
                return .rollback
            }
            let rowCount = try Int.fetchOne(db, sql: "SELECT count(*) FROM records") ?? 0
            let collections = try String.fetchAll(db, sql: "SELECT DISTINCT collection FROM records LIMIT 100")
            let sample = try collections.flatMap { try sampled($0, rows, db) }
            return DatabaseExamination(isCurrent: true, rowCount: rowCount, faults: [], sample: sample)
        }
    }

    private static func sampled(_ collection: String, _ rows: Int, _ db: Database) throws -> [MetadataRecord] {
        let sql = "SELECT id, idx, version, \(boundedBody) FROM records WHERE collection = ? ORDER BY id LIMIT ?"
        return try Row.fetchAll(db, sql: sql, arguments: [collection, rows]).map { row in
            guard let record = try? MetadataRecord(row, collection: collection) else {
                // No row of ours: whoever checks it says so.
                return MetadataRecord(collection: collection, id: "", index: "", version: 0, body: [])
            }
            return record
        }
    }
}
