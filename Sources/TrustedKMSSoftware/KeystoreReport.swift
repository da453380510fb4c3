import KeyManagement
import SecretMemory

/// What a keystore file says of itself: no secrets, nothing that the file does not show to who may read it.
public struct KeystoreReport: Sendable, Equatable {
    public struct Key: Sendable, Equatable {
        public var name: KMSKeyName
        /// Lower ones are destroyed.
        public var firstVersion: Int
        public var latestVersion: Int
        /// Blobs sealed under lower versions do not open.
        public var minimumVersion: Int
    }

    public var path: String
    public var format: String
    public var developmentOnly: Bool
    public var scryptCost: ScryptCost
    /// In the order of the file, that in which they were made.
    public var keys: [Key]
    /// Whether the passphrase opened the file, so that every field is authentic.
    public var isVerified: Bool

    /// Reads the file without its passphrase: whoever can write it can make it say anything.
    /// - Throws: ``SoftwareKMSError``.
    public init(reading path: String) throws(SoftwareKMSError) {
        let (bytes, _) = try KeystoreFile(path: path).read(limit: KeystoreDocument.maximumFileBytes)
        try self.init(try KeystoreDocument(parsing: bytes, path: path), path: path, isVerified: false)
    }

    fileprivate init(
        _ document: KeystoreDocument, path: String, isVerified: Bool
    ) throws(SoftwareKMSError) {
        self.path = path
        self.isVerified = isVerified
        format = document.format
        developmentOnly = document.developmentOnly
        scryptCost = try document.cost()
        keys = document.keys.compactMap { key in
            guard let first = key.versions.first, let last = key.versions.last else { return nil }
            return Key(
                name: key.name, firstVersion: Int(first.version), latestVersion: Int(last.version),
                minimumVersion: Int(key.minimumVersion))
        }
    }
}

extension SoftwareKMS {
    /// What the file says now, every field of it authentic.
    /// - Throws: ``SoftwareKMSError``.
    public func report() throws(SoftwareKMSError) -> KeystoreReport {
        try KeystoreReport(try refreshed().keyring.document, path: file.path, isVerified: true)
    }
}
