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

    /// Seals all key sets anew, resuming the same job where it was broken off. Two processes may try: the second takes
    /// over, and the first ends.
    /// - Parameters:
    ///   - begun: called once the keys' latest versions are those that stay, before any old one goes: what else is
    ///     sealed under them is sealed anew by it. Called again where a job is resumed.
    ///   - completed: called for each key set that was sealed anew, before the job goes on; what it throws ends the job.
    ///   - report: called with the counts as they grow.
    /// - Throws: where a KMS or store does not answer for minutes, or may not be used: run it again to go on.
    ///   Failures of single key sets are counted and do not end it.
    public func rewrapAll(
        _ request: RewrapRequest, begun: @Sendable () async throws -> Void = {},
        completed: @escaping @Sendable (String) async throws -> Void = { _ in },
        report: @escaping @Sendable (RewrapProgress) -> Void = { _ in }
    ) async throws -> RewrapProgress {
        let target = try kms.kms(named: request.to)
        _ = try kms.kms(named: request.from)
        guard (request.kind == .rotate) == (request.from == request.to) else {
            throw KeyManagementError.invalidRequest(
                reason: "a migration has two KMSs, and a rotation one")
        }
        guard !request.retiresOldVersions || target.kms.capabilities.destroysVersions else {
            throw KeyManagementError.kms(.notSupported(operation: "destroying single versions of a key"))
        }
        let before = try await target.kms.describeKey(target.key)
        guard before.state == .enabled else {
            throw KeyManagementError.kms(.keyUnusable(target.key, reason: "it is not enabled"))
        }
        if request.isDryRun {
            var run = RewrapRun(manager: self, request: request, completed: completed, report: report, stored: nil)
            // As if a version had been added.
            let added = request.kind == .rotate && request.addsVersion ? 1 : 0
            return try await run.pass(
                to: RewrapTarget(
                    kms: target, version: before.latestVersion + added, from: request.from, addsOwnVersions: added > 0,
                    retiresOwnVersions: false, isDryRun: true))
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
            kind: request.kind, from: request.from, to: request.to, runner: instance, started: now, updated: now,
            versionBefore: request.kind == .rotate && request.addsVersion ? versionBefore : nil,
            retiresOldVersions: request.retiresOldVersions, progress: RewrapProgress())
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
                guard stored.row.kind == request.kind, stored.row.from == request.from, stored.row.to == request.to
                else {
                    throw .invalidRequest(
                        reason: "another job is unfinished: \(stored.row.kind.rawValue) from \(stored.row.from) to "
                            + "\(stored.row.to); run it to its end, or cancel it")
                }
                stored.row.runner = instance
                stored.row.updated = now
                stored.row.retiresOldVersions = stored.row.retiresOldVersions || request.retiresOldVersions
                stored.row.progress.failed = 0
                stored.row.progress.failures = []
            } else {
                stored.row = fresh
            }
            do {
                try await records.apply([try records.update(stored)])
                return Stored(
                    id: stored.id, index: stored.index, version: stored.version + 1, row: stored.row)
            } catch .metadataStore(.conflict) { continue }
        }
        throw .metadataStore(.unavailable(reason: "too many writers at one job"))
    }
}

/// One process's share of a job.
struct RewrapRun {
    let manager: KeyManager
    let request: RewrapRequest
    let completed: @Sendable (String) async throws -> Void
    let report: @Sendable (RewrapProgress) -> Void
    /// nil for a dry run.
    var stored: Stored<RewrapJobRow>?
    private var progress = RewrapProgress()

    private static let pageSize = 64
    /// A registration that began before the key's new version may end this late.
    private static let registrationPatience = Duration.seconds(600)

    init(
        manager: KeyManager, request: RewrapRequest, completed: @escaping @Sendable (String) async throws -> Void,
        report: @escaping @Sendable (RewrapProgress) -> Void, stored: Stored<RewrapJobRow>?
    ) {
        self.manager = manager
        self.request = request
        self.completed = completed
        self.report = report
        self.stored = stored
        if let stored { progress = stored.row.progress }
    }

    // MARK: From beginning to end

    mutating func toEnd(
        at configured: ConfiguredKMS, begun: () async throws -> Void
    ) async throws -> RewrapProgress {
        if progress.phase == .rotating {
            if let before = stored?.row.versionBefore,
                try await configured.kms.describeKey(configured.key).latestVersion == before
            {
                try await configured.kms.rotateKey(configured.key)
            }
            progress.phase = .rewrapping
            try await save { $0.cursor = nil }
        }
        try await begun()
        let version = try await configured.kms.describeKey(configured.key).latestVersion
        if progress.phase == .rewrapping {
            repeat {
                let isFirst = stored?.row.pass == 0
                _ = try await pass(
                    to: RewrapTarget(
                        kms: configured, version: version, from: request.from,
                        addsOwnVersions: isFirst && request.kind == .rotate && request.addsVersion,
                        retiresOwnVersions: stored?.row.retiresOldVersions == true, isDryRun: false))
                // What was registered under the old version while the pass went by comes in the next one.
                try await awaitRegistrations()
            } while try await nextPass()
            guard progress.failed == 0 else { return progress }
            progress.phase = .retiring
            try await save { _ in }
        }
        if stored?.row.retiresOldVersions == true, progress.waiting == 0 {
            try await configured.kms.setMinimumVersion(version, of: configured.key)
            try await configured.kms.destroyVersions(below: version, of: configured.key)
        }
        progress.shredded = try await manager.markShredded()
        progress.phase = .complete
        try await save { _ in }
        report(progress)
        return progress
    }

