import Attestation

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// When what was destroyed cannot be opened by anybody any more.
///
/// Nothing is concluded from what a KMS has not: a name that another server does not know proves nothing. What this
/// installation has itself destroyed counts, and nothing else.
extension KeyManager {
    /// Refuses to go on where something is sealed below a version that is about to be destroyed. A last look, at what
    /// storage holds and not at what a pass has counted.
    /// - Returns: key sets whose registration is under way: to be looked at again when it has ended.
    /// - Throws: `rewrapStopped`, naming the first key set that is sealed so.
    func requireNothingSealed(
        below version: Int, at configured: ConfiguredKMS, among only: Set<String>? = nil,
        isElsewhereKnown: Bool = false
    ) async throws(KeyManagementError) -> Set<String> {
        var known: Set<String> = []
        var underWay: Set<String> = []
        let keys: [ObjectKey]
        do { keys = try await objects.list(prefix: "keysets/") } catch { throw .objectStore(error) }
        for key in keys {
            let parts = key.value.split(separator: "/")
            guard parts.count == 3, parts[2].hasPrefix("sealed-") else { continue }
            let keySet = String(parts[1])
            guard only?.contains(keySet) ?? true, known.insert(keySet).inserted else { continue }
            if try await records.read(KeySetRow.self, id: keySet) == nil, try await isBeingRegistered(keySet) {
                underWay.insert(keySet)
                continue
            }
            // Read again: the registration may have ended in between.
            guard let row = try await records.read(KeySetRow.self, id: keySet)?.row else {
                throw .rewrapStopped(
                    reason: "storage has a seal of \(keySet), of which the metadata store has no row",
                    fix: "Nothing is retired. Restore the row, or remove the objects, and run it again.")
            }
            try await requireNotSealed(row, below: version, at: configured, isElsewhereKnown)
        }
        return underWay
    }

    private func isBeingRegistered(_ keySet: String) async throws(KeyManagementError) -> Bool {
        try await records.list(RegistrationRow.self, index: RegistrationRow.Status.creating.rawValue)
            .contains { $0.row.keySet == keySet && $0.row.status == .creating }
    }

    private func requireNotSealed(
        _ row: KeySetRow, below version: Int, at configured: ConfiguredKMS, _ isElsewhereKnown: Bool
    ) async throws(KeyManagementError) {
        guard row.state != .destroyed else { return }
        let manifest = try await manifest(row).body
        let sealing = manifest.sealing
        guard sealing.keyName == configured.key.value else { return }
        if sealing.provider == configured.name {
            if let own = sealing.keyVersion, own >= version { return }
        } else {
            if isElsewhereKnown { return }
            if try await isElsewhere(manifest, than: configured) { return }
        }
        throw .rewrapStopped(
            reason: "\(row.keySet) is sealed under \(sealing.keyName) version "
                + "\(sealing.keyVersion.map(String.init) ?? "unknown") of \(sealing.provider)",
            fix: isElsewhereKnown
                ? "Nothing is destroyed, but the key's minimum version is \(version) by now, so that it does not open: "
                    + "lower that in the KMS, and run it again."
                : "Nothing is retired. See hkms keysets show, and run it again.")
    }

    /// Whether a key of the same name is another key: two names in the configuration may be one server.
    private func isElsewhere(
        _ manifest: KeySetManifest, than configured: ConfiguredKMS
    ) async throws(KeyManagementError) -> Bool {
        if let other = try? kms.kms(named: manifest.sealing.provider),
            other.kms.provider != configured.kms.provider
        {
            return true
        }
        let sealed = try await sealedObjects(manifest)
        let context = sealingContext(manifest, sealed.dataKey == nil ? .seed : .dataKey)
        do throws(KMSError) {
            _ = try await configured.kms.open(sealed.blob, under: configured.key, context: context, as: .service)
            return false
        } catch {
            switch error {
            case .cannotOpen: return true
            case .keyUnusable:
                throw .rewrapStopped(
                    reason: "\(manifest.keySet) is sealed by \(manifest.sealing.provider) under a key of the same "
                        + "name, and \(configured.name) does not say whether it is its own: \(error)",
                    fix: "Nothing is retired. Move it to \(configured.name) first (hkms kms migrate), and run it "
                        + "again.")
            default: throw .kms(error)
            }
        }
    }

