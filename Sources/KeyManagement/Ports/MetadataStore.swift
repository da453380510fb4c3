/// One row of the metadata store. Collection and id name it; `index` groups rows for listing.
public struct MetadataRecord: Sendable, Hashable {
    /// At most 64 bytes.
    public var collection: String
    /// At most 256 bytes, unique in its collection.
    public var id: String
    /// At most 256 bytes; rows of one owner or key set share it.
    public var index: String
    /// 1 for a new row, one more with every change.
    public var version: Int
    /// What the row says, with the gateway's authentication inside. Opaque to the store, at most 1 MiB.
    public var body: [UInt8]

    public init(collection: String, id: String, index: String, version: Int, body: [UInt8]) {
        self.collection = collection
        self.id = id
        self.index = index
        self.version = version
        self.body = body
    }
}

/// One change of a transaction.
public enum MetadataChange: Sendable, Hashable {
    /// Adds a row; fails with ``MetadataStoreError/conflict(collection:id:)`` where one of its name exists.
    case insert(MetadataRecord)
    /// Replaces the row of this name if its version is `record.version - 1`, else conflict.
    case update(MetadataRecord)
    /// Removes the row if its version is `version`, else conflict.
    case delete(collection: String, id: String, version: Int)
}

/// Every way in which a metadata store can refuse or fail.
public enum MetadataStoreError: Error, Sendable, Equatable {
    /// Another writer was first: nothing of the transaction was done; read again and retry.
    case conflict(collection: String, id: String)
    case unavailable(reason: String)
}

extension MetadataStoreError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .conflict(let collection, let id): "another writer was first at \(collection) \(id)"
        case .unavailable(let reason): reason
        }
    }
}

/// States, versions, digests and counters: small, transactional, and believed for freshness only.
///
/// Rows carry the gateway's authentication, so that a writer to this store can roll back or delete
/// but not forge.
public protocol MetadataStore: Sendable {
    func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord?

    /// Rows with this index, or all of the collection where it is nil, in ascending byte order of id, at most `limit`,
    /// after the id `after`.
    func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord]

    /// All changes or none; durable when it returns.
    func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError)

    /// Returns when the store can be written to.
    func checkHealth() async throws(MetadataStoreError)
}
