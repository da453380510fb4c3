import GRDB

extension DatabaseError {
    /// What went wrong and what mends it. Holds no value of a row.
    var reason: String {
        switch resultCode {
        case .SQLITE_FULL:
            "no space left on the device that holds the metadata store; free some or add more"
        case .SQLITE_READONLY:
            "the file, its directory or its file system is read-only; make it writable"
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            "another process holds the write lock for too long; retry, and find out what holds it"
        case .SQLITE_NOTADB, .SQLITE_CORRUPT:
            "the file is damaged; restore it from a backup"
        case .SQLITE_CANTOPEN:
            "the file or its directory is gone or may not be opened; mount its volume, check its permissions"
        case .SQLITE_PERM, .SQLITE_AUTH:
            "no permission; the file must belong to the user who runs this, mode 0600"
        case .SQLITE_IOERR:
            "input/output error \(extendedResultCode.rawValue); check the device, its free space and the "
                + "system's log"
        default:
            "SQLite error \(extendedResultCode.rawValue)\(message.map { ": \($0)" } ?? "")"
        }
    }
}

extension SQLiteMetadataStoreError {
    /// What kept a file from being opened.
    init(opening path: String, _ error: any Error) {
        switch error {
        case let error as SQLiteMetadataStoreError: self = error
        case let error as DatabaseError:
            switch error.resultCode {
            case .SQLITE_NOTADB, .SQLITE_CORRUPT: self = .notADatabase(path: path)
            default: self = .cannotOpen(path: path, reason: error.reason)
            }
        default: self = .cannotOpen(path: path, reason: "\(error)")
        }
    }
}