    /// Notes for all destroyed key sets that the versions of `place`'s key up to its own are gone.
    /// - Returns: of how many nothing is left since.
    func markShredded(_ place: SealingPlace) async throws(KeyManagementError) -> Int {
        var count = 0
        var cursor: String?
        while true {
            let page = try await records.page(KeySetRow.self, after: cursor, limit: 256)
            guard let last = page.last else { return count }
            cursor = last.id
            for stored in page where stored.row.state == .destroyed && stored.row.shredded == nil {
                if try await note([place], goneFor: stored.row).shredded != nil { count += 1 }
            }
        }
    }

    /// Shreds a destroyed key set that has keys of its own.
    /// - Returns: the row, with the date where nobody can open it any more.
    func shredOwnKey(of row: KeySetRow) async -> KeySetRow {
        guard row.state == .destroyed, row.shredded == nil, let manifest = try? await manifest(row).body else {
            return row
        }
        let own = places(row, manifest).filter { $0.keyName.hasSuffix("-\(row.keySet)") }
        guard !own.isEmpty else { return row }
        do {
            var gone: [SealingPlace] = []
            for place in own where try await destroyKey(of: place, row) {
                gone.append(SealingPlace(provider: place.provider, keyName: place.keyName, keyVersion: .max))
            }
            return try await note(gone, goneFor: row)
        } catch {
            logger.warning(
                "what was shredded of a destroyed key set is not noted",
                metadata: ["keySet": "\(row.keySet)", "reason": "\(error)"])
            return row
        }
    }

    /// - Returns: whether it is gone, by this installation's doing.
    private func destroyKey(of place: SealingPlace, _ row: KeySetRow) async throws(KeyManagementError) -> Bool {
        guard let key = KMSKeyName(place.keyName), let known = try? kms.kms(named: place.provider) else { return false }
        // Seen, and written down, before it is tried: a key that is not there afterwards was destroyed here. One that
        // was never seen is perhaps another server's.
        let wasSeen = row.destroying?.contains { $0.isSameKey(as: place) } ?? false
        do throws(KMSError) {
            if !wasSeen { _ = try await known.kms.describeKey(key) }
        } catch {
            logNotDestroyed(key, error)
            return false
        }
        if !wasSeen {
            try await change(row.keySet) { row throws(KeyManagementError) in
                row.destroying = .merged(row.destroying, with: place)
            }
        }
        do throws(KMSError) {
            try await known.kms.destroyKey(key)
            return true
        } catch {
            switch error {
            case .keyNotFound: return wasSeen
            case .denied, .throttled, .notSupported, .keyUnusable:
                // Not done for certain: should it be missing one day, it was somebody else.
                try await change(row.keySet) { row throws(KeyManagementError) in
                    row.destroying?.removeAll { $0.isSameKey(as: place) }
                }
            case .unavailable, .invalidResponse, .cannotOpen, .memory:
                // Perhaps done. Where the key is seen to be there it was not.
                guard (try? await known.kms.describeKey(key)) != nil else { break }
                try await change(row.keySet) { row throws(KeyManagementError) in
                    row.destroying?.removeAll { $0.isSameKey(as: place) }
                }
            }
            logNotDestroyed(key, error)
            return false
        }
    }

    private func logNotDestroyed(_ key: KMSKeyName, _ error: KMSError) {
        // The tombstone stands. Destroying it again tries again.
        logger.warning(
            "the key of a destroyed key set is not destroyed yet",
            metadata: ["key": "\(key)", "reason": "\(error)"])
    }

    /// Every place in which something can be that opens the seed.
    private func places(_ row: KeySetRow, _ manifest: KeySetManifest) -> [SealingPlace] {
        (row.attempted ?? []).reduce(manifest.sealing.places) { .merged($0, with: $1) }
    }

    private func note(
        _ gone: [SealingPlace], goneFor row: KeySetRow
    ) async throws(KeyManagementError) -> KeySetRow {
        guard let manifest = try? await manifest(row).body else { return row }
        let places = places(row, manifest)
        // As rows keep it, so that the date is the same whenever it is told.
        let now = Date(timeIntervalSince1970: clock().timeIntervalSince1970.rounded(.down))
        guard !gone.isEmpty else { return row }
        return try await change(row.keySet) { row throws(KeyManagementError) in
            row.gone = gone.reduce(row.gone) { .merged($0, with: $1) }
            let isGone = places.allSatisfy { place in
                row.gone?.contains { gone in
                    guard gone.isSameKey(as: place), let last = gone.keyVersion else { return false }
                    // A whole key has no version that is left.
                    return last == .max || place.keyVersion.map { $0 <= last } ?? false
                } ?? false
            }
            if isGone { row.shredded = row.shredded ?? now }
        }
    }
}
