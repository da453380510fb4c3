import KeyManagement
import StorageFiles
import StorageSQLite
import Testing

/// An adapter of a storage port, and how to open it on a fresh directory.
struct Adapter<Port: Sendable>: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let open: @Sendable (_ directory: String) throws -> Port

    init(_ name: String, open: @escaping @Sendable (_ directory: String) throws -> Port) {
        testDescription = name
        self.open = open
    }
}

/// One promise of a port. `space` is a name of letters and digits that no other check uses, so that
/// checks may share a store.
struct Check<Port: Sendable>: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let run: @Sendable (_ store: Port, _ space: String) async throws -> Void

    init(_ name: String, run: @escaping @Sendable (_ store: Port, _ space: String) async throws -> Void) {
        testDescription = name
        self.run = run
    }
}

/// Every adapter against every promise of its port. A new adapter is one more line here.
@Suite("Storage conformance") struct StorageConformanceTests {
    static let objectStores: [Adapter<any ObjectStore>] = [
        Adapter("files") { try FileObjectStore(directory: $0 + "/objects") }
    ]

    static let metadataStores: [Adapter<any MetadataStore>] = [
        Adapter("SQLite") { try SQLiteMetadataStore(path: $0 + "/metadata.sqlite") }
    ]

    @Test(arguments: objectStores, ObjectStoreConformance.checks)
    func objectStore(_ adapter: Adapter<any ObjectStore>, _ check: Check<any ObjectStore>) async throws {
        let directory = try TemporaryDirectory()
        try await check.run(try adapter.open(directory.path), uniqueName())
    }

    @Test(arguments: metadataStores, MetadataStoreConformance.checks)
    func metadataStore(_ adapter: Adapter<any MetadataStore>, _ check: Check<any MetadataStore>) async throws {
        let directory = try TemporaryDirectory()
        try await check.run(try adapter.open(directory.path), uniqueName())
    }
}
