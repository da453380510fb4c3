import FoundationEssentials
import KeyManagement
import SecretMemory
import Synchronization

/// A trusted KMS in this process: master keys in a file under a passphrase, open in locked memory.
///
/// It needs no server, so it is the way to try HKMS out, and a fallback for sites without a KMS. It
/// protects less than one: whoever controls this process has the master keys, and an older copy of
/// the file, put back in place, opens as well as the newest.
///
/// Several processes may use one keystore: writers take turns, and every process notices at its next
/// call what another wrote.
///
/// ``SelfTests`` run before the first keystore of a process is opened; where one fails nothing answers.
public final class SoftwareKMS: TrustedKMS {
    let file: KeystoreFile
    private let selfTests: SelfTests
    private let state: Mutex<State>

    public let provider = "software"

    /// How long a writer waits for another, in milliseconds.
    private static let lockWait = 5000

    /// What is known of the file, and the key that opened it.
    struct State: Sendable {
        var kek: KeyEncryptionKey
        var keyring: Keyring
    }

    /// Writes a new keystore without keys and opens it.
    ///
    /// - Parameters:
    ///   - path: where no file is yet; the folder must exist.
    ///   - developmentOnly: recorded in the file, authenticated, and shown in ``capabilities``.
    /// - Throws: ``SoftwareKMSError``.
    @discardableResult
    public static func create(
        at path: String, passphrase: borrowing SecretBytes, developmentOnly: Bool,
        scryptCost: ScryptCost = .standard
    ) throws(SoftwareKMSError) -> SoftwareKMS {
        try create(
            at: path, passphrase: passphrase, developmentOnly: developmentOnly, scryptCost: scryptCost,
            selfTests: .module)
    }

    @discardableResult
    package static func create(
        at path: String, passphrase: borrowing SecretBytes, developmentOnly: Bool, scryptCost: ScryptCost,
        selfTests: SelfTests
    ) throws(SoftwareKMSError) -> SoftwareKMS {
        try selfTests.require()
        let file = KeystoreFile(path: path)
        let (kek, parameters) = try KeyEncryptionKey.make(passphrase: passphrase, cost: scryptCost, path: path)
        var document = KeystoreDocument(developmentOnly: developmentOnly, passphrase: parameters)
        try document.authenticate(with: kek, path: path)
        guard let lock = try file.tryLock() else { throw .busy(path: path) }
        let bytes = try document.encoded(path: path)
        let pin = try withExtendedLifetime(lock) { () throws(SoftwareKMSError) in
            try file.write(bytes, replacing: false)
        }
        return SoftwareKMS(
            file: file, kek: kek,
            keyring: try Keyring(opening: document, pin: pin, under: kek, path: path), selfTests: selfTests)
    }

    /// Opens an existing keystore. Takes as long as its ``ScryptCost`` says.
    /// - Throws: ``SoftwareKMSError``.
    public convenience init(opening path: String, passphrase: borrowing SecretBytes) throws(SoftwareKMSError) {
        try self.init(opening: path, passphrase: passphrase, selfTests: .module)
    }

    package convenience init(
        opening path: String, passphrase: borrowing SecretBytes, selfTests: SelfTests
    ) throws(SoftwareKMSError) {
        try selfTests.require()
        let file = KeystoreFile(path: path)
        let (document, pin) = try Self.load(file)
        let kek = try KeyEncryptionKey(
            passphrase: passphrase, salt: document.passphrase.salt, cost: try document.cost())
        self.init(
            file: file, kek: kek,
            keyring: try Keyring(opening: document, pin: pin, under: kek, path: path), selfTests: selfTests)
    }

    private init(file: KeystoreFile, kek: KeyEncryptionKey, keyring: Keyring, selfTests: SelfTests) {
        self.file = file
        self.selfTests = selfTests
        state = Mutex(State(kek: kek, keyring: keyring))
    }

    public var capabilities: KMSCapabilities {
        KMSCapabilities(
            contextBinding: .associatedData, nativeRewrap: true, random: true, sign: false, destroysVersions: true,
            maximumPlaintextBytes: SoftwareBlob.maximumPlaintextBytes,
            developmentOnly: state.withLock { $0.keyring.document.developmentOnly })
    }

    // MARK: Sealing

