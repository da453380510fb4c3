import Foundation
import GRDB
import KeyManagement

/// Metadata rows in one SQLite file, in WAL mode, synced at every commit.
///
/// Any number of stores and processes of one machine may have the file open; it must not lie on a
/// network file system, where SQLite's locks do not hold. A cancelled task's operation runs to its end.
///
/// Beyond the port: collection, id and index must not contain a NUL character. A change that breaks a
/// limit of the port throws `unavailable` before anything is done.
public final class SQLiteMetadataStore: MetadataStore {
    /// The largest `limit` of ``list(collection:index:after:limit:)``.
    public static let maximumPage = RecordLimits.page.upperBound

    private let path: String
    private let pool: DatabasePool

    /// Opens the database, creating it (mode 0600) or bringing its schema up to date where needed.
    /// Blocks meanwhile.
    ///
    /// - Parameters:
    ///   - path: path of the file, in a directory that exists. SQLite keeps two more beside it, `-wal`
    ///     and `-shm`.
    ///   - busyTimeout: seconds for which a write waits for that of another process.
    public init(path: String, busyTimeout: Double = 10) throws(SQLiteMetadataStoreError) {
        self.path = path
        pool = try DatabaseFile(path: path, busyTimeout: busyTimeout).open()
    }

    public func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        guard RecordLimits.allow(collection: collection, id: id) else { return nil }
        return try await reading { db in
            let sql = "SELECT id, idx, version, \(boundedBody) FROM records WHERE collection = ? AND id = ?"
            guard let row = try Row.fetchOne(db.cachedStatement(sql: sql), arguments: [collection, id]) else {
                return nil
            }
            return try MetadataRecord(row, collection: collection)
        }
    }

    /// - Parameter limit: 1 to ``maximumPage``, else `unavailable` is thrown.
    public func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        guard RecordLimits.page.contains(limit) else {
            throw unavailable("a page holds \(RecordLimits.page) rows, not \(limit)")
        }
        if let violation = RecordLimits.violation(of: after ?? "", upTo: RecordLimits.id, "id to list after") {
            throw unavailable(violation)
        }
        guard RecordLimits.allow(collection: collection, id: index ?? "") else { return [] }
        return try await reading { db in
            let sql = """
                SELECT id, idx, version, \(boundedBody) FROM records
                WHERE collection = ? AND \(index == nil ? "" : "idx = ? AND ")id \(after == nil ? ">=" : ">") ?
                ORDER BY id LIMIT ?
                """
            var arguments: StatementArguments = [collection]
            if let index { arguments += [index] }
            arguments += [after ?? "", limit]
            let rows = try Row.fetchCursor(db.cachedStatement(sql: sql), arguments: arguments)
            var records: [MetadataRecord] = []
            while let row = try rows.next() {
                records.append(try MetadataRecord(row, collection: collection))
            }
            return records
        }
    }

    public func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        for case .insert(let record) in changes { try check(record) }
        for case .update(let record) in changes { try check(record) }
        if changes.isEmpty { return }
        try await writing { db in
            for change in changes {
                guard try db.make(change) else { throw change.conflict }
            }
        }
    }

    public func checkHealth() async throws(MetadataStoreError) {
        try await writing { db in
            try db.execute(
                sql: """
                    INSERT INTO probe (id, count) VALUES (1, 1)
                    ON CONFLICT (id) DO UPDATE SET count = (count + 1) % 1000000
                    """)
        }
    }

    // MARK: - Steps

    private func check(_ record: MetadataRecord) throws(MetadataStoreError) {
        if let violation = RecordLimits.violation(of: record) { throw unavailable(violation) }
    }

    /// Runs on one of the pool's threads. Not by its async functions: these give up when the task is
    /// cancelled, and leave it open whether a transaction was committed.
    private func reading<Success: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Success
    ) async throws(MetadataStoreError) -> Success {
        let result: Result<Success, MetadataStoreError> = await withCheckedContinuation { continuation in
            pool.asyncRead { connection in
                let result = Result { try body(connection.get()) }
                continuation.resume(returning: result.mapError(self.portError))
            }
        }
        return try result.get()
    }

    /// Runs `body` in one transaction that has the write lock from its start.
    private func writing(_ body: @escaping @Sendable (Database) throws -> Void) async throws(MetadataStoreError) {
        let result: Result<Void, MetadataStoreError> = await withCheckedContinuation { continuation in
            pool.asyncWriteWithoutTransaction { db in
                let result = Result {
                    try db.inTransaction(.immediate) {
                        try body(db)
                        return .commit
                    }
                }
                continuation.resume(returning: result.mapError(self.portError))
            }
        }
        return try result.get()
    }

    private func portError(_ error: any Error) -> MetadataStoreError {
        switch error {
        case let error as MetadataStoreError: error
        case let error as DatabaseError: unavailable(error.reason)
        case is MalformedRow: unavailable("a row has columns of a wrong type or size; restore it from a backup")
        default: unavailable("\(error)")
        }
    }

    private func unavailable(_ reason: String) -> MetadataStoreError {
        .unavailable(reason: "metadata store \(path): \(reason)")
    }
}

/// The column `body`, or NULL where it is too large to have been written by this store: whoever can
/// write the file does not decide how much memory is taken.
let boundedBody = "iif(length(body) <= \(RecordLimits.body), body, NULL)"

/// A row that this store cannot have written.
private struct MalformedRow: Error {}

extension MetadataRecord {
    /// - Parameter row: id, idx, version, body.
    init(_ row: Row, collection: String) throws {
        // By storage class: GRDB's conversions trap on a value of another type.
        let values = Array(row.databaseValues).map(\.storage)
        guard values.count == 4, case .string(let id) = values[0], case .string(let index) = values[1],
            case .int64(let version) = values[2], case .blob(let body) = values[3]
        else { throw MalformedRow() }
        self.init(collection: collection, id: id, index: index, version: Int(version), body: [UInt8](body))
    }
}

extension MetadataChange {
    fileprivate var conflict: MetadataStoreError {
        switch self {
        case .insert(let record), .update(let record): .conflict(collection: record.collection, id: record.id)
        case .delete(let collection, let id, _): .conflict(collection: collection, id: id)
        }
    }
}

extension Database {
    /// - Returns: false if another writer was first.
    fileprivate func make(_ change: MetadataChange) throws -> Bool {
        switch change {
        case .insert(let record):
            try cachedStatement(
                sql: """
                    INSERT INTO records (collection, id, idx, version, body) VALUES (?, ?, ?, ?, ?)
                    ON CONFLICT (collection, id) DO NOTHING
                    """
            ).execute(
                arguments: [record.collection, record.id, record.index, record.version, Data(record.body)])
        case .update(let record):
            try cachedStatement(
                sql: """
                    UPDATE records SET idx = ?, version = ?, body = ?
                    WHERE collection = ? AND id = ? AND version = ?
                    """
            ).execute(
                arguments: [
                    record.index, record.version, Data(record.body), record.collection, record.id,
                    record.version - 1,
                ])
        case .delete(let collection, let id, let version):
            // No row has such a name, and a NUL would make it the name of another.
            guard RecordLimits.allow(collection: collection, id: id) else { return false }
            try cachedStatement(sql: "DELETE FROM records WHERE collection = ? AND id = ? AND version = ?")
                .execute(arguments: [collection, id, version])
        }
        return changesCount == 1
    }
}
