import Attestation
import Crypto
import SecretKeys
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A KMS with what its adapter says that it lacks supplied, once for all adapters: the binding to a context, data keys
/// of a KMS that notices no alteration, rewrapping, a generator.
///
/// Blobs of a KMS that lacks nothing pass as they are. docs/formats.md has the others.
public struct CompletedKMS: ForwardingKMS {
    public let inner: any TrustedKMS
    private let form: Form

    /// What the backend is given to seal.
    private enum Form {
        /// The secret; the backend binds the context.
        case native
        /// version || secret || SHA-256(context), compared after opening. Never a second AEAD under a key that nothing
        /// protects.
        case hashInside
        /// 32 random bytes, from which data key and check are derived together with the context.
        case derivedDataKey
    }

    private static let version: UInt8 = 1
    private static let hashBytes = 32
    private static let materialBytes = 32

    public init(_ inner: any TrustedKMS) {
        self.inner = inner
        let capabilities = inner.capabilities
        form =
            capabilities.sealing == .dataKeys
            ? .derivedDataKey : capabilities.contextBinding == .none ? .hashInside : .native
    }

    public var capabilities: KMSCapabilities {
        var capabilities = inner.capabilities
        capabilities.random = true
        switch form {
        case .native: break
        case .hashInside:
            capabilities.contextBinding = .hashInside
            capabilities.maximumPlaintextBytes -= 1 + Self.hashBytes
        case .derivedDataKey:
            capabilities.contextBinding = .derivedKey
            capabilities.maximumPlaintextBytes = Self.materialBytes
        }
        return capabilities
    }

    // MARK: Sealing

