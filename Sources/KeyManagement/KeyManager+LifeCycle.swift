import Attestation
import HomomorphicEncryption

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What is told of a key set. Nothing secret.
public struct KeySetDescription: Sendable, Hashable {
    public struct Counters: Sendable, Hashable {
        public let encryptions: Int
        public let decryptions: Int
        /// nil where there is no limit.
        public let decryptionsLeft: Int?
        public let failures: Int
    }

    public let manifest: KeySetManifest
    public let manifestDigest: Digest
    public let state: KeySetState
    public let counters: Counters
    /// An unvouched ciphertext was decrypted: revoking means nothing any more.
    public let exposed: Bool
    /// Results are released raw, or one was: nothing of this key set is for others, for ever.
    public let tainted: Bool
    /// Bytes of sealed seed and sealed data key as stored; 0 once destroyed, nil where the store does not give them.
    public let sealedSeedBytes: Int?
    public let destroyed: Date?
    /// When it was seen that nobody can open the seed any more; nil where old copies may still be opened.
    public let shredded: Date?
}

/// What destroying a key set achieved.
public struct Destruction: Sendable, Hashable {
    public enum Erasure: String, Sendable {
        /// HKMS will not use it again. Whoever kept the sealed seed, and can use the KMS key, still can.
        case tombstoned
        /// The KMS key that sealed the seed is gone: nobody can open it again.
        case shredded
    }
    public let keySet: String
    public let erasure: Erasure
    public let date: Date
    /// Manifests that named the keys: whoever cached keys by them may forget them now.
    public let manifests: [Digest]
}

extension KeyManager {
    /// Key sets of the requester and its groups, oldest first.
    public func list(as requester: Requester) async throws(KeyManagementError) -> [KeySetDescription] {
        var rows: [KeySetRow] = []
        for owner in requester.owners {
            let index = Requester.index(tenant: requester.tenant, owner: owner)
            rows += try await records.list(KeySetRow.self, index: index).map(\.row)
        }
        var descriptions: [KeySetDescription] = []
        for row in rows.sorted(by: { ($0.created, $0.keySet) < ($1.created, $1.keySet) }) {
            do {
                descriptions.append(try await description(row, manifest: manifest(row)))
            } catch .objectTampered, .objectMissing, .statementRejected {
                // One damaged manifest must not hide the others; `show` names what is wrong with it.
                logger.error(
                    "a key set is left out of the list: its manifest is damaged", metadata: ["keySet": "\(row.keySet)"])
            }
        }
        return descriptions
    }

    public func show(_ keySet: String, as requester: Requester) async throws(KeyManagementError) -> KeySetDescription {
        let row = try await row(keySet, for: requester).row
        return try await description(row, manifest: manifest(row))
    }

    func description(
        _ row: KeySetRow, manifest: SignedStatement<KeySetManifest>
    ) async throws(KeyManagementError) -> KeySetDescription {
        var sealedBytes: Int? = 0
        if row.state != .destroyed {
            let hasDataKey = manifest.body.sealing.sealedDataKey != nil
            do {
                var sum = 0
                let sealing = manifest.body.sealing
                let seed = Self.sealedSeedName(sealing)
                for name in hasDataKey ? [seed, Self.sealedDataKeyName(sealing)] : [seed] {
                    sum += try await read(objectKey(row.keySet, name), limit: SealedObject.maximumBytes).count
                }
                sealedBytes = sum
            } catch {
                // Everything else is known, and the key set can still be destroyed.
                sealedBytes = nil
            }
        }
        return KeySetDescription(
            manifest: manifest.body, manifestDigest: manifest.digest, state: row.standing,
            counters: .init(
                encryptions: row.encryptions, decryptions: row.decryptions, decryptionsLeft: row.budget,
                failures: row.failures),
            exposed: row.exposed, tainted: row.tainted || manifest.body.policy.release == .raw,
            sealedSeedBytes: sealedBytes, destroyed: row.destroyed, shredded: row.shredded)
    }