    /// - Returns: whether there is to be another one.
    private mutating func nextPass() async throws -> Bool {
        guard let row = stored?.row, row.changedInPass > 0 || row.pass == 0 else { return false }
        // Counts are those of the first pass; what a later one adds is counted on top.
        try await save {
            $0.pass += 1
            $0.cursor = nil
            $0.changedInPass = 0
        }
        return true
    }

    /// Registrations that were under way when the job began sealed under what was the latest version then.
    private func awaitRegistrations() async throws {
        guard let started = stored?.row.started else { return }
        let deadline = ContinuousClock.now + Self.registrationPatience
        while ContinuousClock.now < deadline {
            let index = RegistrationRow.Status.creating.rawValue
            let rows = try await manager.records.list(RegistrationRow.self, index: index)
            guard rows.contains(where: { $0.row.status == .creating && $0.row.started <= started }) else { return }
            try await manager.removeAbandonedRegistrations()
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    // MARK: One pass over all key sets

    mutating func pass(to target: RewrapTarget) async throws -> RewrapProgress {
        let isFirst = (stored?.row.pass ?? 0) == 0
        var cursor = stored?.row.cursor
        let pace = request.rate.map { Duration.seconds(Double(request.width) / max($0, 0.001)) }
        while true {
            let page = try await patiently { [manager, cursor] in
                try await manager.records.page(KeySetRow.self, after: cursor, limit: Self.pageSize)
            }
            var changed = 0
            for start in stride(from: 0, to: page.count, by: request.width) {
                let begun = ContinuousClock.now
                let group = page[start..<min(start + request.width, page.count)].map(\.id)
                for (keySet, result) in try await rewrap(group, to: target) {
                    switch result {
                    case .success(let outcome):
                        if outcome == .rewrapped {
                            changed += 1
                            try await completed(keySet)
                        }
                        if isFirst || outcome == .rewrapped { progress.count(outcome) }
                    case .failure(let error):
                        if isFirst { progress.count(failure: "\(keySet): \(error)") }
                    }
                }
                report(progress)
                if let pace { try await Task.sleep(until: begun + pace, clock: .continuous) }
            }
            cursor = page.last?.id ?? cursor
            try await save { [cursor, changed] in
                $0.cursor = cursor
                $0.changedInPass += changed
            }
            if page.count < Self.pageSize { return progress }
        }
    }

    private typealias Outcome = (keySet: String, result: Result<RewrapOutcome, KeyManagementError>)

    private func rewrap(_ keySets: [String], to target: RewrapTarget) async throws -> [Outcome] {
        try await withThrowingTaskGroup(of: Outcome.self) { [manager] group in
            for keySet in keySets {
                group.addTask {
                    do {
                        let outcome = try await patiently {
                            try await manager.rewrap(keySet, to: target)
                        }
                        return (keySet, .success(outcome))
                    } catch let error as KeyManagementError {
                        // Without the KMS or a store nothing goes; a credential that may not is not for one key set.
                        switch error {
                        case .kms(.unavailable), .kms(.throttled), .kms(.denied), .metadataStore, .objectStore:
                            throw error
                        default: return (keySet, .failure(error))
                        }
                    }
                }
            }
            var outcomes: [Outcome] = []
            for try await outcome in group { outcomes.append(outcome) }
            return outcomes
        }
    }

    /// Again and again while a KMS or store is away, with pauses that grow; as long as a KMS asks for.
    private func patiently<Success: Sendable>(
        _ body: @Sendable () async throws -> Success
    ) async throws -> Success {
        let deadline = ContinuousClock.now + request.patience
        var pause = Duration.milliseconds(100)
        while true {
            do { return try await body() } catch let error as KeyManagementError {
                let asked: Duration
                switch error {
                case .kms(.unavailable), .objectStore(.unavailable), .metadataStore(.unavailable): asked = pause
                case .kms(.throttled(let seconds)): asked = seconds.map { .seconds($0) } ?? pause
                default: throw error
                }
                guard ContinuousClock.now + asked < deadline else { throw error }
                try await Task.sleep(for: asked)
                pause = min(pause * 2, .seconds(5))
            }
        }
    }

    /// Writes down how far the job is.
    /// - Throws: `invalidRequest` where another process has taken it over.
    private mutating func save(_ change: @Sendable (inout RewrapJobRow) -> Void) async throws {
        guard var stored else { return }
        change(&stored.row)
        stored.row.progress = progress
        stored.row.updated = manager.clock()
        do {
            try await manager.records.apply([try manager.records.update(stored)])
        } catch .metadataStore(.conflict) {
            throw KeyManagementError.invalidRequest(
                reason: "another process has taken over this job, or cancelled it")
        }
        self.stored = Stored(id: stored.id, index: stored.index, version: stored.version + 1, row: stored.row)
    }
}
