import AccessPolicy
import ArgumentParser

extension PolicyCommand {
    /// `hkms policy check`
    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check a policy file.",
            discussion: """
                Names each error with file and line. Where there is none, warns of rules that never match, or whose \
                every allowance a deny rule takes away, and proves or refutes each separation of duties: for one that is \
                refuted it names the two rules, and who would hold both sides.

                  hkms policy check policy.yaml

                Exit codes: 0 usable and every separation proved, warnings or not; 65 otherwise.
                """)

        @Argument(help: "The policy file.")
        var file: String
        @Flag(help: "Print JSON.")
        var json = false

        func run() throws {
            let policy = try PolicyCommand.read(file)
            let separations = policy.checkSeparations()
            let warnings = policy.warnings()
            if json {
                try PolicyCommand.write(Report(policy, warnings, separations))
            } else {
                for warning in warnings { Terminal.tell(Terminal.printable(warning.description) + "\n") }
                for separation in separations { try Terminal.write(Self.text(separation)) }
                try Terminal.write(
                    "\(Terminal.printable(file)): usable, rules: \(policy.ruleCount)\nSHA-256 \(policy.digest)\n")
            }
            guard separations.allSatisfy({ $0.outcome == .proved }) else { throw CommandFailure.inputData }
        }

        private static func text(_ report: SeparationReport) -> String {
            var lines: [String] = []
            switch report.outcome {
            case .proved: lines.append("separation \(report.separation): proved")
            case .undecided: lines.append("separation \(report.separation): not decided, its rules have too many names")
            case .refuted(let conflicts):
                lines.append("separation \(report.separation): refuted")
                for conflict in conflicts {
                    let rules =
                        conflict.either == conflict.or
                        ? "rule \(conflict.either) alone gives" : "rules \(conflict.either) and \(conflict.or) give"
                    lines.append("  \(rules) both sides to: \(conflict.who)")
                }
            }
            return Terminal.printable(lines.joined(separator: "\n")) + "\n"
        }
    }

    private struct Report: Encodable {
        struct Warning: Encodable {
            let rule: String
            let file: String
            let line: Int
            let message: String
        }
        struct Separation: Encodable {
            let name: String
            let line: Int
            let outcome: String
            let conflicts: [Conflict]
        }
        struct Conflict: Encodable {
            let either: String
            let or: String
            let who: String
        }
        let policy: String
        let rules: Int
        let warnings: [Warning]
        let separations: [Separation]

        init(_ policy: Policy, _ warnings: [PolicyWarning], _ separations: [SeparationReport]) {
            self.policy = policy.digest
            rules = policy.ruleCount
            self.warnings = warnings.map {
                Warning(rule: $0.rule.name, file: $0.rule.file, line: $0.rule.line, message: $0.message)
            }
            self.separations = separations.map { report in
                let (outcome, conflicts) =
                    switch report.outcome {
                    case .proved: ("proved", [SeparationReport.Conflict]())
                    case .refuted(let conflicts): ("refuted", conflicts)
                    case .undecided: ("undecided", [])
                    }
                return Separation(
                    name: report.separation.name, line: report.separation.line, outcome: outcome,
                    conflicts: conflicts.map {
                        Conflict(either: $0.either.name, or: $0.or.name, who: $0.who.description)
                    })
            }
        }
    }
}
