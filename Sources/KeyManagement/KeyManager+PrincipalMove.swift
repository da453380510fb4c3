import Synchronization

/// Moves of what only its principal's credential opens, while that is at hand.
extension KeyManager {
    /// What the principal waits for, beside the results that are ready.
    private static let moveLimit = Duration.seconds(5)
    /// After a move that failed: the new KMS is away, or refuses, for others too.
    private static let movePause = Duration.seconds(60)

    /// Moves a key set of a principal's own key to the current KMS. It stays where it is where that fails.
    func moveWithPrincipal(_ keySet: String, as requester: Requester) async {
        guard requester.kmsCredential != nil, movesAgain.withLock({ $0.map { $0 < .now } ?? true }) else { return }
        let works = await withTaskGroup(of: Bool.self) { group in
            group.addTask { await self.tryToMove(keySet, as: requester) }
            group.addTask {
                try? await Task.sleep(for: Self.moveLimit)
                return false
            }
            let works = await group.next() ?? false
            group.cancelAll()
            return works
        }
        if !works, !Task.isCancelled { movesAgain.withLock { $0 = .now + Self.movePause } }
    }

    /// - Returns: false where the new KMS, or storage, is away: nobody else's key set would move either.
    private func tryToMove(_ keySet: String, as requester: Requester) async -> Bool {
        guard let credential = requester.kmsCredential else { return true }
        do {
            guard let stored = try await records.read(KeySetRow.self, id: keySet), stored.row.state != .destroyed else {
                return true
            }
            let manifest = try await manifest(stored.row).body
            guard manifest.sealing.authority == .principal, manifest.sealing.provider != kms.current.name,
                kms.current.placement == .perPrincipal
            else { return true }
            let fresh = try await reseal(
                sealedObjects(manifest), manifest, .move, at: kms.current, as: .principal(credential))
            if try await replace(manifest, by: fresh, in: stored) {
                logger.notice(
                    "a key set moved to the current KMS with its principal's credential",
                    metadata: ["keySet": "\(keySet)", "kms": "\(kms.current.name)"])
            }
            return true
        } catch {
            logger.warning(
                "a key set could not be moved to the current KMS; it stays where it is",
                metadata: ["keySet": "\(keySet)", "reason": "\(error)"])
            switch KeyManagementError(error) {
            case .kms(.unavailable), .kms(.throttled), .objectStore(.unavailable), .metadataStore(.unavailable):
                return false
            default: return true
            }
        }
    }
}
