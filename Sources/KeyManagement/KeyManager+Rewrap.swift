import Attestation
import SecretMemory

/// What became of the seal of one key set.
public enum RewrapOutcome: Sendable, Hashable {
    case rewrapped
    /// It is sealed there already, under the latest version.
    case upToDate
    /// Only its principal's credential opens it: it moves when they come.
    case waitsForPrincipal
    /// Nothing seals its seed any more.
    case destroyed
    /// It was only asked what would be done.
    case wouldRewrap
}

/// Where seals go.
struct RewrapTarget: Sendable {
    let kms: ConfiguredKMS
    /// Of the shared key; what a seal must have at least.
    let version: Int
    /// Key sets that are sealed elsewhere stay where they are.
    let from: String
    /// The job: what it has sealed anew bears it, also where it was broken off since.
    let job: String
    /// Whether keys of single key sets get a version.
    let addsOwnVersions: Bool
    /// Whether their older ones are destroyed.
    let retiresOwnVersions: Bool
    let isDryRun: Bool
    /// Throws where the job is somebody else's by now.
    var fence: @Sendable () async throws -> Void = {}

    var moves: Bool { from != kms.name }
}

extension KeyManager {
    /// Seals a key set's seed, or its data key, anew: under the latest version of its key, or by another KMS. Its HE
    /// keys and its seed stay.
    ///
    /// The new sealed object has a name of its own, and the row is written last, so that the key set opens at every
    /// moment, whatever is killed when.
    func rewrap(_ keySet: String, to target: RewrapTarget) async throws(KeyManagementError) -> RewrapOutcome {
        for _ in 0..<16 {
            guard let stored = try await records.read(KeySetRow.self, id: keySet) else { throw .unknownKeySet(keySet) }
            guard stored.row.state != .destroyed else {
                if !target.isDryRun { try await removeSeals(of: keySet) }
                return .destroyed
            }
            let signed = try await manifest(stored.row)
            let (manifest, sealing) = (signed.body, signed.body.sealing)
            let isThere = sealing.provider == target.kms.name
            guard isThere && !target.moves || sealing.provider == target.from, sealing.mode != .ephemeral else {
                if isThere, !target.isDryRun { try await removeStaleSeals(signed) }
                return .upToDate
            }
            if target.moves {
                if try waits(sealing, for: target.kms) { return .waitsForPrincipal }
                try requireRoom(sealing, at: target.kms)
            }
            let ownKey = sealing.authority == .principal ? nil : ownKey(sealing, keySet)
            let isDone = stored.row.rewrapJob == target.job
            if !target.moves, try await isLatest(sealing, target, isDone: isDone),
                ownKey == nil || !target.addsOwnVersions || isDone
            {
                if !target.isDryRun {
                    try await removeStaleSeals(signed)
                    if let ownKey { try await retire(ownKey, sealing, target) }
                }
                return .upToDate
            }
            if target.isDryRun { return .wouldRewrap }
            do {
                let sealed = try await sealedObjects(manifest)
                if let ownKey, !target.moves, target.addsOwnVersions, !isDone {
                    try await target.kms.kms.rotateKey(ownKey)
                }
                let fresh = try await reseal(
                    sealed, manifest, target.moves ? .move : .rewrap, at: target.kms, as: .service)
                guard
                    try await replace(manifest, by: fresh, in: stored, job: target.job, fence: target.fence)
                else { continue }
                if let ownKey, !target.moves { try await retire(ownKey, fresh.sealing, target) }
                return .rewrapped
            } catch {
                if case KeyManagementError.objectMissing = error,
                    try await records.read(KeySetRow.self, id: keySet)?.version != stored.version
                {
                    // Somebody else was first.
                    continue
                }
                throw error is UniformFailure ? .objectTampered("sealed seed") : KeyManagementError(error)
            }
        }
        throw .internalFailure(reason: "too many writers at one key set: run it again")
    }

