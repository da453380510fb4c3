import FoundationEssentials
import KeyManagement

/// The keystore file: public parameters, and master keys wrapped under the key-encryption key.
///
/// JSON, so that an administrator can read which keys it holds. ``authenticatedBytes`` covers every
/// field, so that nobody without the passphrase changes a minimum version or swaps two keys.
package struct KeystoreDocument: Codable, Sendable, Equatable {
    static let currentFormat = "hkms-software-keystore-1"
    static let saltBytes = 32
    static let masterKeyBytes = 32
    static let maximumKeys = 4096
    static let maximumVersions = 32768
    /// Room for the most keys with the longest names and the most versions.
    static let maximumFileBytes = 8 << 20

    struct Passphrase: Codable, Sendable, Equatable {
        /// `scrypt`.
        var kdf: String
        var n: Int
        var r: Int
        var p: Int
        var salt: Data
        /// An AEAD box of nothing: opens under the right passphrase alone.
        var check: Data
    }

    struct Key: Codable, Sendable, Equatable {
        var name: KMSKeyName
        var minimumVersion: UInt32
        /// Ascending without gaps.
        var versions: [Version]
    }

    struct Version: Codable, Sendable, Equatable {
        var version: UInt32
        /// The AEAD box of 32 bytes.
        var wrapped: Data
    }

    var format: String
    var developmentOnly: Bool
    var passphrase: Passphrase
    var keys: [Key]
    /// An AEAD box of nothing over ``authenticatedBytes``.
    var authenticator: Data

    /// Parses and checks everything that can be checked without the passphrase.
    package init(parsing bytes: Data, path: String) throws(SoftwareKMSError) {
        struct Head: Decodable { var format: String? }
        guard let head = try? JSONDecoder().decode(Head.self, from: bytes) else {
            throw .damaged(path: path, part: "not JSON")
        }
        guard head.format == Self.currentFormat else { throw .unknownFormat(path: path, format: head.format) }
        do {
            self = try JSONDecoder().decode(KeystoreDocument.self, from: bytes)
        } catch {
            throw .damaged(path: path, part: "a field is missing or of the wrong type")
        }
        try checkShape(path: path)
    }

    init(developmentOnly: Bool, passphrase: Passphrase) {
        format = Self.currentFormat
        self.developmentOnly = developmentOnly
        self.passphrase = passphrase
        keys = []
        authenticator = Data()
    }

    func encoded(path: String) throws(SoftwareKMSError) -> Data {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(self) else { throw .notWritable(path: path, reason: "JSON failed") }
        guard bytes.count < Self.maximumFileBytes else { throw .full(path: path) }
        return bytes + Data("\n".utf8)
    }

    /// Renews ``authenticator`` after a change.
    mutating func authenticate(with kek: KeyEncryptionKey, path: String) throws(SoftwareKMSError) {
        guard let box = kek.authenticator(of: authenticatedBytes) else {
            throw .notWritable(path: path, reason: "AES-GCM failed")
        }
        authenticator = box
    }

    func cost() throws(SoftwareKMSError) -> ScryptCost {
        try ScryptCost(rounds: passphrase.n, parallelism: passphrase.p)
    }

    /// Every bound and length that can be checked without the passphrase.
    func checkShape(path: String) throws(SoftwareKMSError) {
        guard passphrase.kdf == "scrypt", passphrase.r == ScryptCost.blockSize else {
            throw .unacceptableCost(reason: "only scrypt with r = \(ScryptCost.blockSize) is read")
        }
        _ = try cost()
        guard passphrase.salt.count == Self.saltBytes else { throw .damaged(path: path, part: "salt") }
        guard passphrase.check.count == SecretAEAD.overhead else { throw .damaged(path: path, part: "check") }
        guard authenticator.count == SecretAEAD.overhead else { throw .damaged(path: path, part: "authenticator") }
        guard keys.count <= Self.maximumKeys, keys.reduce(0, { $0 + $1.versions.count }) <= Self.maximumVersions
        else { throw .full(path: path) }
        guard Set(keys.map(\.name)).count == keys.count else { throw .damaged(path: path, part: "a key twice") }
        for key in keys {
            guard let first = key.versions.first?.version, let last = key.versions.last?.version, first >= 1,
                last >= first, Int(last - first) == key.versions.count - 1,
                (1...last).contains(key.minimumVersion),
                zip(key.versions, first...last).allSatisfy({ $0.version == $1 }),
                key.versions.allSatisfy({ $0.wrapped.count == Self.masterKeyBytes + SecretAEAD.overhead })
            else { throw .damaged(path: path, part: "key \(key.name)") }
        }
    }
}

// MARK: - What is authenticated

extension KeystoreDocument {
    /// Associated data of one wrapped master key: it opens at this name and version alone.
    static func wrappingContext(name: KMSKeyName, version: UInt32) -> [UInt8] {
        var bytes = LengthPrefixed()
        bytes.append(currentFormat)
        bytes.append("master-key")
        bytes.append(name.value)
        bytes.append(UInt64(version))
        return bytes.bytes
    }

    /// Associated data of ``authenticator``: every other field of the file.
    var authenticatedBytes: [UInt8] {
        var bytes = LengthPrefixed()
        bytes.append(Self.currentFormat)
        bytes.append("file")
        bytes.append(UInt64(developmentOnly ? 1 : 0))
        passphrase.append(to: &bytes)
        bytes.append(passphrase.check)
        bytes.append(UInt64(keys.count))
        for key in keys {
            bytes.append(key.name.value)
            bytes.append(UInt64(key.minimumVersion))
            bytes.append(UInt64(key.versions.count))
            for version in key.versions {
                bytes.append(UInt64(version.version))
                bytes.append(version.wrapped)
            }
        }
        return bytes.bytes
    }
}

extension KeystoreDocument.Passphrase {
    /// Associated data of ``check``.
    var checkContext: [UInt8] {
        var bytes = LengthPrefixed()
        bytes.append(KeystoreDocument.currentFormat)
        bytes.append("passphrase-check")
        append(to: &bytes)
        return bytes.bytes
    }

    fileprivate func append(to bytes: inout LengthPrefixed) {
        bytes.append(kdf)
        bytes.append(UInt64(clamping: n))
        bytes.append(UInt64(clamping: r))
        bytes.append(UInt64(clamping: p))
        bytes.append(salt)
    }
}

/// Fields with their lengths in front, so that no two lists of fields have the same bytes.
private struct LengthPrefixed {
    private(set) var bytes: [UInt8] = []

    mutating func append(_ field: some Collection<UInt8>) {
        withUnsafeBytes(of: UInt32(clamping: field.count).bigEndian) { bytes.append(contentsOf: $0) }
        bytes.append(contentsOf: field)
    }

    mutating func append(_ field: String) { append(Array(field.utf8)) }

    mutating func append(_ number: UInt64) {
        withUnsafeBytes(of: number.bigEndian) { append(Array($0)) }
    }
}
