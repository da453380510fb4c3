import Foundation

/// What `hkms doctor` tells: for people, or as JSON.
struct DoctorReport: Sendable {
    let entries: [DoctorExamination.Entry]

    var hasFailed: Bool { entries.contains { $0.finding.outcome == .failed } }

    private func count(_ outcome: DoctorFinding.Outcome) -> Int { entries.count { $0.finding.outcome == outcome } }

    /// A line a check, and below it what to do.
    var text: String {
        let width = entries.map(\.name.count).max() ?? 0
        var text = ""
        for entry in entries {
            let outcome = entry.finding.outcome.rawValue.padding(toLength: 7, withPad: " ", startingAt: 0)
            let name = entry.name.padding(toLength: width, withPad: " ", startingAt: 0)
            text += "\(outcome)  \(name)  \(Self.line(entry.finding.detail))\n"
            if !entry.finding.fix.isEmpty {
                text += String(repeating: " ", count: 9 + width + 2) + "fix: \(Self.line(entry.finding.fix))\n"
            }
        }
        let counts = DoctorFinding.Outcome.allCases.compactMap { outcome in
            count(outcome) > 0 ? "\(count(outcome)) \(outcome.rawValue)" : nil
        }
        return text + counts.joined(separator: ", ") + "\n"
    }

    /// Texts of files and servers must not drive the terminal.
    private static func line(_ text: String) -> String {
        Terminal.printable(text).replacing("\n", with: "; ")
    }

    func json() throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        let output = Output(
            ok: !hasFailed,
            counts: Dictionary(
                uniqueKeysWithValues: DoctorFinding.Outcome.allCases.map { ($0.rawValue, count($0)) }),
            checks: entries.map { entry in
                Output.Check(
                    name: entry.name, outcome: entry.finding.outcome, detail: Terminal.printable(entry.finding.detail),
                    fix: entry.finding.fix.isEmpty ? nil : Terminal.printable(entry.finding.fix),
                    milliseconds: (entry.milliseconds * 10).rounded() / 10)
            })
        return Array(try encoder.encode(output)) + [UInt8(ascii: "\n")]
    }

    private struct Output: Encodable {
        struct Check: Encodable {
            let name: String
            let outcome: DoctorFinding.Outcome
            let detail: String
            let fix: String?
            let milliseconds: Double
        }
        let ok: Bool
        let counts: [String: Int]
        let checks: [Check]
    }
}
