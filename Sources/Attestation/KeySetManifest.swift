import Crypto
import HomomorphicEncryption
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Who owns a key set: one principal or a group of its tenant.
public struct KeySetOwner: Sendable, Hashable, Codable {
    public enum Kind: String, Sendable, Codable {
        case user
        case group
    }
    public let kind: Kind
    /// Who vouches for the subject: `static`, or an OIDC issuer.
    public let issuer: String
    public let subject: String

    public init(kind: Kind, issuer: String, subject: String) {
        self.kind = kind
        self.issuer = issuer
        self.subject = subject
    }

    /// Byte by byte: Swift takes texts for equal that Unicode calls equivalent, and an issuer may have given two
    /// people such names.
    public static func == (one: KeySetOwner, other: KeySetOwner) -> Bool {
        one.kind == other.kind && one.issuer.utf8.elementsEqual(other.issuer.utf8)
            && one.subject.utf8.elementsEqual(other.subject.utf8)
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        for text in [issuer, subject] { hasher.combine(Array(text.utf8)) }
    }
}

/// States of a key, SP 800-57 part 1 revision 5, section 7.
public enum KeySetState: String, Sendable, Codable, CaseIterable {
    case preActivation = "pre-activation"
    case active
    case suspended
    case deactivated
    case compromised
    case destroyed
}

/// How the seed is sealed.
public enum ProtectionMode: String, Sendable, Codable, CaseIterable {
    /// The trusted KMS seals the seed.
    case direct
    /// The trusted KMS seals a data key, and that seals the seed: the KMS never handles the seed.
    case envelope
    /// Nothing seals the seed: it lives for one request and is never stored.
    case ephemeral
}

/// Whose credential opens what the trusted KMS sealed.
public enum SealingAuthority: String, Sendable, Codable {
    /// The gateway's.
    case service
    /// The principal's own: without it the gateway cannot open the seed.
    case principal
}

/// A KMS key under which a seed or its data key is sealed, or was.
public struct SealingPlace: Sendable, Hashable, Codable {
    /// Name of the KMS in the gateway's configuration.
    public var provider: String
    public var keyName: String
    public var keyVersion: Int?

    public init(provider: String, keyName: String, keyVersion: Int?) {
        self.provider = provider
        self.keyName = keyName
        self.keyVersion = keyVersion
    }
}

/// Where a secret key came from.
public enum KeyOrigin: String, Sendable, Codable {
    case derived
    case imported
}

/// How decrypted results are released.
public enum ReleaseNoise: String, Sendable, Codable {
    /// As they are. Shown to others, they give the key away (Li and Micciancio, 2021).
    case raw
    /// With noise that hides the ciphertext's own.
    case flooded
    /// The integers that a BFV circuit computes: decoding rounds the ciphertext's noise away, and circuits that could
    /// fail more often than once in 2^128 are not evaluated. Nothing of the noise leaves.
    case exact
}

extension Scheme {
    /// How results leave where no noise is added to them.
    public var unfloodedRelease: ReleaseNoise {
        switch self {
        case .ckks: .raw
        case .bfv: .exact
        }
    }
}

/// The rules of a key set that are signed with it.
public struct KeySetPolicy: Sendable, Hashable, Codable {
    /// `raw` taints: no later version of the manifest says anything else, and nothing of it is for others.
    public let release: ReleaseNoise
    /// Decryption of any ciphertext: equal to handing over the secret key.
    public let decryptAny: Bool
    /// Decryptions that are granted, over the key set's life; nil for no limit, which flooding does not have.
    public let decryptionBudget: Int?
    /// The noise, where there is any.
    public let flooding: FloodedRelease?

    /// Results leave as they are, to the owner alone.
    public static func raw(decryptAny: Bool = false, decryptionBudget: Int? = nil) -> KeySetPolicy {
        KeySetPolicy(release: .raw, decryptAny: decryptAny, decryptionBudget: decryptionBudget, flooding: nil)
    }

    /// Results leave with noise, as often as its budget says.
    public static func flooded(_ flooding: FloodedRelease, decryptAny: Bool = false) -> KeySetPolicy {
        KeySetPolicy(
            release: .flooded, decryptAny: decryptAny, decryptionBudget: flooding.policy.budget, flooding: flooding)
    }

