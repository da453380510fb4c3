/// The name of a symmetric key inside the trusted KMS.
///
/// Letters, digits, `-`, `_` and `.`, 1 to 128 of them, so that it is safe in a URL path.
public struct KMSKeyName: Sendable, Hashable, Codable, CustomStringConvertible {
    public let value: String

    /// - Returns: nil where the name is not of the allowed form.
    public init?(_ value: String) {
        guard (1...128).contains(value.utf8.count), value.first != ".",
            value.utf8.allSatisfy({ byte in
                (byte >= 0x30 && byte <= 0x39) || (byte >= 0x41 && byte <= 0x5A) || (byte >= 0x61 && byte <= 0x7A)
                    || byte == 0x2D || byte == 0x5F || byte == 0x2E
            })
        else { return nil }
        self.value = value
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        guard let name = KMSKeyName(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not the name of a KMS key")
        }
        self = name
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(value)
    }

    public var description: String { value }
}

/// What a key inside the KMS is for. A key has one purpose.
public enum KMSKeyPurpose: String, Sendable, Codable, CaseIterable {
    /// AES-256: seals seeds and data keys.
    case sealing
    /// Ed25519: signs, and the KMS keeps the private half.
    case signing
}

/// Whether a key may be used now.
public enum KMSKeyState: Sendable, Hashable {
    case enabled
    /// Kept, but used for nothing until an administrator enables it again.
    case disabled
    /// Used for nothing, and gone after a waiting time that only an administrator can end.
    case pendingDeletion
}

/// What the KMS tells about one of its keys. Nothing of the key itself.
public struct KMSKeyDescription: Sendable, Hashable {
    public var name: KMSKeyName
    public var purpose: KMSKeyPurpose
    /// For example `aes256-gcm96`.
    public var type: String
    /// 1 for a key that was never rotated.
    public var latestVersion: Int
    /// Blobs sealed under lower versions no longer open, while it stays so.
    public var minimumVersion: Int
    /// Lower versions are destroyed: what they sealed is lost for ever.
    public var earliestVersion: Int
    public var state: KMSKeyState
    /// 32 bytes: the public half of the latest version of an Ed25519 key.
    public var publicKey: [UInt8]?

    public init(
        name: KMSKeyName, purpose: KMSKeyPurpose = .sealing, type: String, latestVersion: Int, minimumVersion: Int,
        earliestVersion: Int = 1, state: KMSKeyState = .enabled, publicKey: [UInt8]? = nil
    ) {
        self.name = name
        self.purpose = purpose
        self.type = type
        self.latestVersion = latestVersion
        self.minimumVersion = minimumVersion
        self.earliestVersion = earliestVersion
        self.state = state
        self.publicKey = publicKey
    }
}
