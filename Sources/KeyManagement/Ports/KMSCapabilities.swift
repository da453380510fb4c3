/// How a KMS binds a ``SealingContext`` to what it seals.
public enum KMSContextBinding: String, Sendable, Codable {
    /// As the associated data of an AEAD.
    case associatedData
    /// By deriving the key from it.
    case derivedKey
    /// It has no means of its own: ``CompletedKMS`` seals the context's hash beside the secret.
    case hashInside
    /// Not at all. Nothing is registered with such a KMS.
    case none
}

/// What a KMS can be asked to seal.
public enum KMSSealing: String, Sendable, Codable {
    /// Any secret of up to ``KMSCapabilities/maximumPlaintextBytes``: modes direct and envelope.
    case secrets
    /// Data keys alone, because it notices no alteration of what it sealed (AES-CBC): mode envelope only.
    case dataKeys
}

/// What a KMS can vouch for, so that one who is not beside it believes where its keys are.
public enum KMSAttestation: String, Sendable, Codable {
    case none
    /// Attributes that say where a key was made and that it cannot leave, as the KMS states them, unsigned: those of
    /// PKCS#11 (`CKA_LOCAL`, `CKA_NEVER_EXTRACTABLE`).
    case attributes
    /// A statement signed by the maker of the hardware.
    case signed
}

/// Who can be authenticated at a KMS.
public struct KMSAuthentication: OptionSet, Sendable, Hashable {
    public let rawValue: Int
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// The gateway by its own credential.
    public static let service = KMSAuthentication(rawValue: 1)
    /// The principal whose request it is, by a credential that the gateway forwards.
    public static let caller = KMSAuthentication(rawValue: 2)
}

/// What a KMS can do; the flows choose by it.
public struct KMSCapabilities: Sendable, Hashable {
    public var contextBinding: KMSContextBinding
    public var sealing: KMSSealing
    /// Rewraps without showing the plaintext to the caller.
    public var nativeRewrap: Bool
    /// Gives random bytes of its own generator.
    public var random: Bool
    /// Signs with Ed25519 keys of its own.
    public var sign: Bool
    /// Destroys single versions of a key, so that what only they open is lost for ever.
    public var destroysVersions: Bool
    /// Longest secret that can be sealed, in bytes.
    public var maximumPlaintextBytes: Int
    public var attestation: KMSAttestation
    public var authenticates: KMSAuthentication
    /// True only for the embedded development keystore.
    public var developmentOnly: Bool

    public init(
        contextBinding: KMSContextBinding, sealing: KMSSealing = .secrets, nativeRewrap: Bool, random: Bool,
        sign: Bool, destroysVersions: Bool = false, maximumPlaintextBytes: Int, attestation: KMSAttestation = .none,
        authenticates: KMSAuthentication = .service, developmentOnly: Bool
    ) {
        self.contextBinding = contextBinding
        self.sealing = sealing
        self.nativeRewrap = nativeRewrap
        self.random = random
        self.sign = sign
        self.destroysVersions = destroysVersions
        self.maximumPlaintextBytes = maximumPlaintextBytes
        self.attestation = attestation
        self.authenticates = authenticates
        self.developmentOnly = developmentOnly
    }
}
