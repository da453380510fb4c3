import GRDB
import KeyManagement

/// The rows of a metadata store for who only looks: no file is made, no row and no schema is changed, and nothing is
/// left beside the file. End with ``close()``.
package final class DatabaseReader: MetadataStore {
    private let path: String
    private let queue: DatabaseQueue

    /// - Parameter path: of a file that exists.
    package init(path: String) throws(SQLiteMetadataStoreError) {
        self.path = path
        var configuration = Configuration()
        configuration.label = "hkms.metadata-reader"
        configuration.busyMode = .timeout(5)
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
        }
        do {
            queue = try DatabaseQueue(path: path, configuration: configuration)
            let (isOurs, isCurrent) = try queue.read { db in
                (
                    try Int.fetchOne(db, sql: "PRAGMA application_id") == DatabaseFile.applicationID,
                    try DatabaseFile.migrator.hasCompletedMigrations(db)
                )
            }
            guard isOurs else { throw SQLiteMetadataStoreError.foreignDatabase(path: path) }
            guard isCurrent else {
                throw SQLiteMetadataStoreError.cannotOpen(
                    path: path, reason: "it is of another version of hkms; the gateway's start brings it up to date")
            }
        } catch { throw SQLiteMetadataStoreError(opening: path, error) }
    }

    /// Without it the process leaves two files beside the database.
    package func close() { try? queue.close() }

    package func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        guard RecordLimits.allow(collection: collection, id: id) else { return nil }
        return try await rows(
            "SELECT id, idx, version, \(boundedBody) FROM records WHERE collection = ? AND id = ?", [collection, id],
            of: collection
        ).first
    }

    package func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        guard RecordLimits.page.contains(limit) else {
            throw unavailable("a page holds \(RecordLimits.page) rows, not \(limit)")
        }
        var arguments: StatementArguments = [collection]
        if let index { arguments += [index] }
        arguments += [after ?? "", limit]
        return try await rows(
            """
            SELECT id, idx, version, \(boundedBody) FROM records
            WHERE collection = ? AND \(index == nil ? "" : "idx = ? AND ")id \(after == nil ? ">=" : ">") ?
            ORDER BY id LIMIT ?
            """, arguments, of: collection)
    }

    package func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        throw unavailable("it is only looked at")
    }

    package func checkHealth() async throws(MetadataStoreError) {}

    private func rows(
        _ sql: String, _ arguments: StatementArguments, of collection: String
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        do {
            return try await queue.read { db in
                try Row.fetchAll(db, sql: sql, arguments: arguments).map {
                    try MetadataRecord($0, collection: collection)
                }
            }
        } catch let error as DatabaseError {
            throw unavailable(error.reason)
        } catch is CancellationError {
            throw unavailable("it was not read in time")
        } catch {
            throw unavailable("a row has columns of a wrong type or size; restore it from a backup")
        }
    }

    private func unavailable(_ reason: String) -> MetadataStoreError {
        .unavailable(reason: "metadata store \(path): \(reason)")
    }
}
