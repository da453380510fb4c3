import ServiceKit
import Synchronization

/// Runs checks side by side, each after those that it depends on.
struct DoctorExamination: Sendable {
    struct Entry: Sendable {
        let name: String
        let finding: DoctorFinding
        let milliseconds: Double
    }

    /// In the order in which they are told; a check comes behind those that it depends on.
    let checks: [DoctorCheck]
    /// For each check.
    let limit: Duration

    /// - Parameter onChange: told what is running, whenever that changes.
    func run(onChange: @escaping @Sendable ([String]) -> Void = { _ in }) async -> [Entry] {
        var entries: [String: Entry] = [:]
        // Why checks were skipped that were not asked.
        var causes: [String: String] = [:]
        await withTaskGroup(of: Entry.self) { group in
            var waiting = checks
            var running: [String] = []
            while true {
                var left: [DoctorCheck] = []
                for check in waiting {
                    let needed = check.after.filter { name in checks.contains { $0.name == name } }
                    guard needed.allSatisfy({ entries[$0] != nil }) else {
                        left.append(check)
                        continue
                    }
                    if let reason = Self.reason(toSkipAfter: needed.compactMap { entries[$0] }, causes) {
                        causes[check.name] = reason
                        entries[check.name] = Entry(name: check.name, finding: .skipped(reason), milliseconds: 0)
                    } else {
                        running.append(check.name)
                        group.addTask { [limit] in await Self.run(check, within: limit) }
                    }
                }
                // One that was skipped may let others be skipped.
                let settled = left.count < waiting.count
                waiting = left
                onChange(running)
                if settled, !waiting.isEmpty { continue }
                guard let entry = await group.next() else { break }
                entries[entry.name] = entry
                running.removeAll { $0 == entry.name }
            }
        }
        return checks.compactMap { entries[$0.name] }
    }

    /// - Parameters:
    ///   - needed: what a check comes after.
    ///   - causes: why some of these were skipped themselves.
    /// - Returns: what kept the first of them from saying that all is well; nil where nothing did.
    private static func reason(toSkipAfter needed: [Entry], _ causes: [String: String]) -> String? {
        if let failed = needed.first(where: { $0.finding.outcome == .failed }) {
            return "\(failed.name) must be mended first"
        }
        guard let skipped = needed.first(where: { $0.finding.outcome == .skipped }) else { return nil }
        return causes[skipped.name] ?? "left out with \(skipped.name)"
    }

    /// Ends in time whatever the check does: one that hangs in the kernel is left to the end of the process.
    private static func run(_ check: DoctorCheck, within limit: Duration) async -> Entry {
        let start = ContinuousClock.now
        let finding = await withCheckedContinuation { (continuation: CheckedContinuation<DoctorFinding, Never>) in
            let answer = Once(continuation)
            let work = Task {
                do {
                    answer.give(try await check.examine())
                } catch {
                    answer.give(DoctorFinding(error, fix: check.fix))
                }
            }
            Task {
                try? await Task.sleep(for: limit)
                work.cancel()
                answer.give(.failed("no answer within \(limit.components.seconds) s", fix: check.fix))
            }
        }
        let (seconds, attoseconds) = (ContinuousClock.now - start).components
        return Entry(
            name: check.name, finding: finding, milliseconds: Double(seconds) * 1e3 + Double(attoseconds) / 1e15)
    }

    /// The first answer counts.
    private final class Once: Sendable {
        private let continuation: Mutex<CheckedContinuation<DoctorFinding, Never>?>

        init(_ continuation: CheckedContinuation<DoctorFinding, Never>) { self.continuation = Mutex(continuation) }

        func give(_ finding: DoctorFinding) {
            let waiting = continuation.withLock { held in
                defer { held = nil }
                return held
            }
            waiting?.resume(returning: finding)
        }
    }
}