    /// Whether only its principal can move a key set.
    /// - Throws: `invalidRequest` where it could not be moved with them either, or the other way round.
    private func waits(
        _ sealing: KeySetManifest.Sealing, for target: ConfiguredKMS
    ) throws(KeyManagementError) -> Bool {
        switch (sealing.authority == .principal, target.placement == .perPrincipal) {
        case (true, true): return true
        case (false, false): return false
        case (true, false):
            throw .invalidRequest(
                reason: "it is sealed under its principal's own key, and \(target.name) has no keys of principals: "
                    + "it stays where it is")
        case (false, true):
            throw .invalidRequest(
                reason: "\(target.name) seals under keys of principals, whose credentials an operator has not: "
                    + "it stays where it is")
        }
    }

    private func requireRoom(
        _ sealing: KeySetManifest.Sealing, at target: ConfiguredKMS
    ) throws(KeyManagementError) {
        guard target.kms.capabilities.sealing == .secrets || sealing.mode == .envelope else {
            throw .invalidRequest(reason: "\(target.name) seals data keys alone, and this key set is of mode direct")
        }
    }

    /// The key that is this key set's alone; nil where it shares one.
    private func ownKey(_ sealing: KeySetManifest.Sealing, _ keySet: String) -> KMSKeyName? {
        sealing.keyName.hasSuffix("-\(keySet)") ? KMSKeyName(sealing.keyName) : nil
    }

    enum SealChange {
        /// The latest version of the same key.
        case rewrap
        /// Another KMS.
        case move
    }

    /// A sealed object to be stored, and the manifest's section that names it.
    struct FreshSeal: Sendable {
        var sealing: KeySetManifest.Sealing
        var objects: [(name: String, bytes: [UInt8])] = []
    }

    private func isLatest(
        _ sealing: KeySetManifest.Sealing, _ target: RewrapTarget, isDone: Bool
    ) async throws(KeyManagementError) -> Bool {
        guard let key = KMSKeyName(sealing.keyName) else { throw .objectTampered("manifest") }
        // What nobody tells the version of is made anew once.
        guard let version = sealing.keyVersion else { return isDone }
        if key == target.kms.key { return version >= target.version }
        do { return version >= (try await target.kms.kms.describeKey(key).latestVersion) } catch { throw .kms(error) }
    }

    /// Destroys the versions of a key set's own key that nothing of it is sealed under any more.
    private func retire(
        _ key: KMSKeyName, _ sealing: KeySetManifest.Sealing, _ target: RewrapTarget
    ) async throws(KeyManagementError) {
        guard target.retiresOwnVersions, let version = sealing.keyVersion, version > 1 else { return }
        do {
            try await target.kms.kms.setMinimumVersion(version, of: key)
            try await target.kms.kms.destroyVersions(below: version, of: key)
        } catch { throw .kms(error) }
    }

    // MARK: Sealing anew

    func reseal(
        _ sealed: SealedKeySet, _ manifest: KeySetManifest, _ change: SealChange, at target: ConfiguredKMS,
        as caller: KMSCaller
    ) async throws -> FreshSeal {
        var sealing = manifest.sealing
        sealing.epoch += 1
        sealing.earlier = [SealingPlace].merged(sealing.earlier, with: sealing.place)
        var fresh = FreshSeal(sealing: sealing)
        guard let oldKey = KMSKeyName(sealing.keyName) else { throw KeyManagementError.objectTampered("manifest") }
        let object: SealingContext.Object = sealed.dataKey == nil ? .seed : .dataKey
        let context = sealingContext(manifest, object)
        switch change {
        case .rewrap:
            let blob = try await target.kms.rewrap(sealed.blob, under: oldKey, context: context, as: caller)
            try fresh.set(blob, object)
            // The service may rewrap what only the principal opens, and believes the KMS then.
            if sealing.authority != .principal {
                _ = try await open(fresh.opening(sealed), manifest: manifest, as: caller)
            }
        case .move:
            // Opened once, and checked whole before anything is sealed.
            let secret = try await openAtKMS(sealed, manifest: manifest, as: caller)
            let seed = try seed(secret.copy(), sealed, manifest: manifest)
            let key = try await sealingKey(at: target, for: manifest.keySet, as: caller)
            fresh.sealing.provider = target.name
            fresh.sealing.keyName = key.value
            if sealed.dataKey != nil, target.kms.capabilities.sealing == .dataKeys {
                let dataKey = try await target.kms.generateDataKey(under: key, context: context, as: caller)
                try fresh.set(dataKey.sealed, .dataKey)
                let box = try seed.seed.withSecretBytes { seed in
                    try EnvelopeEncryption.seal(
                        seed, dataKey: dataKey.plaintext, context: sealingContext(manifest, .seed))
                }
                try fresh.setSeed(sealedByDataKey: KMSSealedBlob(bytes: box, keyVersion: nil))
            } else {
                let blob = try await target.kms.seal(secret, under: key, context: context, as: caller)
                try fresh.set(blob, object)
            }
            try await requireNotRetired(fresh.sealing)
            // A credential that may seal and not open there would lose the key set.
            var moved = manifest
            moved.sealing = fresh.sealing
            _ = try await open(fresh.opening(sealed), manifest: moved, as: caller)
        }
        return fresh
    }

