import Attestation
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension KeyManager {
    /// The job that is under way, or the last one.
    public func rewrapJob() async throws(KeyManagementError) -> RewrapJob? {
        try await records.read(RewrapJobRow.self, id: RewrapJobRow.id).map { RewrapJob($0.row) }
    }

    /// Ends an unfinished job where it stands: every key set opens, some under old seals.
    /// - Returns: the job; nil where none was unfinished.
    public func cancelRewrapJob() async throws(KeyManagementError) -> RewrapJob? {
        while let stored = try await records.read(RewrapJobRow.self, id: RewrapJobRow.id) {
            guard RewrapJob(stored.row).isUnfinished else { return nil }
            var cancelled = stored
            cancelled.row.progress.phase = .cancelled
            cancelled.row.runner = instance
            cancelled.row.updated = clock()
            do {
                try await records.apply([try records.update(cancelled)])
                return RewrapJob(cancelled.row)
            } catch .metadataStore(.conflict) { continue }
        }
        return nil
    }

    /// Seals all key sets anew, going on with the same job where it was broken off: what is sealed as it should be is
    /// passed over. Two processes may try: the second takes over, and the first ends before it changes anything more.
    /// - Parameters:
    ///   - begun: called with the version that stays: what else is sealed under the key is sealed anew by it, under this
    ///     version at least, or it throws. Called again where a job is resumed, and before any old version goes.
    ///   - completed: called for each key set that was sealed anew, before the job goes on; what it throws ends the job.
    ///   - report: called with the counts as they grow.
    /// - Returns: with the phase `complete`, or `rewrapping` where key sets failed: run it again.
    /// - Throws: where a KMS or store does not answer for minutes, or may not be used: run it again to go on.
    ///   Failures of single key sets are counted and do not end it.
    public func rewrapAll(
        _ request: RewrapRequest, begun: @Sendable (Int) async throws -> Void = { _ in },
        completed: @escaping @Sendable (String) async throws -> Void = { _ in },
        report: @escaping @Sendable (RewrapProgress) -> Void = { _ in }
    ) async throws -> RewrapProgress {
        let target = try kms.kms(named: request.to)
        _ = try kms.kms(named: request.from)
        guard (request.kind == .rotate) == (request.from == request.to) else {
            throw KeyManagementError.invalidRequest(reason: "a migration has two KMSs, and a rotation one")
        }
        guard request.kind == .rotate || target.name == kms.current.name else {
            throw KeyManagementError.invalidRequest(
                reason: "a migration is to the current KMS, which is \(kms.current.name)")
        }
        guard !request.retiresOldVersions || request.kind == .rotate else {
            throw KeyManagementError.invalidRequest(reason: "a rotation alone retires old versions")
        }
        guard !request.retiresOldVersions || target.kms.capabilities.destroysVersions else {
            throw KeyManagementError.kms(.notSupported(operation: "destroying single versions of a key"))
        }
        let before: KMSKeyDescription
        do { before = try await target.kms.describeKey(target.key) } catch { throw KeyManagementError.kms(error) }
        guard before.state == .enabled else {
            throw KeyManagementError.kms(.keyUnusable(target.key, reason: "it is not enabled"))
        }
        if request.isDryRun {
            var run = RewrapRun(manager: self, request: request, completed: completed, report: report, stored: nil)
            return try await run.dryRun(at: target, latest: before.latestVersion)
        }
        var run = RewrapRun(
            manager: self, request: request, completed: completed, report: report,
            stored: try await begin(request, versionBefore: before.latestVersion))
        return try await run.toEnd(at: target, begun: begun)
    }

    /// Takes over the unfinished job of this request, or writes down a new one.
    private func begin(
        _ request: RewrapRequest, versionBefore: Int
    ) async throws(KeyManagementError) -> Stored<RewrapJobRow> {
        let now = clock()
        let fresh = RewrapJobRow(
            job: Self.newIdentifier("job"), kind: request.kind, from: request.from, to: request.to,
            runner: instance, started: now, updated: now,
            addsVersion: request.kind == .rotate && request.addsVersion,
            retiresOldVersions: request.retiresOldVersions, versionBefore: versionBefore, progress: RewrapProgress())
        for _ in 0..<16 {
            guard var stored = try await records.read(RewrapJobRow.self, id: RewrapJobRow.id) else {
                do {
                    try await records.apply([
                        try records.insertion(fresh, id: RewrapJobRow.id, index: RewrapJobRow.id)
                    ])
                    return Stored(id: RewrapJobRow.id, index: RewrapJobRow.id, version: 1, row: fresh)
                } catch .metadataStore(.conflict) { continue }
            }
            if RewrapJob(stored.row).isUnfinished {
                try Self.requireSame(stored.row, as: fresh)
                stored.row.runner = instance
                stored.row.updated = now
                // Whatever phase it was in: nothing is destroyed that a whole pass of this run has not looked at.
                if stored.row.version != nil { stored.row.progress.phase = .rewrapping }
            } else {
                let retired = stored.row.retired
                stored.row = fresh
                stored.row.retired = retired
            }
            do {
                try await records.apply([try records.update(stored)])
                return Stored(
                    id: stored.id, index: stored.index, version: stored.version + 1, row: stored.row)
            } catch .metadataStore(.conflict) { continue }
        }
        throw .metadataStore(.unavailable(reason: "too many writers at one job"))
    }

    private static func requireSame(_ row: RewrapJobRow, as fresh: RewrapJobRow) throws(KeyManagementError) {
        guard row.kind == fresh.kind, row.from == fresh.from, row.to == fresh.to else {
            throw .rewrapStopped(
                reason: "another job is unfinished: \(row.kind.rawValue) from \(row.from) to \(row.to)",
                fix: "Run it to its end, or end it where it stands: hkms kms cancel.")
        }
        guard row.addsVersion == fresh.addsVersion, row.retiresOldVersions == fresh.retiresOldVersions else {
            throw .rewrapStopped(
                reason: "the unfinished job is one that "
                    + (row.addsVersion ? "adds a version" : "adds no version (--rewrap-only)")
                    + (row.retiresOldVersions ? " and destroys old ones (--retire)" : " and destroys none"),
                fix: "Run it again so, or end it where it stands: hkms kms cancel.")
        }
    }
}
