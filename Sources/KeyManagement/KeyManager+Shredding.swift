import Attestation

/// When what was destroyed cannot be opened by anybody any more.
extension KeyManager {
    /// Marks destroyed key sets as shredded whose every seal, the present one and earlier ones, is under a key, or a
    /// version of one, that the KMS has destroyed.
    /// - Returns: how many became so.
    func markShredded() async throws(KeyManagementError) -> Int {
        var known = DestroyedPlaces(kms: kms)
        var count = 0
        var cursor: String?
        while true {
            let page = try await records.page(KeySetRow.self, after: cursor, limit: 256)
            for stored in page where stored.row.state == .destroyed && stored.row.shredded == nil {
                guard let manifest = try? await manifest(stored.row).body else { continue }
                if try await known.haveAll(manifest.sealing.places) {
                    try await noteShredded(stored.row.keySet)
                    count += 1
                }
            }
            guard let last = page.last, page.count == 256 else { return count }
            cursor = last.id
        }
    }

    /// Shreds a destroyed key set that has a key of its own.
    /// - Returns: the row, with the date where nobody can open it any more.
    func shredOwnKey(of row: KeySetRow) async -> KeySetRow {
        guard row.state == .destroyed, row.shredded == nil, let manifest = try? await manifest(row).body else {
            return row
        }
        do {
            for place in manifest.sealing.places where place.keyName.hasSuffix("-\(row.keySet)") {
                guard let key = KMSKeyName(place.keyName) else { continue }
                do {
                    try await kms.kms(named: place.provider).kms.destroyKey(key)
                } catch KMSError.keyNotFound {}
            }
            var known = DestroyedPlaces(kms: kms)
            guard try await known.haveAll(manifest.sealing.places) else { return row }
            return try await noteShredded(row.keySet)
        } catch {
            // The tombstone stands. Destroying it again tries again.
            logger.warning(
                "the key of a destroyed key set is not destroyed yet",
                metadata: ["keySet": "\(row.keySet)", "reason": "\(error)"])
            return row
        }
    }

    @discardableResult
    private func noteShredded(_ keySet: String) async throws(KeyManagementError) -> KeySetRow {
        let now = clock()
        return try await change(keySet) { row in row.shredded = row.shredded ?? now }
    }
}

/// Which keys and versions of them are gone, each KMS asked once a key.
private struct DestroyedPlaces {
    let kms: KMSDirectory
    /// Lowest version that is left, by KMS and key; nil where there is no such key any more.
    private var earliest: [SealingPlace: Int?] = [:]

    init(kms: KMSDirectory) { self.kms = kms }

    /// - Throws: where a KMS does not answer: nothing is known of its keys then.
    mutating func haveAll(_ places: [SealingPlace]) async throws(KeyManagementError) -> Bool {
        for place in places where try await !has(place) { return false }
        return true
    }

    private mutating func has(_ place: SealingPlace) async throws(KeyManagementError) -> Bool {
        let key = SealingPlace(provider: place.provider, keyName: place.keyName, keyVersion: nil)
        if earliest[key] == nil {
            // What is not configured any more cannot be asked: nothing is claimed of it.
            guard let known = try? kms.kms(named: place.provider), let name = KMSKeyName(place.keyName) else {
                return false
            }
            do {
                earliest[key] = .some(try await known.kms.describeKey(name).earliestVersion)
            } catch .keyNotFound {
                earliest[key] = .some(nil)
            } catch { throw .kms(error) }
        }
        guard case .some(let left) = earliest[key] else { return false }
        guard let left else { return true }
        guard let version = place.keyVersion else { return false }
        return version < left
    }
}
