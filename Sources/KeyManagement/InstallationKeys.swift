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

    /// A fresh secret, sealed by the current KMS.
    /// - Returns: the keys, and the sealed secret to keep beside the configuration.
    public static func create(
        installation: String, tenant: String, kms: KMSDirectory
    ) async throws(KeyManagementError) -> (InstallationKeys, sealed: [UInt8]) {
        do {
            let secret = try SecretBytes(randomCount: secretBytes)
            let sealed = try await seal(secret, installation: installation, tenant: tenant, kms: kms.current)
            return (try InstallationKeys(secret: secret, tenant: tenant), sealed)
        } catch { throw KeyManagementError(error) }
    }

    /// Opens what ``create(installation:tenant:kms:)`` or ``resealed(_:installation:tenant:kms:to:)`` sealed, with
    /// whichever of the KMSs does it.
    /// - Throws: the current KMS's error where none does.
    public static func open(
        _ sealed: [UInt8], installation: String, tenant: String, kms: KMSDirectory
    ) async throws(KeyManagementError) -> InstallationKeys {
        do {
            let secret = try await secret(in: sealed, installation: installation, tenant: tenant, kms: kms)
            return try InstallationKeys(secret: secret, tenant: tenant)
        } catch { throw KeyManagementError(error) }
    }

    /// The same secret, sealed anew: by another KMS, or under the latest version of its key.
    /// - Returns: what was opened once more before it was returned.
    public static func resealed(
        _ sealed: [UInt8], installation: String, tenant: String, kms: KMSDirectory, to target: ConfiguredKMS
    ) async throws(KeyManagementError) -> [UInt8] {
        do {
            let secret = try await secret(in: sealed, installation: installation, tenant: tenant, kms: kms)
            let fresh = try await seal(secret, installation: installation, tenant: tenant, kms: target)
            let opened = try await self.secret(
                in: fresh, installation: installation, tenant: tenant, kms: KMSDirectory(target))
            guard opened.equals(secret) else {
                throw KMSError.invalidResponse(reason: "it does not open what it sealed")
            }
            return fresh
        } catch { throw KeyManagementError(error) }
    }

    /// Version of the KMS key that sealed it; nil where the KMS tells none.
    public static func keyVersion(of sealed: [UInt8]) -> Int? {
        (try? SealedObject.parse(sealed, limit: 2))?.first?.blob.keyVersion
    }

    private static let secretBytes = 32
    private static let name = "the installation's sealed signing key"

    private static func seal(
        _ secret: borrowing SecretBytes, installation: String, tenant: String, kms: ConfiguredKMS
    ) async throws -> [UInt8] {
        let context = SealingContext(installation: installation, tenant: tenant)
        if kms.kms.capabilities.sealing == .secrets {
            let blob = try await kms.kms.seal(secret, under: kms.key, context: context, as: .service)
            return try SealedObject(object: .signingKey, sealedBy: .kms, blob: blob).serialized()
        }
        let dataKey = try await kms.kms.generateDataKey(
            under: kms.key, context: SealingContext(installation: installation, tenant: tenant, object: .dataKey),
            as: .service)
        let box = try EnvelopeEncryption.seal(secret, dataKey: dataKey.plaintext, context: context)
        return try SealedObject(object: .dataKey, sealedBy: .kms, blob: dataKey.sealed).serialized()
            + SealedObject(
                object: .signingKey, sealedBy: .dataKey, blob: KMSSealedBlob(bytes: box, keyVersion: nil)
            ).serialized()
    }

    private static func secret(
        in sealed: [UInt8], installation: String, tenant: String, kms: KMSDirectory
    ) async throws -> SecretBytes {
        let objects = try SealedObject.parse(sealed, limit: 2)
        guard let first = objects.first, let last = objects.last, first.sealedBy == .kms, last.object == .signingKey,
            objects.count == 1 || first.object == .dataKey && last.sealedBy == .dataKey
        else { throw KeyManagementError.objectTampered(name) }
        let context = SealingContext(installation: installation, tenant: tenant)
        let opened: SecretBytes
        if objects.count == 1 {
            opened = try await open(first.blob, context: context, kms: kms)
        } else {
            let dataKey = try await open(
                first.blob, context: SealingContext(installation: installation, tenant: tenant, object: .dataKey),
                kms: kms)
            opened = try EnvelopeEncryption.open(last.blob.bytes, dataKey: dataKey, context: context)
        }
        guard opened.count == secretBytes else { throw KeyManagementError.objectTampered(name) }
        return opened
    }

    /// The file does not say which KMS sealed it: it may have moved since the configuration was written.
    private static func open(
        _ blob: KMSSealedBlob, context: SealingContext, kms: KMSDirectory
    ) async throws -> SecretBytes {
        var first: KMSError?
        for known in kms.all {
            do throws(KMSError) {
                return try await known.kms.open(blob, under: known.key, context: context, as: .service)
            } catch { first = first ?? error }
        }
        throw first ?? .cannotOpen
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
