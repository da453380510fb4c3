/// What a credential may do at a KMS beyond what a gateway needs.
public enum KMSPrivilege: String, Sendable, Codable, CaseIterable {
    /// Everything, as a root token may.
    case everything
    case createKeys
    case rotateKey
    case destroyVersions
    case destroyKey
    /// Takes the key itself out of the KMS.
    case exportKey
    /// Seals and opens under principals' own keys without their credentials.
    case actForPrincipals
    /// Changes who may do what, or the engine that holds the keys.
    case administer
}

/// A KMS that tells what the gateway's own credential may do there.
public protocol KMSPrivilegeReport: TrustedKMS {
    /// Asks, and does none of it.
    /// - Returns: what a gateway does not need; empty where the credential may no more than it must.
    /// - Throws: ``KMSError/denied(reason:)`` where it may not even ask.
    func excessPrivileges(on key: KMSKeyName) async throws(KMSError) -> Set<KMSPrivilege>
}
