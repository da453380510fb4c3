import KeyManagement
import StorageSQLite

/// Rows of a metadata store as they were read once, for what reads by the port. Nothing is written to it.
struct ExaminedRows: MetadataStore {
    let records: [MetadataRecord]
    /// Of the whole store.
    let count: Int

    init(_ examination: DatabaseExamination) {
        records = examination.sample
        count = examination.rowCount
    }

    func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        records.first { $0.collection == collection && $0.id == id }
    }

    func list(
        collection: String, index: String?, after: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] { throw Self.readOnce }

    func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) { throw Self.readOnce }

    func checkHealth() async throws(MetadataStoreError) {}

    private static let readOnce = MetadataStoreError.unavailable(reason: "these rows were read once")
}
