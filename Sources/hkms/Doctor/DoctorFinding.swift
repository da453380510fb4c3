import KeyManagement
import ServiceKit

/// What a check of `hkms doctor` found.
struct DoctorFinding: Sendable, Equatable {
    enum Outcome: String, Sendable, Encodable, CaseIterable {
        case ok, warning, failed
        /// Means nothing while another check has failed, or cannot be asked here.
        case skipped
    }

    let outcome: Outcome
    let detail: String
    /// What to do; empty where nothing is to be done.
    let fix: String

    static func ok(_ detail: String) -> DoctorFinding { DoctorFinding(outcome: .ok, detail: detail, fix: "") }

    static func warning(_ detail: String, fix: String) -> DoctorFinding {
        DoctorFinding(outcome: .warning, detail: detail, fix: fix)
    }

    static func failed(_ detail: String, fix: String) -> DoctorFinding {
        DoctorFinding(outcome: .failed, detail: detail, fix: fix)
    }

    static func skipped(_ reason: String) -> DoctorFinding {
        DoctorFinding(outcome: .skipped, detail: reason, fix: "")
    }

    /// The gravest of several, with what all that are as grave say.
    static func together(_ findings: [DoctorFinding], otherwise detail: String) -> DoctorFinding {
        for outcome in [Outcome.failed, .warning] {
            let grave = findings.filter { $0.outcome == outcome }
            guard let first = grave.first else { continue }
            var fixes: [String] = []
            for finding in grave where !fixes.contains(finding.fix) { fixes.append(finding.fix) }
            return DoctorFinding(
                outcome: first.outcome, detail: grave.map(\.detail).joined(separator: "; "),
                fix: fixes.joined(separator: " "))
        }
        return .ok(detail)
    }
}

extension DoctorFinding {
    /// An error as a failed check.
    /// - Parameter fix: for errors that bring none of their own.
    init(_ error: any Error, fix: String) {
        switch error {
        case let finding as DoctorFailure: self = finding.finding
        case let error as KeyManagementError:
            let problem = FlowFailure(error).problem
            self = .failed(problem.detail, fix: problem.fix)
        case let error as any ActionableError: self = .failed(error.detail, fix: error.fix)
        case let error as any ProblemConvertible: self = .failed(error.problem.detail, fix: error.problem.fix)
        case let error as any CustomStringConvertible: self = .failed(error.description, fix: fix)
        default: self = .failed("\(error)", fix: fix)
        }
    }
}

/// Thrown by a check that has no more to tell than this.
struct DoctorFailure: Error {
    let finding: DoctorFinding

    init(_ detail: String, fix: String) { finding = .failed(detail, fix: fix) }
}
