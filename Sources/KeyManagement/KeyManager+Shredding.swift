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
    /// - Throws: `invalidRequest`, naming the first such key set.
    func requireNothingSealed(below version: Int, at configured: ConfiguredKMS) async throws(KeyManagementError) {
        var known: Set<String> = []
        let keys: [ObjectKey]
        do { keys = try await objects.list(prefix: "keysets/") } catch { throw .objectStore(error) }
        for key in keys {
            let parts = key.value.split(separator: "/")
            guard parts.count == 3, parts[2].hasPrefix("sealed-") else { continue }
            let keySet = String(parts[1])
            guard known.insert(keySet).inserted else { continue }
            guard let row = try await records.read(KeySetRow.self, id: keySet)?.row else {
                throw .invalidRequest(
                    reason:
                        "storage has a seal of \(keySet), of which the metadata store has no row: nothing is retired. "
                        + "A registration may be under way; else restore the row, or remove the objects")
            }
            guard row.state != .destroyed else { continue }
            let sealing = try await manifest(row).body.sealing
            guard sealing.keyName == configured.key.value else { continue }
            guard sealing.provider == configured.name, let own = sealing.keyVersion, own >= version else {
                throw .invalidRequest(
                    reason: "\(keySet) is sealed under \(sealing.keyName) version "
                        + "\(sealing.keyVersion.map(String.init) ?? "unknown") of \(sealing.provider): nothing is retired"
                )
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
            // Written down first: a key that is not there afterwards was destroyed here.
            let known = row.destroying ?? []
            try await change(row.keySet) { row throws(KeyManagementError) in row.destroying = own }
            var gone: [SealingPlace] = []
            for place in own where await destroyKey(of: place, wasTried: known.contains { $0.isSameKey(as: place) }) {
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

    /// - Parameter wasTried: whether an earlier attempt was written down, so that no key is what it left.
    private func destroyKey(of place: SealingPlace, wasTried: Bool) async -> Bool {
        guard let key = KMSKeyName(place.keyName), let known = try? kms.kms(named: place.provider) else { return false }
        do throws(KMSError) {
            try await known.kms.destroyKey(key)
            return true
        } catch {
            if case .keyNotFound = error { return wasTried }
            // The tombstone stands. Destroying it again tries again.
            logger.warning(
                "the key of a destroyed key set is not destroyed yet",
                metadata: ["key": "\(key)", "reason": "\(error)"])
            return false
        }
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