    public func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        switch form {
        case .native: return try await inner.seal(secret, under: key, context: context, as: caller)
        case .hashInside:
            guard (1...capabilities.maximumPlaintextBytes).contains(secret.count) else {
                throw .notSupported(operation: "sealing \(secret.count) bytes")
            }
            let framed = try Self.framed(secret, context)
            return try await inner.seal(framed, under: key, context: context, as: caller)
        case .derivedDataKey:
            throw .notSupported(operation: "sealing anything but data keys: use mode envelope")
        }
    }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        switch form {
        case .native: return try await inner.open(sealed, under: key, context: context, as: caller)
        case .hashInside:
            let framed = try await inner.open(sealed, under: key, context: context, as: caller)
            return try Self.unframed(framed, context)
        case .derivedDataKey:
            let (check, wrapped) = try Self.split(sealed)
            let material = try await inner.open(wrapped, under: key, context: context, as: caller)
            return try Self.dataKey(of: material, context, check: check)
        }
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        switch form {
        case .native: return try await inner.generateDataKey(under: key, context: context, as: caller)
        case .hashInside:
            let dataKey = try await material()
            let sealed = try await seal(dataKey, under: key, context: context, as: caller)
            return KMSDataKey(plaintext: dataKey, sealed: sealed)
        case .derivedDataKey:
            let material = try await material()
            let wrapped = try await inner.seal(material, under: key, context: context, as: caller)
            let derived = try Self.derive(material, context)
            let check = derived.withUnsafeBytes { Array($0[32...]) }
            return KMSDataKey(
                plaintext: try Self.prefix(derived),
                sealed: KMSSealedBlob(
                    bytes: [Self.version] + check + wrapped.bytes, keyVersion: wrapped.keyVersion))
        }
    }

    public func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        switch form {
        case .native, .hashInside:
            if inner.capabilities.nativeRewrap {
                return try await inner.rewrap(sealed, under: key, context: context, as: caller)
            }
            let secret = try await open(sealed, under: key, context: context, as: caller)
            return try await seal(secret, under: key, context: context, as: caller)
        case .derivedDataKey:
            // The material stays, and with it the data key and what is sealed under it.
            let (check, wrapped) = try Self.split(sealed)
            let material = try await inner.open(wrapped, under: key, context: context, as: caller)
            _ = try Self.dataKey(of: material, context, check: check)
            let fresh = try await inner.seal(material, under: key, context: context, as: caller)
            return KMSSealedBlob(bytes: [Self.version] + check + fresh.bytes, keyVersion: fresh.keyVersion)
        }
    }

    public func rewrap(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        if form != .derivedDataKey, inner.capabilities.nativeRewrap {
            return try await inner.rewrap(items, under: key, as: caller)
        }
        return try await rewrapOneByOne(items, under: key, as: caller)
    }

    /// Bytes of the KMS's generator, or of the operating system's where it has none.
    public func random(count: Int) async throws(KMSError) -> SecretBytes {
        if inner.capabilities.random { return try await inner.random(count: count) }
        guard (1...1024).contains(count) else { throw .notSupported(operation: "\(count) random bytes") }
        do throws(SecretMemoryError) {
            return try SecretBytes(randomCount: count)
        } catch {
            throw .memory(error)
        }
    }

    /// 32 bytes that are random where one of the two generators is.
    private func material() async throws(KMSError) -> SecretBytes {
        let theirs = try await random(count: Self.materialBytes)
        do throws(SecretMemoryError) {
            var material = try SecretBytes(randomCount: Self.materialBytes)
            guard theirs.count == Self.materialBytes else { return material }
            material.withUnsafeMutableBytes { material in
                theirs.withUnsafeBytes { for index in material.indices { material[index] ^= $0[index] } }
            }
            return material
        } catch { throw .memory(error) }
    }

    // MARK: The context's hash inside

    private static func framed(
        _ secret: borrowing SecretBytes, _ context: SealingContext
    ) throws(KMSError) -> SecretBytes {
        var framed = try bytes(1 + secret.count + hashBytes)
        let hash = Array(SHA256.hash(data: context.bytes))
        framed.withUnsafeMutableBytes { framed in
            framed[0] = version
            secret.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: framed[1...]).copyMemory(from: $0)
            }
            UnsafeMutableRawBufferPointer(rebasing: framed[(framed.count - hashBytes)...]).copyBytes(from: hash)
        }
        return framed
    }

    private static func unframed(
        _ framed: borrowing SecretBytes, _ context: SealingContext
    ) throws(KMSError) -> SecretBytes {
        let hash = Array(SHA256.hash(data: context.bytes))
        let count = framed.count - 1 - hashBytes
        let isOurs = framed.withUnsafeBytes { framed in
            count >= 1 && framed[0] == version && equalInConstantTime(framed[(framed.count - hashBytes)...], hash)
        }
        guard isOurs else { throw .cannotOpen }
        var secret = try bytes(count)
        secret.withUnsafeMutableBytes { secret in
            framed.withUnsafeBytes {
                secret.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[1..<1 + count]))
            }
        }
        return secret
    }

    // MARK: Data keys of a KMS that notices no alteration

    /// data key || check: HKDF-SHA-512 (RFC 5869) of what the KMS wrapped, with the context as information. An altered
    /// blob, or another context, gives another check.
    private static func derive(
        _ material: borrowing SecretBytes, _ context: SealingContext
    ) throws(KMSError) -> SecretBytes {
        guard material.count == materialBytes else { throw .cannotOpen }
        var info = CanonicalBytes()
        info.append("HKMS-data-key-v1")
        info.append(context.bytes)
        let derived = SecretMemory.withWipedStack {
            material.withUnsafeBytes { material in
                HKDF<SHA512>.deriveKey(
                    inputKeyMaterial: SymmetricKey(data: material), info: info.bytes, outputByteCount: 64)
            }
        }
        var result = try bytes(64)
        derived.withUnsafeBytes { derived in result.withUnsafeMutableBytes { $0.copyMemory(from: derived) } }
        return result
    }

    private static func dataKey(
        of material: borrowing SecretBytes, _ context: SealingContext, check: [UInt8]
    ) throws(KMSError) -> SecretBytes {
        let derived = try derive(material, context)
        guard derived.withUnsafeBytes({ equalInConstantTime($0[32...], check) }) else { throw .cannotOpen }
        return try prefix(derived)
    }

    private static func prefix(_ derived: borrowing SecretBytes) throws(KMSError) -> SecretBytes {
        var dataKey = try bytes(32)
        dataKey.withUnsafeMutableBytes { dataKey in
            derived.withUnsafeBytes { dataKey.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<32])) }
        }
        return dataKey
    }

    /// version || check (32) || what the KMS sealed.
    private static func split(_ sealed: KMSSealedBlob) throws(KMSError) -> (check: [UInt8], wrapped: KMSSealedBlob) {
        let header = 1 + 32
        guard sealed.bytes.count > header, sealed.bytes.count <= KMSSealedBlob.maximumBytes,
            sealed.bytes[0] == version
        else { throw .cannotOpen }
        return (
            Array(sealed.bytes[1..<header]),
            KMSSealedBlob(bytes: Array(sealed.bytes[header...]), keyVersion: sealed.keyVersion)
        )
    }

    private static func bytes(_ count: Int) throws(KMSError) -> SecretBytes {
        do throws(SecretMemoryError) { return try SecretBytes(count: count) } catch { throw .memory(error) }
    }
}
