/// The newest state of what lies elsewhere, such as the head of the audit log: short texts in the metadata store, which
/// is believed for freshness, authenticated like all its rows.
public struct Anchors: Sendable {
    private let records: AuthenticatedRecords

    public init(metadata: any MetadataStore, keys: InstallationKeys) {
        records = AuthenticatedRecords(store: metadata, keys: keys)
    }

    /// What was written last under this name; nil where nothing was.
    /// - Parameter name: as rows are named: 1 to 128 bytes.
    public func read(_ name: String) async throws(KeyManagementError) -> String? {
        try await records.read(AnchorRow.self, id: name)?.row.text
    }

    /// One writer a name: of two at once the second fails.
    public func write(_ text: String, to name: String) async throws(KeyManagementError) {
        if var stored = try await records.read(AnchorRow.self, id: name) {
            guard stored.row.text != text else { return }
            stored.row.text = text
            try await records.apply([try records.update(stored)])
        } else {
            try await records.apply([try records.insertion(AnchorRow(text: text), id: name, index: name)])
        }
    }
}