    /// Stores a fresh seal and makes its manifest the current one; what it replaces is removed.
    /// - Returns: false where another writer was first. Nothing of it is left then.
    func replace(
        _ manifest: KeySetManifest, by fresh: FreshSeal, in stored: Stored<KeySetRow>, job: String? = nil,
        fence: () async throws -> Void = {}
    ) async throws(KeyManagementError) -> Bool {
        // Before storage has it: whoever destroys the key set meanwhile must know of a copy that storage may keep.
        let place = fresh.sealing.place
        let noted = try await change(manifest.keySet) { row throws(KeyManagementError) in
            row.attempted = .merged(row.attempted, with: place)
        }
        guard noted.state != .destroyed, noted.manifest == stored.row.manifest else { return false }
        var body = manifest
        body.version += 1
        body.sealing = fresh.sealing
        let signed: SignedStatement<KeySetManifest>
        do {
            for (name, bytes) in fresh.objects {
                try await objects.put(bytes, at: objectKey(body.keySet, name), onlyIfAbsent: false)
            }
            signed = try SignedStatement(body, by: keys.manifestKey)
            try await store(signed)
            try await fence()
            guard try await install(signed, over: manifest, job: job) else {
                // Their names are of their content: nobody else's go with them.
                for (name, _) in fresh.objects { try? await objects.delete(objectKey(body.keySet, name)) }
                return false
            }
        } catch { throw KeyManagementError(error) }
        secretKeys?.forget(body.keySet)
        // The old seal goes; where a store does not let it, the next look at this key set removes it.
        try? await removeStaleSeals(signed)
        return true
    }

    /// Makes a stored manifest the current one, in place of `old`.
    /// - Returns: false where another manifest became current meanwhile.
    private func install(
        _ signed: SignedStatement<KeySetManifest>, over old: KeySetManifest, job: String?
    ) async throws(KeyManagementError) -> Bool {
        for _ in 0..<100 {
            // Counters change often, and that is no reason to seal again.
            guard var current = try await records.read(KeySetRow.self, id: old.keySet),
                current.row.manifestVersion == old.version, current.row.state != .destroyed
            else { return false }
            current.row.manifestVersion = signed.body.version
            current.row.manifest = signed.digest
            current.row.rewrapJob = job ?? current.row.rewrapJob
            do {
                try await records.apply([try records.update(current)])
                return true
            } catch .metadataStore(.conflict) { continue }
        }
        return false
    }