    /// The public key as it is stored, checked.
    public func publicKey(_ keySet: String, as requester: Requester) async throws(KeyManagementError) -> [UInt8] {
        let row = try await activeRow(keySet, for: requester).row
        guard let entry = try await manifest(row).body.publicKey else { throw .objectMissing("public-key") }
        return try await object(entry, of: keySet)
    }

    /// One evaluation key as it is stored, checked.
    /// - Parameter name: `relinearization` or `galois-3`.
    public func evaluationKey(
        _ name: String, of keySet: String, as requester: Requester
    ) async throws(KeyManagementError) -> [UInt8] {
        let row = try await activeRow(keySet, for: requester).row
        let entries = try await manifest(row).body.objects
        guard let entry = entries.first(where: { $0.name == name && $0.kind != .publicKey }) else {
            throw .objectMissing(String(name.prefix(64)))
        }
        return try await object(entry, of: keySet)
    }

    /// The signed manifest as it is stored.
    public func signedManifest(
        _ keySet: String, as requester: Requester
    ) async throws(KeyManagementError) -> SignedStatement<KeySetManifest> {
        try await manifest(row(keySet, for: requester).row)
    }

    /// Destroys a key set: it is never used again, and its objects are removed. Repeating it is no error.
    ///
    /// The answer says ``Destruction/Erasure/tombstoned`` where storage may have kept the sealed seed and the KMS key
    /// that opens it lives on with other key sets. A key of its own is destroyed with it, and so is it shredded.
    public func destroy(_ keySet: String, as requester: Requester) async throws(KeyManagementError) -> Destruction {
        let stored = try await row(keySet, for: requester)
        let row = stored.row.state == .destroyed ? stored.row : try await transition(keySet, to: .destroyed)
        // The tombstone stands; what is removed after it can be removed again.
        let prefix = "keysets/\(keySet)/"
        let kept = prefix + Self.manifestName(row.manifest)
        var manifests: [Digest] = []
        do {
            let keys = try await objects.list(prefix: prefix).filter { $0.value != kept }
            manifests = keys.compactMap { Self.manifestDigest(name: $0.value.dropFirst(prefix.count)) }
            // What opens the seed goes first; the manifests last, so that a repetition still names them.
            func isSealed(_ key: ObjectKey) -> Bool { key.value.hasPrefix(prefix + "sealed-") }
            func isManifest(_ key: ObjectKey) -> Bool { key.value.hasPrefix(prefix + "manifest-") }
            for key in keys.filter(isSealed) + keys.filter({ !isSealed($0) && !isManifest($0) })
                + keys.filter(isManifest)
            {
                try await objects.delete(key)
            }
        } catch { throw .objectStore(error) }
        let last = await shredOwnKey(of: row)
        return Destruction(
            keySet: keySet, erasure: last.shredded == nil ? .tombstoned : .shredded,
            date: last.shredded ?? last.destroyed ?? clock(), manifests: manifests)
    }

    /// Signs a manifest with the new state and makes it the current one.
    func transition(_ keySet: String, to state: KeySetState) async throws(KeyManagementError) -> KeySetRow {
        for _ in 0..<16 {
            guard var stored = try await records.read(KeySetRow.self, id: keySet) else { throw .unknownKeySet(keySet) }
            if stored.row.state == state || stored.row.state == .destroyed { return stored.row }
            var body = try await manifest(stored.row).body
            body.version += 1
            body.state = state
            switch state {
            case .destroyed: body.dates.destroyed = clock()
            case .deactivated: body.dates.deactivated = clock()
            default: break
            }
            let signed: SignedStatement<KeySetManifest>
            do { signed = try SignedStatement(body, by: keys.manifestKey) } catch { throw .statementRejected(error) }
            try await store(signed)
            stored.row.manifestVersion = body.version
            stored.row.manifest = signed.digest
            stored.row.state = state
            stored.row.destroyed = body.dates.destroyed
            do {
                try await records.apply([try records.update(stored)])
                secretKeys?.forget(keySet)
                logger.notice("key set changed state", metadata: ["keySet": "\(keySet)", "state": "\(state.rawValue)"])
                return stored.row
            } catch .metadataStore(.conflict) { continue }
        }
        throw .metadataStore(.unavailable(reason: "too many writers at one key set"))
    }
}
