import Attestation

/// Who asks: an authenticated principal with its tenant and groups.
public struct Requester: Sendable, Hashable {
    public let issuer: String
    public let subject: String
    public let tenant: String
    public let groups: [String]
    /// What the principal sent for the trusted KMS to know it by; nil where it sent nothing.
    public let kmsCredential: KMSCredential?

    public init(
        issuer: String, subject: String, tenant: String, groups: [String], kmsCredential: KMSCredential? = nil
    ) {
        self.issuer = issuer
        self.subject = subject
        self.tenant = tenant
        self.groups = groups
        self.kmsCredential = kmsCredential
    }

    /// The owner of what this principal registers for itself.
    public var owner: KeySetOwner { KeySetOwner(kind: .user, issuer: issuer, subject: subject) }

    /// Itself, and its groups.
    package var owners: [KeySetOwner] {
        [owner] + groups.map { KeySetOwner(kind: .group, issuer: issuer, subject: $0) }
    }

    func mayUse(_ row: KeySetRow) -> Bool { isOf(row.tenant) && owners.contains(row.owner) }

    /// Byte by byte, as owners are.
    func isOf(_ tenant: String) -> Bool { self.tenant.utf8.elementsEqual(tenant.utf8) }

    static func index(tenant: String, owner: KeySetOwner) -> String {
        var canonical = CanonicalBytes()
        for field in [tenant, owner.kind.rawValue, owner.issuer, owner.subject] { canonical.append(field) }
        return Digest(of: canonical.bytes).hex
    }
}
