import FoundationEssentials
import KeyManagement
import SecretMemory

/// The opened keystore: what one file held at one moment. Immutable, so that it is read without a lock.
final class Keyring: Sendable {
    struct Entry: Sendable {
        let minimumVersion: UInt32
        let firstVersion: UInt32
        let latestVersion: UInt32
        /// Of the first version, counted in master keys.
        fileprivate let position: Int
    }

    let document: KeystoreDocument
    let pin: KeystoreFile.Pin
    private let entries: [KMSKeyName: Entry]
    // All master keys side by side: a locked page for each would use up RLIMIT_MEMLOCK.
    private let masterKeys: SecretBytes

    /// Checks the passphrase, then the whole file, then opens every master key.
    init(
        opening document: KeystoreDocument, pin: KeystoreFile.Pin, under kek: KeyEncryptionKey, path: String
    ) throws(SoftwareKMSError) {
        guard try kek.isAuthentic(document.passphrase.check, of: document.passphrase.checkContext) else {
            throw .wrongPassphrase(path: path)
        }
        guard try kek.isAuthentic(document.authenticator, of: document.authenticatedBytes) else {
            throw .damaged(path: path, part: "authenticator")
        }
        let length = KeystoreDocument.masterKeyBytes
        let total = document.keys.reduce(0) { $0 + $1.versions.count }
        var masterKeys: SecretBytes
        do throws(SecretMemoryError) {
            masterKeys = try SecretBytes(count: total * length)
        } catch {
            throw .memory(error)
        }
        var entries: [KMSKeyName: Entry] = [:]
        var position = 0
        for key in document.keys {
            guard let first = key.versions.first, let last = key.versions.last else {
                throw .damaged(path: path, part: "key \(key.name)")
            }
            entries[key.name] = Entry(
                minimumVersion: key.minimumVersion, firstVersion: first.version, latestVersion: last.version,
                position: position)
            for version in key.versions {
                let context = KeystoreDocument.wrappingContext(name: key.name, version: version.version)
                guard let opened = try kek.open(version.wrapped, associatedData: context), opened.count == length
                else { throw .damaged(path: path, part: "key \(key.name), version \(version.version)") }
                let offset = position * length
                masterKeys.withUnsafeMutableBytes { all in
                    opened.withUnsafeBytes {
                        UnsafeMutableRawBufferPointer(rebasing: all[offset..<offset + length]).copyMemory(from: $0)
                    }
                }
                position += 1
            }
        }
        self.document = document
        self.pin = pin
        self.entries = entries
        self.masterKeys = masterKeys
    }

    /// The same master keys under another key-encryption key.
    func document(
        under kek: KeyEncryptionKey, passphrase: KeystoreDocument.Passphrase, path: String
    ) throws(SoftwareKMSError) -> KeystoreDocument {
        var document = document
        document.passphrase = passphrase
        for (index, key) in document.keys.enumerated() {
            guard let entry = entries[key.name] else { throw .damaged(path: path, part: "key \(key.name)") }
            for (position, version) in key.versions.enumerated() {
                let context = KeystoreDocument.wrappingContext(name: key.name, version: version.version)
                let wrapped = withMasterKey(entry, version: version.version) { kek.seal($0, associatedData: context) }
                guard let wrapped else { throw .notWritable(path: path, reason: "AES-GCM failed") }
                document.keys[index].versions[position].wrapped = Data(wrapped)
            }
        }
        try document.authenticate(with: kek, path: path)
        return document
    }

    func entry(_ name: KMSKeyName) throws(KMSError) -> Entry {
        guard let entry = entries[name] else { throw .keyNotFound(name) }
        return entry
    }

    /// - Parameter version: one of the entry's.
    func withMasterKey<Result: ~Copyable, Failure: Error>(
        _ entry: Entry, version: UInt32, _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let length = KeystoreDocument.masterKeyBytes
        let offset = (entry.position + Int(version - entry.firstVersion)) * length
        return try masterKeys.withUnsafeBytes { all throws(Failure) in
            try body(UnsafeRawBufferPointer(rebasing: all[offset..<offset + length]))
        }
    }
}