    /// Results leave as decryption gives them: raw in CKKS, exact in BFV.
    public static func unflooded(
        _ scheme: Scheme, decryptAny: Bool = false, decryptionBudget: Int? = nil
    ) -> KeySetPolicy {
        KeySetPolicy(
            release: scheme.unfloodedRelease, decryptAny: decryptAny, decryptionBudget: decryptionBudget, flooding: nil)
    }

    private init(release: ReleaseNoise, decryptAny: Bool, decryptionBudget: Int?, flooding: FloodedRelease?) {
        self.release = release
        self.decryptAny = decryptAny
        self.decryptionBudget = decryptionBudget
        self.flooding = flooding
    }

    /// Whom results are for.
    public var audience: ReleaseAudience { flooding?.policy.audience ?? .owner }

    private enum CodingKeys: String, CodingKey {
        case release, decryptAny, decryptionBudget, flooding
    }

    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        release = try container.decode(ReleaseNoise.self, forKey: .release)
        decryptAny = try container.decode(Bool.self, forKey: .decryptAny)
        decryptionBudget = try container.decodeIfPresent(Int.self, forKey: .decryptionBudget)
        flooding = try container.decodeIfPresent(FloodedRelease.self, forKey: .flooding)
        guard (release == .flooded) == (flooding != nil),
            flooding == nil || flooding?.policy.budget == decryptionBudget,
            !(audience == .shared && decryptAny)
        else {
            throw DecodingError.dataCorruptedError(
                forKey: .release, in: container, debugDescription: "the policy contradicts itself")
        }
    }
}

/// One stored public object of a key set.
public struct KeySetObject: Sendable, Hashable, Codable {
    public enum Kind: String, Sendable, Codable {
        case publicKey = "public"
        case relinearization
        case galois
        case switching
    }
    public let kind: Kind
    /// Galois element; 0 for the other kinds.
    public let galois: UInt32
    public let level: Int
    public let generation: UInt32
    public let bytes: Int
    public let digest: Digest

    public init(kind: Kind, galois: UInt32, level: Int, generation: UInt32, bytes: Int, digest: Digest) {
        self.kind = kind
        self.galois = galois
        self.level = level
        self.generation = generation
        self.bytes = bytes
        self.digest = digest
    }

    /// Name in the object store and in URLs: `public-key`, `relinearization`, `galois-3`.
    public var name: String {
        switch kind {
        case .publicKey: "public-key"
        case .relinearization: "relinearization"
        case .galois: "galois-\(galois)"
        case .switching: "switching"
        }
    }
}

/// What a key set is: signed as a whole by the tenant's manifest key, and in its unchanging part proved
/// by the seed.
public struct KeySetManifest: Statement, Hashable {
    public static let payloadType = "application/vnd.hkms.manifest.v2+json"
    /// Version 1 had neither flooded nor exact release.
    public static let earlierPayloadTypes = ["application/vnd.hkms.manifest.v1+json"]

    public struct Sealing: Sendable, Hashable, Codable {
        public var mode: ProtectionMode
        /// Name of the trusted KMS in the gateway's configuration, by default its kind: `software`, `openbao`.
        public var provider: String
        public var keyName: String
        public var keyVersion: Int?
        /// One more with every rewrap and reseal. Not in the sealing context: a native rewrap cannot change
        /// that.
        public var epoch: Int
        /// SHA-256 of the stored sealed seed; nil where nothing is stored.
        public var sealedSeed: Digest?
        /// In envelope mode.
        public var sealedDataKey: Digest?
        /// Epoch in which the seed was sealed under another data key; nil for the first.
        public var seedEpoch: Int?
        /// Nil for the gateway's.
        public var authority: SealingAuthority?
        /// Where it was sealed before, each key with the latest of its versions: whoever kept old sealed objects opens
        /// them as long as one of these lives.
        public var earlier: [SealingPlace]?