    /// Removes sealed objects that superseded manifests name and the current one does not: what a process left that was
    /// killed between writing the row and removing what it replaced.
    ///
    /// Nothing else: another process may have stored a seal whose manifest is about to become the current one.
    func removeStaleSeals(_ manifest: SignedStatement<KeySetManifest>) async throws(KeyManagementError) {
        let prefix = "keysets/\(manifest.body.keySet)/"
        let kept = Self.sealedNames(manifest.body.sealing)
        do {
            var stale = Set(try await objects.list(prefix: prefix + "sealed-").map(\.value))
            stale.subtract(kept.map { prefix + $0 })
            guard !stale.isEmpty else { return }
            for key in try await objects.list(prefix: prefix + "manifest-") {
                let bytes: [UInt8]
                do throws(ObjectStoreError) {
                    bytes = try await objects.get(key, limit: KeySetManifest.maximumPayloadBytes * 2)
                } catch {
                    // Gone meanwhile, or planted: it names nothing.
                    if case .unavailable = error { throw error }
                    continue
                }
                guard let other = try? SignedStatement<KeySetManifest>(verifying: bytes, pinned: pinnedManifestKeys),
                    other.body.keySet == manifest.body.keySet, other.body.version <= manifest.body.version,
                    other.digest != manifest.digest
                else { continue }
                for name in Self.sealedNames(other.body.sealing) where !kept.contains(name) {
                    guard stale.contains(prefix + name) else { continue }
                    try await objects.delete(try objectKey(manifest.body.keySet, name))
                }
            }
        } catch { throw KeyManagementError(error) }
    }

    /// What a seal that was stored while the key set was destroyed left, where the process was killed before it could
    /// remove it.
    private func removeSeals(of keySet: String) async throws(KeyManagementError) {
        do {
            for key in try await objects.list(prefix: "keysets/\(keySet)/sealed-") { try await objects.delete(key) }
        } catch { throw .objectStore(error) }
    }

    private static func sealedNames(_ sealing: KeySetManifest.Sealing) -> [String] {
        sealing.mode == .envelope ? [sealedSeedName(sealing), sealedDataKeyName(sealing)] : [sealedSeedName(sealing)]
    }
}

extension KeyManager.FreshSeal {
    /// What the KMS sealed.
    mutating func set(_ blob: KMSSealedBlob, _ object: SealingContext.Object) throws {
        let isSeed = object == .seed
        let bytes = try SealedObject(object: isSeed ? .seed : .dataKey, sealedBy: .kms, blob: blob).serialized()
        sealing.keyVersion = blob.keyVersion
        if isSeed {
            sealing.sealedSeed = Digest(of: bytes)
            objects.append((KeyManager.sealedSeedName(sealing), bytes))
        } else {
            sealing.sealedDataKey = Digest(of: bytes)
            objects.append((KeyManager.sealedDataKeyName(sealing), bytes))
        }
    }

    mutating func setSeed(sealedByDataKey blob: KMSSealedBlob) throws {
        let bytes = try SealedObject(object: .seed, sealedBy: .dataKey, blob: blob).serialized()
        sealing.sealedSeed = Digest(of: bytes)
        sealing.seedEpoch = sealing.epoch
        objects.append((KeyManager.sealedSeedName(sealing), bytes))
    }

    /// The fresh objects, in the place of those that they replace.
    func opening(_ old: SealedKeySet) throws(KeyManagementError) -> SealedKeySet {
        var (seed, dataKey) = (old.seed, old.dataKey)
        for (_, bytes) in objects {
            let object = try SealedObject(parsing: bytes)
            if object.object == .seed { seed = object } else { dataKey = object }
        }
        return SealedKeySet(seed: seed, dataKey: dataKey)
    }
}

extension [SealingPlace] {
    /// Each key once, with its latest version; without one where a version was not told.
    static func merged(_ places: [SealingPlace]?, with place: SealingPlace) -> [SealingPlace] {
        var places = places ?? []
        if let index = places.firstIndex(where: { $0.isSameKey(as: place) }) {
            if let known = places[index].keyVersion, let added = place.keyVersion {
                places[index].keyVersion = Swift.max(known, added)
            } else {
                places[index].keyVersion = nil
            }
        } else {
            places.append(place)
        }
        return places
    }
}

extension SealingPlace {
    func isSameKey(as other: SealingPlace) -> Bool { provider == other.provider && keyName == other.keyName }
}
