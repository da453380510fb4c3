import GRDB

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// Opens the database file and brings its schema up to date.
struct DatabaseFile {
    /// "HKMS" in ASCII, where SQLite has room for the mark of an application.
    static let applicationID = 0x484B_4D53
    /// SQLite may refuse the switch to WAL at once while another process opens the file, too.
    private static let attempts = 40
    private static let pauseInMicroseconds: UInt32 = 50_000

    let path: String
    /// In seconds.
    let busyTimeout: Double

    func open() throws(SQLiteMetadataStoreError) -> DatabasePool {
        try createFile()
        var attempt = 1
        while true {
            do {
                return try openOnce()
            } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY && attempt < Self.attempts {
                attempt += 1
                usleep(Self.pauseInMicroseconds)
            } catch { throw SQLiteMetadataStoreError(opening: path, error) }
        }
    }

    /// The schema, one migration a version; what was released is never changed.
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 records") { db in
            try db.execute(
                sql: """
                    CREATE TABLE records (
                        collection TEXT NOT NULL,
                        id TEXT NOT NULL,
                        idx TEXT NOT NULL,
                        version INTEGER NOT NULL,
                        body BLOB NOT NULL,
                        PRIMARY KEY (collection, id)
                    ) STRICT, WITHOUT ROWID;
                    CREATE INDEX records_by_index ON records (collection, idx, id);
                    CREATE TABLE probe (id INTEGER PRIMARY KEY, count INTEGER NOT NULL) STRICT;
                    """)
        }
        return migrator
    }

    private func openOnce() throws -> DatabasePool {
        let migrator = Self.migrator
        var configuration = Configuration()
        configuration.label = "hkms.metadata-store"
        configuration.busyMode = .timeout(busyTimeout)
        configuration.foreignKeysEnabled = false
        configuration.prepareDatabase { [path] db in
            // What is in the file must not run: it is not trusted.
            try db.execute(sql: "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON")
            if !db.configuration.readonly {
                try Self.claim(db, path, migrator)
            }
        }
        let pool = try DatabasePool(path: path, configuration: configuration)
        try pool.writeWithoutTransaction { db in
            // GRDB sets NORMAL with WAL, and so a crash of the machine could undo a commit.
            try db.execute(sql: "PRAGMA synchronous = FULL")
            guard try Int.fetchOne(db, sql: "PRAGMA synchronous") == 2 else {
                throw SQLiteMetadataStoreError.cannotOpen(path: path, reason: "SQLite does not sync its commits")
            }
        }
        do {
            try migrator.migrate(pool)
        } catch {
            // Another process may have made the same migration at the same time.
            guard try pool.read(migrator.hasCompletedMigrations) else { throw error }
        }
        return pool
    }

    /// Marks an empty database as ours, and refuses one of something else or of a later version. Comes
    /// before anything else is written.
    private static func claim(_ db: Database, _ path: String, _ migrator: DatabaseMigrator) throws {
        try db.inTransaction(.immediate) {
            if try Int.fetchOne(db, sql: "PRAGMA application_id") != applicationID {
                guard try Int.fetchOne(db, sql: "SELECT count(*) FROM sqlite_schema") == 0 else {
                    throw SQLiteMetadataStoreError.foreignDatabase(path: path)
                }
                try db.execute(sql: "PRAGMA application_id = \(applicationID)")
            } else if try migrator.hasBeenSuperseded(db) {
                throw SQLiteMetadataStoreError.newerSchema(path: path)
            }
            return .commit
        }
    }

    /// Creates an empty file of mode 0600, or takes the rights of group and others from one that exists.
    ///
    /// The file itself is never opened here: closing it would drop the locks that SQLite holds on it
    /// in this process.
    private func createFile() throws(SQLiteMetadataStoreError) {
        var status = stat()
        if stat(path, &status) != 0 {
            guard errno == ENOENT else { throw cannotCreate(errno) }
            let temporary = "\(path).new-\(String(UInt64.random(in: .min ... .max), radix: 16))"
            let file = Self.create(temporary)
            guard file >= 0 else { throw cannotCreate(errno) }
            close(file)
            defer { unlink(temporary) }
            guard link(temporary, path) == 0 || errno == EEXIST else { throw cannotCreate(errno) }
        } else if status.st_mode & S_IFMT != S_IFREG {
            throw .cannotOpen(path: path, reason: "it is no regular file; name another")
        } else if status.st_mode & 0o077 != 0 {
            guard chmod(path, status.st_mode & 0o700) == 0 else { throw cannotCreate(errno) }
        }
    }

    private static func create(_ path: String) -> Int32 {
        #if canImport(Darwin)
            Darwin.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        #elseif canImport(Musl)
            Musl.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        #else
            Glibc.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        #endif
    }

    private func cannotCreate(_ code: Int32) -> SQLiteMetadataStoreError {
        let reason =
            switch code {
            case ENOENT: "its directory does not exist; create it"
            case ENOTDIR: "a part of its path is no directory; name another"
            case EACCES, EPERM: "no permission; file and directory must belong to the user who runs this"
            case EROFS: "the file system is read-only; mount it for writing"
            case ENOSPC, EDQUOT: "no space left on the device; free some or add more"
            default: "\(String(cString: strerror(code))) (errno \(code))"
            }
        return .cannotOpen(path: path, reason: reason)
    }
}
