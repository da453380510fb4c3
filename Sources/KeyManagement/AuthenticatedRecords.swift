import Attestation
import Crypto
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A row of the metadata store with the installation's authentication.
protocol AuthenticatedRow: Codable, Sendable {
    static var collection: String { get }
}

extension AuthenticatedRow {
    /// Reads a row behind its authentication; nil for what is none.
    init?(json: [UInt8]) {
        let decoder = JSONDecoder()
        decoder.dateDecodingStrategy = .iso8601
        guard let row = try? decoder.decode(Self.self, from: Data(json)) else { return nil }
        self = row
    }

    /// The row as it is stored.
    var json: [UInt8]? {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return (try? encoder.encode(self)).map { Array($0) }
    }
}

/// A row as it was read: its name and version go back with a change.
struct Stored<Row: AuthenticatedRow>: Sendable {
    let id: String
    var index: String
    let version: Int
    var row: Row
}

/// Typed, authenticated rows over the ``MetadataStore``: body = HMAC-SHA-256 || JSON, the code covering
/// collection, id, index, version and JSON. A writer to the store can roll rows back or delete them, but
/// not forge or move them.
struct AuthenticatedRecords: Sendable {
    let store: any MetadataStore
    let keys: InstallationKeys

    func read<Row: AuthenticatedRow>(
        _: Row.Type, id: String
    ) async throws(KeyManagementError) -> Stored<Row>? {
        let record: MetadataRecord?
        do { record = try await store.read(collection: Row.collection, id: id) } catch { throw .metadataStore(error) }
        guard let record else { return nil }
        guard record.id == id, record.collection == Row.collection else {
            throw .metadataTampered(collection: Row.collection)
        }
        return try open(record)
    }

    /// All rows of an index, page by page.
    func list<Row: AuthenticatedRow>(_: Row.Type, index: String) async throws(KeyManagementError) -> [Stored<Row>] {
        let pageSize = 500
        var rows: [Stored<Row>] = []
        while true {
            let next: [Stored<Row>] = try await page(Row.self, index: index, after: rows.last?.id, limit: pageSize)
            rows += next
            if next.count < pageSize { return rows }
        }
    }

    /// Names of rows after an id, in ascending order, of whoever wrote them: what is in a row is for who reads it.
    func ids<Row: AuthenticatedRow>(
        _: Row.Type, after: String?, limit: Int
    ) async throws(KeyManagementError) -> [String] {
        let records: [MetadataRecord]
        do {
            records = try await store.list(collection: Row.collection, index: nil, after: after, limit: limit)
        } catch { throw .metadataStore(error) }
        var last = after
        for record in records {
            guard last.map({ $0.utf8.lexicographicallyPrecedes(record.id.utf8) }) ?? true else {
                throw .metadataTampered(collection: Row.collection)
            }
            last = record.id
        }
        return records.map(\.id)
    }

    /// Rows after an id, in ascending order.
    /// - Parameter index: nil for all of the collection.
    func page<Row: AuthenticatedRow>(
        _: Row.Type, index: String? = nil, after: String?, limit: Int
    ) async throws(KeyManagementError) -> [Stored<Row>] {
        let records: [MetadataRecord]
        do {
            records = try await store.list(collection: Row.collection, index: index, after: after, limit: limit)
        } catch { throw .metadataStore(error) }
        var last = after
        var rows: [Stored<Row>] = []
        for record in records {
            // In ascending order, as the port says: a list that repeats its rows could go on for ever.
            guard index == nil || record.index == index, record.collection == Row.collection,
                last.map({ $0.utf8.lexicographicallyPrecedes(record.id.utf8) }) ?? true
            else { throw .metadataTampered(collection: Row.collection) }
            last = record.id
            rows.append(try open(record))
        }
        return rows
    }

    func insertion<Row: AuthenticatedRow>(
        _ row: Row, id: String, index: String
    ) throws(KeyManagementError) -> MetadataChange {
        .insert(try record(row, id: id, index: index, version: 1))
    }

    func update<Row: AuthenticatedRow>(_ stored: Stored<Row>) throws(KeyManagementError) -> MetadataChange {
        .update(try record(stored.row, id: stored.id, index: stored.index, version: stored.version + 1))
    }

    func apply(_ changes: [MetadataChange]) async throws(KeyManagementError) {
        do { try await store.apply(changes) } catch { throw .metadataStore(error) }
    }

    /// Whether this installation's gateways wrote a row, whatever it says.
    static func isAuthentic(_ record: MetadataRecord, _ keys: InstallationKeys) -> Bool {
        guard record.body.count > 32 else { return false }
        let expected = code(
            collection: record.collection, id: record.id, index: record.index, version: record.version,
            json: Array(record.body.dropFirst(32)), keys)
        return equalInConstantTime(record.body.prefix(32), expected)
    }

    private func record<Row: AuthenticatedRow>(
        _ row: Row, id: String, index: String, version: Int
    ) throws(KeyManagementError) -> MetadataRecord {
        guard let json = row.json else { throw .internalFailure(reason: "a row cannot be encoded") }
        let code = Self.code(
            collection: Row.collection, id: id, index: index, version: version, json: json, keys)
        return MetadataRecord(collection: Row.collection, id: id, index: index, version: version, body: code + json)
    }

    private func open<Row: AuthenticatedRow>(_ record: MetadataRecord) throws(KeyManagementError) -> Stored<Row> {
        guard Self.isAuthentic(record, keys), let row = Row(json: Array(record.body.dropFirst(32))) else {
            throw .metadataTampered(collection: record.collection)
        }
        return Stored(id: record.id, index: record.index, version: record.version, row: row)
    }

    private static func code(
        collection: String, id: String, index: String, version: Int, json: [UInt8], _ keys: InstallationKeys
    ) -> [UInt8] {
        var canonical = CanonicalBytes()
        canonical.append("HKMS-row-v1")
        canonical.append(collection)
        canonical.append(id)
        canonical.append(index)
        canonical.append(version)
        canonical.append(json)
        return keys.rowCode(canonical.bytes)
    }
}