        public init(
            mode: ProtectionMode, provider: String, keyName: String, keyVersion: Int?, epoch: Int,
            sealedSeed: Digest?, sealedDataKey: Digest?, authority: SealingAuthority? = nil
        ) {
            self.mode = mode
            self.provider = provider
            self.keyName = keyName
            self.keyVersion = keyVersion
            self.epoch = epoch
            self.sealedSeed = sealedSeed
            self.sealedDataKey = sealedDataKey
            self.authority = authority
        }

        /// Where it is sealed now.
        public var place: SealingPlace {
            SealingPlace(provider: provider, keyName: keyName, keyVersion: keyVersion)
        }

        /// Every place in which something can be that opens the seed.
        public var places: [SealingPlace] { [place] + (earlier ?? []) }
    }

    public struct Dates: Sendable, Hashable, Codable {
        public var created: Date
        public var activated: Date?
        public var deactivated: Date?
        public var destroyed: Date?

        public init(created: Date, activated: Date? = nil, deactivated: Date? = nil, destroyed: Date? = nil) {
            self.created = created
            self.activated = activated
            self.deactivated = deactivated
            self.destroyed = destroyed
        }
    }

    public var keySet: String
    /// 1 for the first, one more with every signature.
    public var version: Int
    public var installation: String
    public var tenant: String
    public var owner: KeySetOwner
    public var parameters: EncryptionParameters
    public var parameterDigest: Digest
    public var suite: Int
    public var generation: UInt32
    public var origin: KeyOrigin
    public var sealing: Sealing
    /// commit of derivation suite 1.
    public var commitment: Digest
    public var objects: [KeySetObject]
    public var state: KeySetState
    public var dates: Dates
    public var policy: KeySetPolicy
    /// The circuit that the keys were made for; nil for keys made from a preset.
    public var profile: CircuitProfile?
    /// HMAC-SHA-256 over ``unchangingBytes`` under the seed's manifest key: a stolen signing key cannot
    /// swap a public key for ever.
    public var seedProof: Digest

    public init(
        keySet: String, version: Int, installation: String, tenant: String, owner: KeySetOwner,
        parameters: EncryptionParameters, parameterDigest: Digest, suite: Int, generation: UInt32,
        origin: KeyOrigin, sealing: Sealing, commitment: Digest, objects: [KeySetObject], state: KeySetState,
        dates: Dates, policy: KeySetPolicy, profile: CircuitProfile?, manifestKey: borrowing SecretBytes
    ) {
        self.keySet = keySet
        self.version = version
        self.installation = installation
        self.tenant = tenant
        self.owner = owner
        self.parameters = parameters
        self.parameterDigest = parameterDigest
        self.suite = suite
        self.generation = generation
        self.origin = origin
        self.sealing = sealing
        self.commitment = commitment
        self.objects = objects
        self.state = state
        self.dates = dates
        self.policy = policy
        self.profile = profile
        seedProof = Digest(of: [])
        seedProof = Self.proof(unchangingBytes, manifestKey)
    }

    /// True if the seed behind `manifestKey` proves the unchanging part. Constant time.
    public func isProved(by manifestKey: borrowing SecretBytes) -> Bool {
        equalInConstantTime(Self.proof(unchangingBytes, manifestKey).bytes, seedProof.bytes)
    }

    /// The public key's entry.
    public var publicKey: KeySetObject? { objects.first { $0.kind == .publicKey } }

    private var unchangingBytes: [UInt8] {
        var canonical = CanonicalBytes()
        canonical.append("HKMS-manifest-proof-v1")
        canonical.append(keySet)
        canonical.append(suite)
        canonical.append(parameterDigest.bytes)
        canonical.append(origin.rawValue)
        canonical.append(Int(generation))
        for object in objects {
            canonical.append(object.kind.rawValue)
            canonical.append(Int(object.galois))
            canonical.append(object.level)
            canonical.append(Int(object.generation))
            canonical.append(object.digest.bytes)
        }
        return canonical.bytes
    }

    private static func proof(_ message: [UInt8], _ key: borrowing SecretBytes) -> Digest {
        let symmetric = key.withUnsafeBytes { SymmetricKey(data: $0) }
        let code = Array(HMAC<SHA256>.authenticationCode(for: message, using: symmetric))
        return Digest(bytes: code) ?? Digest(of: [])
    }
}
