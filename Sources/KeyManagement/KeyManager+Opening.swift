import Attestation
import SecretKeys
import SecretMemory

/// What a key set's seed is sealed in, as the object store gave it, compared with the manifest.
struct SealedKeySet: Sendable {
    let seed: SealedObject
    /// In envelope mode.
    let dataKey: SealedObject?

    /// What the KMS sealed.
    var blob: KMSSealedBlob { (dataKey ?? seed).blob }
}

/// After the seed, or the data key to it, was opened: no detail goes out.
struct UniformFailure: Error {}

/// The way from a manifest to the seed.
extension KeyManager {
    static let sealedSeedName = "sealed-seed"
    static let sealedDataKeyName = "sealed-data-key"

    /// Name of the sealed seed in the object store. What a rewrap makes is named by content, so that the object that the
    /// current manifest names stays until another manifest is the current one.
    static func sealedSeedName(_ sealing: KeySetManifest.Sealing) -> String {
        let isFirst = sealing.mode == .direct ? sealing.epoch == 1 : sealing.seedEpoch == nil
        return name(sealedSeedName, isFirst ? nil : sealing.sealedSeed)
    }

    static func sealedDataKeyName(_ sealing: KeySetManifest.Sealing) -> String {
        name(sealedDataKeyName, sealing.epoch == 1 ? nil : sealing.sealedDataKey)
    }

    private static func name(_ name: String, _ digest: Digest?) -> String {
        digest.map { "\(name)-\($0.hex)" } ?? name
    }

    /// The sealed objects that a manifest names.
    func sealedObjects(_ manifest: KeySetManifest) async throws(KeyManagementError) -> SealedKeySet {
        func load(
            _ name: String, _ digest: Digest?, _ object: SealedObject.Object, _ sealer: SealedObject.Sealer
        ) async throws(KeyManagementError) -> SealedObject {
            let bytes = try await read(try objectKey(manifest.keySet, name), limit: SealedObject.maximumBytes)
            guard let digest, Digest(of: bytes) == digest else { throw .objectTampered(name) }
            let sealed = try SealedObject(parsing: bytes)
            guard sealed.object == object, sealed.sealedBy == sealer else { throw .objectTampered(name) }
            return sealed
        }
        let sealing = manifest.sealing
        let seedName = Self.sealedSeedName(sealing)
        switch sealing.mode {
        case .direct:
            return SealedKeySet(seed: try await load(seedName, sealing.sealedSeed, .seed, .kms), dataKey: nil)
        case .envelope:
            return SealedKeySet(
                seed: try await load(seedName, sealing.sealedSeed, .seed, .dataKey),
                dataKey: try await load(
                    Self.sealedDataKeyName(sealing), sealing.sealedDataKey, .dataKey, .kms))
        case .ephemeral: throw .objectMissing(Self.sealedSeedName)
        }
    }

    /// The same by the newest manifest: a rewrap may have replaced what an earlier one names.
    func currentSealedObjects(
        _ manifest: KeySetManifest
    ) async throws(KeyManagementError) -> (KeySetManifest, SealedKeySet) {
        do {
            return (manifest, try await sealedObjects(manifest))
        } catch .objectMissing(let name) {
            guard let newer = try await newer(than: manifest) else { throw .objectMissing(name) }
            return (newer, try await sealedObjects(newer))
        }
    }

    private func newer(than manifest: KeySetManifest) async throws(KeyManagementError) -> KeySetManifest? {
        guard let row = try await records.read(KeySetRow.self, id: manifest.keySet)?.row,
            row.manifestVersion != manifest.version
        else { return nil }
        return try await self.manifest(row).body
    }

    func sealingContext(_ manifest: KeySetManifest, _ object: SealingContext.Object) -> SealingContext {
        SealingContext(
            installation: manifest.installation, tenant: manifest.tenant, owner: manifest.owner,
            keySet: manifest.keySet, parameters: manifest.parameters, suite: manifest.suite, origin: manifest.origin,
            object: object, mode: manifest.sealing.mode)
    }

    /// On whose authority the KMS is asked to open.
    /// - Throws: `kmsCredentialMissing`.
    static func caller(
        _ authority: SealingAuthority?, _ requester: Requester
    ) throws(KeyManagementError) -> KMSCaller {
        guard authority == .principal else { return .service }
        guard let credential = requester.kmsCredential else { throw .kmsCredentialMissing }
        return .principal(credential)
    }

    /// Whose credential it was that the KMS denied.
    static func refusal(_ error: KMSError, of caller: KMSCaller) -> any Error {
        guard case .denied(let reason) = error, caller != .service else { return error }
        return KeyManagementError.kmsCredentialRefused(reason: reason)
    }

    /// The seed, proved to be the one that the manifest was made with. Where the key's old versions were shut out since
    /// the sealed objects were read, those that took their place are opened.
    func openCurrent(
        _ sealed: SealedKeySet, manifest: KeySetManifest, as caller: KMSCaller
    ) async throws -> SeedHolder {
        do {
            return try await open(sealed, manifest: manifest, as: caller)
        } catch let error as KMSError {
            switch error {
            case .keyUnusable, .keyNotFound, .cannotOpen: break
            default: throw Self.refusal(error, of: caller)
            }
            guard let newer = try? await newer(than: manifest) else { throw error }
            return try await open(sealedObjects(newer), manifest: newer, as: caller)
        }
    }

    /// The seed, proved to be the one that the manifest was made with.
    /// - Throws: ``UniformFailure`` for what fails after something was opened.
    func open(_ sealed: SealedKeySet, manifest: KeySetManifest, as caller: KMSCaller) async throws -> SeedHolder {
        let opened = try await openAtKMS(sealed, manifest: manifest, as: caller)
        return try seed(opened, sealed, manifest: manifest)
    }

    /// What the KMS holds for a key set: the seed in mode direct, the data key in mode envelope.
    func openAtKMS(
        _ sealed: SealedKeySet, manifest: KeySetManifest, as caller: KMSCaller
    ) async throws -> SecretBytes {
        guard let key = KMSKeyName(manifest.sealing.keyName) else {
            throw KeyManagementError.objectTampered("manifest")
        }
        let kms = try kms.kms(named: manifest.sealing.provider).kms
        let object: SealingContext.Object = sealed.dataKey == nil ? .seed : .dataKey
        return try await kms.open(sealed.blob, under: key, context: sealingContext(manifest, object), as: caller)
    }

    /// The seed that ``openAtKMS(_:manifest:as:)`` gives.
    func seed(_ opened: consuming SecretBytes, _ sealed: SealedKeySet, manifest: KeySetManifest) throws -> SeedHolder {
        let bytes: SecretBytes
        if sealed.dataKey == nil {
            bytes = opened
        } else {
            do {
                bytes = try EnvelopeEncryption.open(
                    sealed.seed.blob.bytes, dataKey: opened, context: sealingContext(manifest, .seed))
            } catch let error as SecretMemoryError {
                throw error
            } catch { throw UniformFailure() }
        }
        guard let seed = Seed(bytes) else { throw UniformFailure() }
        // AES-GCM does not commit to its key: only the commitment tells that this is the seed.
        let digest = manifest.parameters.digest
        guard try seed.matches(commitment: manifest.commitment.bytes, parameterDigest: digest) else {
            throw UniformFailure()
        }
        let manifestKey = try seed.manifestKey(digest)
        guard manifest.isProved(by: manifestKey) else { throw UniformFailure() }
        return SeedHolder(seed)
    }
}
