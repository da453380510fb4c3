import Attestation
import HomomorphicEncryption

/// The additional authenticated data of one sealing: who and what a sealed secret belongs to.
///
/// A sealed seed moved to another key set, owner, tenant or parameter set fails to open, because the
/// context there differs. Everything in it stays the same for the life of the sealed secret; the seal
/// epoch, which does not, is in the signed manifest.
public struct SealingContext: Sendable, Hashable {
    /// What is sealed.
    public enum Object: String, Sendable {
        case seed
        case dataKey = "data-key"
        case signingKey = "signing-key"
    }

    /// The encoded context, fields in the order of docs/formats.md.
    public let bytes: [UInt8]

    /// The context of a key set's seed or data key.
    package init(
        installation: String, tenant: String, owner: KeySetOwner, keySet: String, parameters: EncryptionParameters,
        suite: Int, origin: KeyOrigin, object: Object, mode: ProtectionMode
    ) {
        var canonical = CanonicalBytes()
        canonical.append("HKMS-sealing-context-v1")
        canonical.append(installation)
        canonical.append(tenant)
        canonical.append(owner.kind.rawValue)
        canonical.append(owner.issuer)
        canonical.append(owner.subject)
        canonical.append(keySet)
        canonical.append(Int(parameters.scheme.rawValue))
        canonical.append(parameters.digest)
        canonical.append(suite)
        canonical.append(origin.rawValue)
        canonical.append(object.rawValue)
        canonical.append(mode.rawValue)
        canonical.append("single")  // recipient policy: one trusted KMS
        bytes = canonical.bytes
    }

    /// The context of an installation's own signing secret, or of the data key that seals it.
    init(installation: String, tenant: String, object: Object = .signingKey) {
        var canonical = CanonicalBytes()
        canonical.append("HKMS-sealing-context-v1")
        canonical.append(installation)
        canonical.append(tenant)
        canonical.append(object.rawValue)
        canonical.append("single")
        bytes = canonical.bytes
    }

    /// The context of what is sealed to see whether a KMS works, and thrown away: no key set and no installation has
    /// anything under it.
    package static func probe(installation: String, tenant: String) -> SealingContext {
        SealingContext(fields: ["HKMS-sealing-context-v1", installation, tenant, "probe", "single"])
    }

    private init(fields: [String]) {
        var canonical = CanonicalBytes()
        for field in fields { canonical.append(field) }
        bytes = canonical.bytes
    }

    /// A context of arbitrary fields, for the conformance tests of adapters.
    public static func forTests(_ fields: [String]) -> SealingContext { SealingContext(fields: fields) }
}
