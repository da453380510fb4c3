import Attestation
import Crypto
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// An installation's own keys, all derived from one 32-byte secret that the trusted KMS seals: the
/// tenant's manifest signing key, the gateway's request signing key, the key that authenticates metadata
/// rows, the keys of the audit log.
public final class InstallationKeys: Sendable {
    /// Signs manifests; its public half is pinned by gateways and evaluation units.
    public let manifestKey: SigningKey
    /// Signs requests and jobs; its public half is pinned by evaluation units.
    public let requestKey: SigningKey
    /// Signs the checkpoints of the audit log.
    public let auditKey: SigningKey
    /// Replaces identifiers in the audit log where its configuration asks for it.
    public let auditIdentifierKey: DigestKey
    private let rowKey: SecretBytes

    private init(secret: borrowing SecretBytes, tenant: String) throws(KeyManagementError) {
        do {
            manifestKey = try SigningKey(seed: Self.derive(secret, "manifest-signing", tenant))
            requestKey = try SigningKey(seed: Self.derive(secret, "request-signing", tenant))
            auditKey = try SigningKey(seed: Self.derive(secret, "audit-signing", tenant))
            auditIdentifierKey = DigestKey(secret: try Self.derive(secret, "audit-identifiers", tenant))
            rowKey = try Self.derive(secret, "metadata-rows", tenant)
        } catch { throw KeyManagementError(error) }
    }

    /// A fresh secret, sealed by the KMS.
    /// - Returns: the keys, and the sealed secret to keep beside the configuration.
    public static func create(
        installation: String, tenant: String, kms: any TrustedKMS, key: KMSKeyName
    ) async throws(KeyManagementError) -> (InstallationKeys, sealed: [UInt8]) {
        do {
            let secret = try SecretBytes(randomCount: 32)
            let context = SealingContext(installation: installation, tenant: tenant)
            let blob = try await kms.seal(secret, under: key, context: context, as: .service)
            return (
                try InstallationKeys(secret: secret, tenant: tenant),
                try SealedObject(object: .signingKey, sealedBy: .kms, blob: blob).serialized()
            )
        } catch { throw KeyManagementError(error) }
    }

    /// Opens what ``create(installation:tenant:kms:key:)`` sealed.
    public static func open(
        _ sealed: [UInt8], installation: String, tenant: String, kms: any TrustedKMS, key: KMSKeyName
    ) async throws(KeyManagementError) -> InstallationKeys {
        do {
            let object = try SealedObject(parsing: sealed)
            guard object.object == .signingKey, object.sealedBy == .kms else {
                throw KeyManagementError.objectTampered("the installation's sealed signing key")
            }
            let context = SealingContext(installation: installation, tenant: tenant)
            let secret = try await kms.open(object.blob, under: key, context: context, as: .service)
            guard secret.count == 32 else {
                throw KeyManagementError.objectTampered("the installation's sealed signing key")
            }
            return try InstallationKeys(secret: secret, tenant: tenant)
        } catch { throw KeyManagementError(error) }
    }

    private static func derive(
        _ secret: borrowing SecretBytes, _ purpose: String, _ tenant: String
    ) throws -> SecretBytes {
        var info = CanonicalBytes()
        info.append("HKMS-installation-key-v1")
        info.append(purpose)
        info.append(tenant)
        let key = secret.withUnsafeBytes { secret in
            HKDF<SHA512>.deriveKey(
                inputKeyMaterial: SymmetricKey(data: secret), info: info.bytes, outputByteCount: 32)
        }
        var result = try SecretBytes(count: 32)
        key.withUnsafeBytes { key in result.withUnsafeMutableBytes { $0.copyMemory(from: key) } }
        return result
    }

    /// HMAC-SHA-256 of a metadata row.
    func rowCode(_ message: [UInt8]) -> [UInt8] {
        let key = rowKey.withUnsafeBytes { SymmetricKey(data: $0) }
        return Array(HMAC<SHA256>.authenticationCode(for: message, using: key))
    }
}
