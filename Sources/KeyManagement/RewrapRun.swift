import Attestation

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One process's share of a job that seals all key sets anew.
struct RewrapRun {
    let manager: KeyManager
    let request: RewrapRequest
    let completed: @Sendable (String) async throws -> Void
    let report: @Sendable (RewrapProgress) -> Void
    /// nil for a dry run.
    private var stored: Stored<RewrapJobRow>?
    private var progress = RewrapProgress()

    private static let pageSize = 64
    /// Others see how far it is at least this often.
    private static let savingPause = Duration.seconds(1)
    /// Passes until one finds nothing left: more of them mean that somebody works against the job.
    private static let maximumPasses = 16
    /// A registration that began before the key's new version may end this late.
    private static let registrationPatience = Duration.seconds(900)

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

    mutating func dryRun(at configured: ConfiguredKMS, latest: Int) async throws -> RewrapProgress {
        // As if a version had been added.
        let added = request.kind == .rotate && request.addsVersion ? 1 : 0
        _ = try await pass(
            to: RewrapTarget(
                kms: configured, version: latest + added, from: request.from, job: "dry-run",
                addsOwnVersions: added > 0, retiresOwnVersions: false, isDryRun: true), isFirst: true)
        return progress
    }

    mutating func toEnd(
        at configured: ConfiguredKMS, begun: @Sendable (Int) async throws -> Void
    ) async throws -> RewrapProgress {
        let version = try await addedVersion(at: configured)
        // Under way when the version was there already: they may have sealed under the one before.
        var registrations = try await registrationsUnderWay()
        try await patiently { try await Self.inTermsOfFlows { try await begun(version) } }
        let target = target(configured, version)
        for number in 0..<Self.maximumPasses {
            let changed = try await pass(to: target, isFirst: number == 0)
            guard progress.failed == 0 else {
                try await save { _ in }
                return progress
            }
            if !registrations.isEmpty {
                try await awaitEnd(of: registrations)
                registrations = []
            } else if changed == 0 {
                try await finish(at: configured, version: version, begun: begun)
                return progress
            }
        }
        throw KeyManagementError.internalFailure(
            reason: "key sets are sealed under old versions again and again: see who rotates the key, then run it again"
        )
    }

    /// The version that seals have at least from here on, added where the job does so.
    private mutating func addedVersion(at configured: ConfiguredKMS) async throws -> Int {
        if let version = stored?.row.version { return version }
        if let row = stored?.row, row.addsVersion, try await latestVersion(of: configured) <= row.versionBefore {
            try await fence()
            do throws(KMSError) { try await configured.kms.rotateKey(configured.key) } catch {
                switch error {
                case .denied, .notSupported, .keyUnusable:
                    // Nothing was changed, and nothing is left that would have to be cancelled.
                    progress.phase = .cancelled
                    try await save { _ in }
                    throw KeyManagementError.rewrapStopped(
                        reason: "\(configured.name) adds no version to \(configured.key): \(error)",
                        fix: "Rotate the key in the KMS, as its administrator, and give --rewrap-only; or use a "
                            + "configuration with an administrator's credential.")
                default: throw KeyManagementError.kms(error)
                }
            }
        }
        let version = try await latestVersion(of: configured)
        progress.phase = .rewrapping
        try await save { $0.version = version }
        return version
    }

    private func latestVersion(of configured: ConfiguredKMS) async throws -> Int {
        try await patiently {
            try await Self.inTermsOfFlows { try await configured.kms.describeKey(configured.key).latestVersion }
        }
    }

    private func target(_ configured: ConfiguredKMS, _ version: Int) -> RewrapTarget {
        var target = RewrapTarget(
            kms: configured, version: version, from: request.from, job: stored?.row.job ?? "",
            addsOwnVersions: request.kind == .rotate && request.addsVersion,
            retiresOwnVersions: request.retiresOldVersions, isDryRun: false)
        target.fence = { [manager] in try await Self.fence(manager) }
        return target
    }

    /// Throws where the job is another process's by now, or cancelled.
    private func fence() async throws { try await Self.fence(manager) }

