import Attestation

/// Under which keys of a KMS new seeds and data keys are sealed.
public enum KeyPlacement: String, Sendable, CaseIterable {
    /// One key for all key sets.
    case shared
    /// A key for each key set, which goes with it: destroying a key set shreds it.
    case perKeySet
    /// A key for each principal, which the KMS lets nobody else open with: the gateway forwards the principal's own
    /// credential.
    case perPrincipal
}

/// One trusted KMS of an installation, with what the configuration says of it.
public struct ConfiguredKMS: Sendable {
    /// What manifests call it; by default its kind, such as `openbao`.
    public let name: String
    public let kms: any TrustedKMS
    /// The shared key: seals the installation's own secret, and key sets as `placement` says.
    public let key: KMSKeyName
    public let placement: KeyPlacement

    public init(name: String? = nil, _ kms: any TrustedKMS, key: KMSKeyName, placement: KeyPlacement = .shared) {
        self.name = name ?? kms.provider
        self.kms = kms
        self.key = key
        self.placement = placement
    }

    /// Whose credential opens what is sealed now; nil for the gateway's.
    var authority: SealingAuthority? { placement == .perPrincipal ? .principal : nil }
}

/// The trusted KMSs of an installation: the one that seals what is new, and those that still open what they sealed.
public struct KMSDirectory: Sendable {
    public let current: ConfiguredKMS
    public let others: [ConfiguredKMS]

    public init(_ current: ConfiguredKMS, others: [ConfiguredKMS] = []) {
        self.current = current
        self.others = others
    }

    /// One KMS under its own name, with one key for everything.
    public init(_ kms: any TrustedKMS, key: KMSKeyName) { self.init(ConfiguredKMS(kms, key: key)) }

    public var all: [ConfiguredKMS] { [current] + others }

    /// - Throws: `unknownKMS`.
    func kms(named name: String) throws(KeyManagementError) -> ConfiguredKMS {
        guard let known = all.first(where: { $0.name == name }) else { throw .unknownKMS(String(name.prefix(64))) }
        return known
    }

    /// Closes connections and forgets credentials.
    public func shutdown() async { for known in all { await known.kms.shutdown() } }
}
