import Attestation

/// A name of somebody or something on record: itself, or in its place a keyed hash, by which records of the same one
/// are found to belong together without its name.
public enum AuditIdentifier: Sendable, Hashable {
    case plain(String)
    /// HMAC-SHA-256, see ``AuditIdentifierPolicy``.
    case keyed(Digest)

    var bounded: AuditIdentifier {
        switch self {
        case .plain(let text): .plain(AuditText.bounded(text))
        case .keyed: self
        }
    }

    /// For people: the name, or `hmac:` and 64 hex digits.
    public var text: String {
        switch self {
        case .plain(let text): text
        case .keyed(let digest): "hmac:\(digest.hex)"
        }
    }
}

/// Which identifiers are replaced by keyed hashes, and under which key.
///
/// The message of the HMAC is, each with its length in front as a big-endian u32: `HKMS-audit-identifier-v1`, the
/// field's name, the issuer (of subjects and groups; else empty), the identifier.
public struct AuditIdentifierPolicy: Sendable {
    public enum Field: String, Sendable, CaseIterable {
        case subject, tenant, groups, keySet
    }

    let fields: Set<Field>
    let key: DigestKey?

    /// Nothing is replaced.
    public static let plain = AuditIdentifierPolicy(fields: [], key: nil)

    public init(hashing fields: Set<Field>, under key: DigestKey) {
        self.init(fields: fields, key: key)
    }

    private init(fields: Set<Field>, key: DigestKey?) {
        self.fields = fields
        self.key = key
    }

    func applied(to identifier: AuditIdentifier, _ field: Field, within issuer: String = "") -> AuditIdentifier {
        guard fields.contains(field), let key, case .plain(let text) = identifier else { return identifier }
        return .keyed(Self.digest(of: text, field, within: issuer, under: key))
    }

    /// What stands in a log in place of an identifier, for those who look for one and have the key.
    public static func digest(
        of text: String, _ field: Field, within issuer: String = "", under key: DigestKey
    ) -> Digest {
        var message = CanonicalBytes()
        for part in ["HKMS-audit-identifier-v1", field.rawValue, issuer, AuditText.bounded(text)] {
            message.append(part)
        }
        return key.digest(of: message.bytes)
    }
}
