import ArgumentParser
import Foundation
import KeyManagement
import ServiceKit
import Synchronization

/// Runs a job that seals all key sets anew, and tells how far it is.
struct RewrapRunner {
    let settings: ServerConfiguration
    let options: KMSCommandOptions
    let request: RewrapRequest

    func run() async throws {
        let progress = try await Maintenance.run(
            settings, usesUp: options.unwrap, changes: !request.isDryRun
        ) { try await perform($0) }
        try KMSReport.write(progress, of: request, json: options.json)
        guard progress.failed == 0 else {
            throw CommandFailure(
                title: "Not all key sets are sealed anew",
                detail: "\(progress.failed) failed, the first of them above; they open as before",
                fix: "Mend what is named, and run the same command again: it goes on with them.")
        }
    }

    private func perform(_ maintenance: Maintenance) async throws -> RewrapProgress {
        let action = "kms.\(request.kind.rawValue)"
        var parameters = ["from": request.from, "to": request.to]
        if request.retiresOldVersions { parameters["retires"] = "true" }
        try await maintenance.record(action, parameters, outcome: "begun")
        let line = ProgressLine(isShown: Terminal.errorIsTerminal && !options.json)
        defer { line.clear() }
        do {
            let progress = try await maintenance.manager.rewrapAll(
                request,
                begun: { version in
                    try await maintenance.resealInstallation(
                        to: request.to, moves: request.kind == .migrate, version: version)
                },
                completed: { [parameters] keySet in
                    try await maintenance.record("kms.rewrap", keySet: keySet, parameters, outcome: "ok")
                },
                report: { line.show($0) })
            parameters["rewrapped"] = "\(progress.rewrapped)"
            parameters["failed"] = "\(progress.failed)"
            parameters["waiting"] = "\(progress.waiting)"
            try await maintenance.record(
                action, parameters, outcome: progress.phase == .complete ? "ok" : "incomplete")
            return progress
        } catch {
            let outcome = (error as? KeyManagementError).map { FlowFailure($0).problem.name } ?? "failed"
            try? await maintenance.record(action, parameters, outcome: outcome)
            throw error
        }
    }
}

extension ServerConfiguration {
    /// - Throws: for a name that no KMS of the configuration has, with those that it has.
    func requireKMS(_ name: String) throws {
        let names = allKMS.map(\.name)
        guard !names.contains(name) else { return }
        throw CommandFailure(
            title: "No such KMS", detail: "the configuration names no KMS \(name.prefix(64))",
            fix: "Give one that it names (\(names.joined(separator: ", "))), or add it under otherKMS.")
    }
}

/// One line on a terminal that counts.
private final class ProgressLine: Sendable {
    private let isShown: Bool
    private let last = Mutex(ContinuousClock.now)

    init(isShown: Bool) { self.isShown = isShown }

    func show(_ progress: RewrapProgress) {
        guard isShown, due() else { return }
        Terminal.tell(
            "\r\u{1B}[K\(progress.seen) key sets: \(progress.rewrapped) sealed anew, \(progress.upToDate) as they should "
                + "be, \(progress.failed) failed")
    }

    private func due() -> Bool {
        last.withLock { last in
            let now = ContinuousClock.now
            guard now - last > .milliseconds(200) else { return false }
            last = now
            return true
        }
    }

    func clear() { if isShown { Terminal.tell("\r\u{1B}[K") } }
}

/// What a job has done, for people and for programs.
enum KMSReport {
    struct Body: Encodable {
        let kind: String
        let from: String
        let to: String
        let dryRun: Bool
        let phase: String
        let seen: Int
        let rewrapped: Int
        let upToDate: Int
        let waitingForPrincipals: Int
        let destroyed: Int
        let shredded: Int
        let failed: Int
        let failures: [String]
        let started: Date?
        let updated: Date?
        /// Whether the installation's keys told who wrote it.
        let verified: Bool

        init(
            kind: RewrapRequest.Kind, from: String, to: String, dryRun: Bool, _ progress: RewrapProgress,
            started: Date? = nil, updated: Date? = nil, verified: Bool = true
        ) {
            self.kind = kind.rawValue
            self.from = from
            self.to = to
            self.dryRun = dryRun
            phase = dryRun ? "dry-run" : progress.phase.rawValue
            seen = progress.seen
            rewrapped = progress.rewrapped
            upToDate = progress.upToDate
            waitingForPrincipals = progress.waiting
            destroyed = progress.destroyed
            shredded = progress.shredded
            failed = progress.failed
            failures = progress.failures
            self.started = started
            self.updated = updated
            self.verified = verified
        }
    }

    static func write(_ progress: RewrapProgress, of request: RewrapRequest, json: Bool) throws {
        try write(
            Body(kind: request.kind, from: request.from, to: request.to, dryRun: request.isDryRun, progress), json: json
        )
    }

    static func write(_ job: RewrapJob, isVerified: Bool = true, json: Bool) throws {
        try write(
            Body(
                kind: job.kind, from: job.from, to: job.to, dryRun: false, job.progress, started: job.started,
                updated: job.updated, verified: isVerified), json: json)
    }

    private static func write(_ body: Body, json: Bool) throws {
        guard !json else { return try JSONText.write(body) }
        var table = Table()
        table.add(["job", body.kind == "rotate" ? "rotate \(body.to)" : "migrate from \(body.from) to \(body.to)"])
        table.add(["phase", body.phase])
        if let started = body.started { table.add(["started", Format.date(started)]) }
        if let updated = body.updated { table.add(["last step", Format.date(updated)]) }
        if !body.verified { table.add(["verified", "no, give --verify"]) }
        table.add(["key sets", "\(body.seen)"])
        table.add([body.dryRun ? "to be sealed anew" : "sealed anew", "\(body.rewrapped)"])
        table.add(["as they should be", "\(body.upToDate)"])
        table.add(["waiting for their principals", "\(body.waitingForPrincipals)"])
        table.add(["destroyed", "\(body.destroyed)"])
        if body.shredded > 0 { table.add(["of these shredded now", "\(body.shredded)"]) }
        table.add(["failed", "\(body.failed)"])
        var text = table.text
        for failure in body.failures { text += "  \(Terminal.printable(failure))\n" }
        try Terminal.write(text)
    }
}
