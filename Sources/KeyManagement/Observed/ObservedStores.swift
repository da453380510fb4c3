/// An object store whose calls are measured and are spans of the trace.
public struct ObservedObjectStore: ObjectStore {
    private let inner: any ObjectStore

    public init(_ inner: any ObjectStore) { self.inner = inner }

    public func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
        try await observed("put") { () async throws(ObjectStoreError) in
            try await inner.put(bytes, at: key, onlyIfAbsent: onlyIfAbsent)
        }
    }

    public func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        try await observed("get") { () async throws(ObjectStoreError) in try await inner.get(key, limit: limit) }
    }

    public func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
        try await observed("delete") { () async throws(ObjectStoreError) in try await inner.delete(key) }
    }

    public func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] {
        try await observed("list") { () async throws(ObjectStoreError) in try await inner.list(prefix: prefix) }
    }

    public func checkHealth() async throws(ObjectStoreError) {
        try await observed("check_health") { () async throws(ObjectStoreError) in try await inner.checkHealth() }
    }

    private func observed<Result>(
        _ operation: String, _ body: () async throws(ObjectStoreError) -> Result
    ) async throws(ObjectStoreError) -> Result {
        try await ObservedCall.run(.store("objects"), operation, { $0.outcome }, body)
    }
}

/// A metadata store whose calls are measured and are spans of the trace.
public struct ObservedMetadataStore: MetadataStore {
    private let inner: any MetadataStore

    public init(_ inner: any MetadataStore) { self.inner = inner }

    public func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        try await observed("read") { () async throws(MetadataStoreError) in
            try await inner.read(collection: collection, id: id)
        }
    }

    public func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        try await observed("list") { () async throws(MetadataStoreError) in
            try await inner.list(collection: collection, index: index, after: after, limit: limit)
        }
    }

    public func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        try await observed("apply") { () async throws(MetadataStoreError) in try await inner.apply(changes) }
    }

    public func checkHealth() async throws(MetadataStoreError) {
        try await observed("check_health") { () async throws(MetadataStoreError) in try await inner.checkHealth() }
    }

    private func observed<Result>(
        _ operation: String, _ body: () async throws(MetadataStoreError) -> Result
    ) async throws(MetadataStoreError) -> Result {
        try await ObservedCall.run(.store("metadata"), operation, { $0.outcome }, body)
    }
}

extension ObjectStoreError {
    /// A value of the label `outcome`.
    fileprivate var outcome: String {
        switch self {
        case .notFound: "not_found"
        case .tooLarge: "too_large"
        case .alreadyExists: "already_exists"
        case .unavailable: "unavailable"
        }
    }
}

extension MetadataStoreError {
    /// A value of the label `outcome`.
    fileprivate var outcome: String {
        switch self {
        case .conflict: "conflict"
        case .unavailable: "unavailable"
        }
    }
}
