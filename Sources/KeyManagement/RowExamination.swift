/// Looks at rows of a metadata store for what an installation's gateways wrote.
package struct RowExamination: Sendable {
    private let keys: InstallationKeys

    package init(keys: InstallationKeys) { self.keys = keys }

    /// - Returns: the rows that none of the installation's gateways wrote.
    package func forged(of records: [MetadataRecord]) -> [MetadataRecord] {
        records.filter { !AuthenticatedRecords.isAuthentic($0, keys) }
    }
}