    private static func fence(_ manager: KeyManager) async throws {
        guard let row = try await manager.records.read(RewrapJobRow.self, id: RewrapJobRow.id)?.row,
            row.runner == manager.instance, RewrapJob(row).isUnfinished
        else { throw taken }
    }

    private static var taken: KeyManagementError {
        .rewrapStopped(
            reason: "another process has taken over this job, or cancelled it",
            fix: "See hkms kms status. Every key set opens, some are sealed as before, some anew.")
    }

    private mutating func finish(
        at configured: ConfiguredKMS, version: Int, begun: @Sendable (Int) async throws -> Void
    ) async throws {
        var retired: SealingPlace?
        if stored?.row.retiresOldVersions == true {
            progress.phase = .retiring
            // Registrations read it once their seal is stored: those that came before are seen here, or waited for.
            let place = SealingPlace(
                provider: configured.name, keyName: configured.key.value, keyVersion: version)
            try await save { $0.retired = place }
            try await requireNothingSealed(below: version, at: configured)
            // What else is sealed under the key: looked at once more, too.
            try await patiently { try await Self.inTermsOfFlows { try await begun(version) } }
            try await fence()
            do {
                try await patiently {
                    try await Self.inTermsOfFlows {
                        try await configured.kms.setMinimumVersion(version, of: configured.key)
                    }
                }
                try await save { _ in }
                // The minimum can be taken back, what comes now cannot.
                try await requireNothingSealed(below: version, at: configured, isElsewhereKnown: true)
                // That may have taken long: a job that was cancelled meanwhile destroys nothing.
                try await fence()
                try await patiently {
                    try await Self.inTermsOfFlows {
                        try await configured.kms.destroyVersions(below: version, of: configured.key)
                    }
                }
            } catch KeyManagementError.kms(.denied(let reason)) {
                throw KeyManagementError.rewrapStopped(
                    reason: "all is sealed anew, and old versions of \(configured.key) are not destroyed: \(reason)",
                    fix: "Run it again with a credential that may; or end it here: hkms kms cancel.")
            }
            retired = SealingPlace(
                provider: configured.name, keyName: configured.key.value, keyVersion: version - 1)
        }
        if let retired { progress.shredded = try await manager.markShredded(retired) }
        progress.phase = .complete
        try await save { _ in }
        report(progress)
    }

    // MARK: Registrations

    private func registrationsUnderWay() async throws -> Set<String> {
        let index = RegistrationRow.Status.creating.rawValue
        let rows = try await manager.records.list(RegistrationRow.self, index: index)
        return Set(rows.filter { $0.row.status == .creating }.map(\.row.keySet))
    }

    /// Waits until these registrations have ended, or are given up and cannot end any more.
    private func awaitEnd(of registrations: Set<String>) async throws {
        let deadline = ContinuousClock.now + Self.registrationPatience
        while true {
            try await fence()
            let underWay = try await patiently { [self] in
                try await manager.removeAbandonedRegistrations()
                return try await registrationsUnderWay()
            }
            if underWay.isDisjoint(with: registrations) { return }
            guard ContinuousClock.now < deadline else {
                throw KeyManagementError.rewrapStopped(
                    reason: "registrations that began long ago are still under way", fix: "Run it again later.")
            }
            try await Task.sleep(for: .milliseconds(500))
        }
    }

    /// Registrations that are under way are waited for: they end under the new version, or leave nothing.
    /// - Parameter isElsewhereKnown: seals of other KMSs were looked at before; the minimum shuts them out by now.
    private func requireNothingSealed(
        below version: Int, at configured: ConfiguredKMS, isElsewhereKnown: Bool = false
    ) async throws {
        var left: Set<String>?
        repeat {
            let among = left
            let underWay = try await patiently { [manager] in
                try await manager.requireNothingSealed(
                    below: version, at: configured, among: among, isElsewhereKnown: isElsewhereKnown)
            }
            if !underWay.isEmpty { try await awaitEnd(of: underWay) }
            left = underWay
        } while left?.isEmpty == false
    }

    // MARK: One pass over all key sets

