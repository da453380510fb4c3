/// Why a file cannot be opened as a metadata store.
public enum SQLiteMetadataStoreError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file is no SQLite database, or a damaged one.
    case notADatabase(path: String)
    /// The file is a database of something else; it was left as it is.
    case foreignDatabase(path: String)
    /// A later version of this software wrote the file.
    case newerSchema(path: String)
    /// The file cannot be made, read, written or locked.
    case cannotOpen(path: String, reason: String)

    public var description: String {
        switch self {
        case .notADatabase(let path):
            "\(path) is not an SQLite database or is damaged; restore it from a backup, or name another file"
        case .foreignDatabase(let path):
            "\(path) is an SQLite database of another application; name another file"
        case .newerSchema(let path):
            "a later version of HKMS wrote \(path); run that version, or restore a backup from before the upgrade"
        case .cannotOpen(let path, let reason):
            "cannot open the metadata store \(path): \(reason)"
        }
    }
}
