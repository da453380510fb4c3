extension RewrapJob {
    /// The job as the metadata store has it, whoever wrote that: for an operator to see while no KMS opens the
    /// installation's keys. Nothing may be decided by it.
    /// - Returns: nil where there is none.
    package static func unverified(in store: any MetadataStore) async throws(KeyManagementError) -> RewrapJob? {
        let record: MetadataRecord?
        do {
            record = try await store.read(collection: RewrapJobRow.collection, id: RewrapJobRow.id)
        } catch { throw .metadataStore(error) }
        guard let record else { return nil }
        // Behind the authentication code.
        guard record.body.count > 32, let row = RewrapJobRow(json: Array(record.body.dropFirst(32))) else {
            throw .metadataTampered(collection: RewrapJobRow.collection)
        }
        return RewrapJob(row)
    }
}