    /// - Returns: how many were sealed anew.
    private mutating func pass(to target: RewrapTarget, isFirst: Bool) async throws -> Int {
        progress.beginPass(isFirst: isFirst)
        var cursor: String?
        var changed = 0
        // Not more at a time than go in a second, or they would come in bursts.
        let width = request.rate.map { max(1, min(request.width, Int($0))) } ?? request.width
        let pace = request.rate.map { Duration.seconds(Double(width) / max($0, 0.001)) }
        var saved = ContinuousClock.now
        while true {
            // Names alone: a row that cannot be read is the failure of one key set.
            let page = try await patiently { [manager, cursor] in
                try await manager.records.ids(KeySetRow.self, after: cursor, limit: Self.pageSize)
            }
            for start in stride(from: 0, to: page.count, by: width) {
                let begun = ContinuousClock.now
                let group = Array(page[start..<min(start + width, page.count)])
                var fatal: (any Error)?
                for attempt in await rewrap(group, to: target) {
                    if let outcome = attempt.outcome {
                        if outcome == .rewrapped {
                            changed += 1
                            try await completed(attempt.keySet)
                        }
                        if isFirst || outcome == .rewrapped { progress.count(outcome) }
                    } else if let error = attempt.error as? KeyManagementError, !Self.isOfAll(error) {
                        progress.count(failure: "\(attempt.keySet): \(error)")
                    } else {
                        fatal = fatal ?? attempt.error
                    }
                }
                report(progress)
                if let fatal { throw fatal }
                if begun - saved > Self.savingPause {
                    try await save { _ in }
                    saved = begun
                }
                if let pace { try await Task.sleep(until: begun + pace, clock: .continuous) }
            }
            try await save { _ in }
            // Until an empty page: a store may give fewer than were asked for.
            guard let last = page.last else { return changed }
            cursor = last
        }
    }

    /// What became of one key set.
    private struct Attempt: Sendable {
        let keySet: String
        let outcome: RewrapOutcome?
        let error: (any Error)?
    }

    private func attempt(_ keySet: String, _ target: RewrapTarget) async -> Attempt {
        do {
            let outcome = try await patiently { [manager] in try await manager.rewrap(keySet, to: target) }
            return Attempt(keySet: keySet, outcome: outcome, error: nil)
        } catch { return Attempt(keySet: keySet, outcome: nil, error: error) }
    }

    private func rewrap(_ keySets: [String], to target: RewrapTarget) async -> [Attempt] {
        await withTaskGroup(of: Attempt.self) { group in
            for keySet in keySets { group.addTask { await attempt(keySet, target) } }
            var attempts: [Attempt] = []
            for await attempt in group { attempts.append(attempt) }
            return attempts
        }
    }

    /// Without the KMS or a store nothing goes; a credential that may not is not for one key set.
    private static func isOfAll(_ error: KeyManagementError) -> Bool {
        switch error {
        case .kms(.unavailable), .kms(.throttled), .kms(.denied), .metadataStore(.unavailable),
            .objectStore(.unavailable):
            true
        default: error == taken
        }
    }

    /// Again and again while a KMS or store is away, with pauses that grow; as long as a KMS asks for, within the
    /// request's patience.
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
                case .kms(.throttled(let seconds)): asked = max(pause, .seconds(seconds ?? 0))
                default: throw error
                }
                guard ContinuousClock.now + asked < deadline else { throw error }
                try await Task.sleep(for: asked)
                pause = min(pause * 2, .seconds(5))
            }
        }
    }

    /// What a KMS throws, as the flows say it.
    private static func inTermsOfFlows<Success: Sendable>(
        _ body: () async throws -> Success
    ) async throws -> Success {
        do { return try await body() } catch let error as KMSError { throw KeyManagementError.kms(error) }
    }

    /// Writes down how far the job is.
    /// - Throws: `invalidRequest` where another process has taken it over.
    private mutating func save(_ change: @Sendable (inout RewrapJobRow) -> Void) async throws {
        guard var stored else { return }
        change(&stored.row)
        stored.row.progress = progress
        stored.row.updated = manager.clock()
        let change = try manager.records.update(stored)
        do {
            try await patiently { [manager] in try await manager.records.apply([change]) }
        } catch KeyManagementError.metadataStore(.conflict) { throw Self.taken }
        self.stored = Stored(id: stored.id, index: stored.index, version: stored.version + 1, row: stored.row)
    }
}
