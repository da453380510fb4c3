import Attestation

/// By which KMSs the key sets of an installation are sealed, as their manifests say.
package struct SealExamination: Sendable {
    /// Key sets that are not destroyed, by the name of the KMS that seals their seed.
    package var keySets: [String: Int] = [:]
    /// Those whose manifest cannot be believed or read.
    package var damaged = 0
    /// The first of them, and why.
    package var firstDamaged: String?
    /// False where the time ended before all were looked at.
    package var isComplete = false

    package var count: Int { keySets.values.reduce(damaged, +) }
}

extension KeyManager {
    private static let examinedPage = 256

    /// Looks at every key set's manifest, and asks no KMS.
    /// - Parameter deadline: after which it ends with what it has seen.
    package func examineSeals(
        until deadline: ContinuousClock.Instant
    ) async throws(KeyManagementError) -> SealExamination {
        var found = SealExamination()
        var cursor: String?
        while true {
            let page = try await records.ids(KeySetRow.self, after: cursor, limit: Self.examinedPage)
            guard let last = page.last else {
                found.isComplete = true
                return found
            }
            cursor = last
            for keySet in page {
                guard ContinuousClock.now < deadline, !Task.isCancelled else { return found }
                try await examineSeal(of: keySet, in: &found)
            }
        }
    }

    private func examineSeal(of keySet: String, in found: inout SealExamination) async throws(KeyManagementError) {
        // Twice: a gateway may replace the manifest in between.
        for attempt in 0..<2 {
            do throws(KeyManagementError) {
                guard let row = try await records.read(KeySetRow.self, id: keySet)?.row, row.state != .destroyed else {
                    return
                }
                let sealing = try await manifest(row).body.sealing
                if sealing.mode != .ephemeral { found.keySets[sealing.provider, default: 0] += 1 }
                return
            } catch {
                switch error {
                case .metadataStore, .objectStore: throw error
                default: break
                }
                guard attempt > 0 else { continue }
                found.damaged += 1
                found.firstDamaged = found.firstDamaged ?? "\(keySet): \(error)"
            }
        }
    }
}