    public func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try sealNow(secret, under: key, context: context)
    }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        try openNow(sealed, under: key, context: context)
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        let plaintext = try randomBytes(32)
        let sealed = try sealNow(plaintext, under: key, context: context)
        return KMSDataKey(plaintext: plaintext, sealed: sealed)
    }

    public func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let secret = try openNow(sealed, under: key, context: context)
        return try sealNow(secret, under: key, context: context)
    }

    private func sealNow(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext
    ) throws(KMSError) -> KMSSealedBlob {
        guard (1...SoftwareBlob.maximumPlaintextBytes).contains(secret.count) else {
            throw .notSupported(operation: "sealing \(secret.count) bytes")
        }
        let keyring = try current()
        let entry = try keyring.entry(key)
        let box = secret.withUnsafeBytes { secret in
            keyring.withMasterKey(entry, version: entry.latestVersion) {
                SecretAEAD.seal(secret, key: $0, associatedData: context.bytes)
            }
        }
        guard let box else { throw .unavailable(reason: "AES-GCM failed") }
        return SoftwareBlob.encode(version: entry.latestVersion, box: box)
    }

    private func openNow(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext
    ) throws(KMSError) -> SecretBytes {
        let keyring = try current()
        let entry = try keyring.entry(key)
        guard let blob = SoftwareBlob(parsing: sealed), blob.version >= 1, blob.version <= entry.latestVersion
        else { throw .cannotOpen }
        guard blob.version >= entry.firstVersion else {
            throw .keyUnusable(key, reason: "sealed under version \(blob.version), which is destroyed")
        }
        guard blob.version >= entry.minimumVersion else {
            throw .keyUnusable(
                key, reason: "sealed under version \(blob.version), the minimum is \(entry.minimumVersion)")
        }
        let opened: SecretBytes?
        do throws(SecretMemoryError) {
            opened = try keyring.withMasterKey(entry, version: blob.version) { key throws(SecretMemoryError) in
                try SecretAEAD.open(blob.box, key: key, associatedData: context.bytes)
            }
        } catch {
            throw .memory(error)
        }
        guard let opened else { throw .cannotOpen }
        return opened
    }

    // MARK: Generator and signatures

    /// Random bytes of the operating system's generator.
    public func random(count: Int) async throws(KMSError) -> SecretBytes {
        guard (1...1024).contains(count) else { throw .notSupported(operation: "\(count) random bytes") }
        return try randomBytes(count)
    }

    public func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        throw .notSupported(operation: "sign")
    }

    private func randomBytes(_ count: Int) throws(KMSError) -> SecretBytes {
        do throws(SoftwareKMSError) { return try selfTests.randomBytes(count) } catch { throw Self.portError(error) }
    }

    // MARK: Keys

    public func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        guard purpose == .sealing else { throw .notSupported(operation: "keys that sign") }
        try await change { document, kek throws(KMSError) in
            guard !document.keys.contains(where: { $0.name == name }) else { return false }
            let first = try self.newVersion(1, of: name, under: kek)
            document.keys.append(.init(name: name, minimumVersion: 1, versions: [first]))
            return true
        }
    }

    public func rotateKey(_ name: KMSKeyName) async throws(KMSError) {
        try await change { document, kek throws(KMSError) in
            let (index, latest) = try Self.find(name, in: document)
            document.keys[index].versions.append(try self.newVersion(latest + 1, of: name, under: kek))
            return true
        }
    }

    /// Forgets the key. Copies of the file that somebody made before still hold it.
    public func destroyKey(_ name: KMSKeyName) async throws(KMSError) {
        try await change { document, _ throws(KMSError) in
            document.keys.remove(at: try Self.find(name, in: document).index)
            return true
        }
    }

    /// Old versions stay in the file, so that a minimum can be lowered again, until they are destroyed.
    public func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await change { document, _ throws(KMSError) in
            let (index, latest) = try Self.find(name, in: document)
            let first = document.keys[index].versions.first?.version ?? latest
            guard let minimum = UInt32(exactly: version), (first...latest).contains(minimum) else {
                throw .keyUnusable(name, reason: "it has no version \(version), only \(first) to \(latest)")
            }
            document.keys[index].minimumVersion = minimum
            return true
        }
    }

    /// Forgets the versions. Copies of the file that somebody made before still hold them.
    public func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await change { document, _ throws(KMSError) in
            let index = try Self.find(name, in: document).index
            let minimum = document.keys[index].minimumVersion
            guard version <= Int(minimum) else {
                throw .keyUnusable(
                    name, reason: "versions up to \(minimum), its minimum, can be destroyed; raise the minimum first")
            }
            let count = document.keys[index].versions.count
            document.keys[index].versions.removeAll { Int($0.version) < version }
            return document.keys[index].versions.count < count
        }
    }

    public func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        let entry = try current().entry(name)
        return KMSKeyDescription(
            name: name, type: "aes256-gcm", latestVersion: Int(entry.latestVersion),
            minimumVersion: Int(entry.minimumVersion), earliestVersion: Int(entry.firstVersion))
    }

    /// Returns when the keystore file is in place and opens under the passphrase.
    public func checkHealth() async throws(KMSError) { _ = try current() }

    // MARK: The file

    private static func load(
        _ file: KeystoreFile
    ) throws(SoftwareKMSError) -> (KeystoreDocument, KeystoreFile.Pin) {
        let (bytes, pin) = try file.read(limit: KeystoreDocument.maximumFileBytes)
        return (try KeystoreDocument(parsing: bytes, path: file.path), pin)
    }

    private func current() throws(KMSError) -> Keyring {
        do throws(SoftwareKMSError) { return try refreshed().keyring } catch { throw Self.portError(error) }
    }

    /// What the file is now: read again where another process wrote.
    ///
    /// The passphrase is not kept, so that a file under another one, or another salt, cannot be read again: the process
    /// has to be started with the passphrase of now.
    func refreshed() throws(SoftwareKMSError) -> State {
        try selfTests.require()
        let known = state.withLock { $0 }
        if try file.isStill(known.keyring.pin) { return known }
        let (document, pin) = try Self.load(file)
        guard document.passphrase.salt == known.keyring.document.passphrase.salt else {
            throw .replacedPassphrase(path: file.path)
        }
        let reloaded = State(
            kek: known.kek, keyring: try Keyring(opening: document, pin: pin, under: known.kek, path: file.path))
        state.withLock { $0 = reloaded }
        return reloaded
    }

    /// Puts `document` in the place of the file. The caller holds the lock.
    func replace(with document: KeystoreDocument, under kek: KeyEncryptionKey) throws(SoftwareKMSError) {
        try document.checkShape(path: file.path)
        let pin = try file.write(try document.encoded(path: file.path), replacing: true)
        let changed = State(
            kek: kek, keyring: try Keyring(opening: document, pin: pin, under: kek, path: file.path))
        state.withLock { $0 = changed }
    }

    /// Changes the file as it is now, while nobody else can.
    /// - Parameter edit: answers whether there is anything to write.
    private func change(
        _ edit: @Sendable (inout KeystoreDocument, KeyEncryptionKey) throws(KMSError) -> Bool
    ) async throws(KMSError) {
        let held: KeystoreFile.Lock
        do throws(SoftwareKMSError) { held = try await lock() } catch { throw Self.portError(error) }
        try withExtendedLifetime(held) { () throws(KMSError) in try changeNow(edit) }
    }

    /// The caller holds the lock.
    private func changeNow(
        _ edit: (inout KeystoreDocument, KeyEncryptionKey) throws(KMSError) -> Bool
    ) throws(KMSError) {
        do {
            let opened = try refreshed()
            var document = opened.keyring.document
            guard try edit(&document, opened.kek) else { return }
            try document.authenticate(with: opened.kek, path: file.path)
            try replace(with: document, under: opened.kek)
        } catch let error as KMSError {
            throw error
        } catch let error as SoftwareKMSError {
            throw Self.portError(error)
        } catch {
            throw .unavailable(reason: "the keystore \(file.path) was not changed")
        }
    }

    func lock() async throws(SoftwareKMSError) -> KeystoreFile.Lock {
        let pause = 10
        for _ in 0..<Self.lockWait / pause {
            if let lock = try file.tryLock() { return lock }
            do { try await Task.sleep(for: .milliseconds(pause)) } catch { break }
        }
        throw .busy(path: file.path)
    }

    private func newVersion(
        _ version: UInt32, of name: KMSKeyName, under kek: KeyEncryptionKey
    ) throws(KMSError) -> KeystoreDocument.Version {
        let masterKey = try randomBytes(KeystoreDocument.masterKeyBytes)
        let context = KeystoreDocument.wrappingContext(name: name, version: version)
        guard let wrapped = masterKey.withUnsafeBytes({ kek.seal($0, associatedData: context) }) else {
            throw .unavailable(reason: "AES-GCM failed")
        }
        return KeystoreDocument.Version(version: version, wrapped: Data(wrapped))
    }

    private static func find(
        _ name: KMSKeyName, in document: KeystoreDocument
    ) throws(KMSError) -> (index: Int, latest: UInt32) {
        guard let index = document.keys.firstIndex(where: { $0.name == name }),
            let latest = document.keys[index].versions.last?.version
        else { throw .keyNotFound(name) }
        return (index, latest)
    }

    private static func portError(_ error: SoftwareKMSError) -> KMSError {
        if case .memory(let error) = error { return .memory(error) }
        return .unavailable(reason: error.description)
    }
}
