import ArgumentParser
import AuditLog

extension Audit {
    /// `hkms audit show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print operations of a log as a table.",
            discussion: """
                Verifies the whole log on the way; what is printed of one with a fault stands before the fault.

                  hkms audit show --key HEX /var/lib/hkms/audit --since 2026-11-21 --who alice
                """)

        @OptionGroup var source: Source
        @Option(name: .long, help: "Not before this date, 2026-11-21 or 2026-11-21T21:39:54Z, UTC.")
        var since: String?
        @Option(name: .long, help: "Of this subject; of a hashed one, hmac: and 64 hex digits.") var who: String?
        @Option(name: .long, help: "On this key set; of a hashed one, hmac: and 64 hex digits.") var keySet: String?
        @Flag(name: .long, help: "Denied operations alone.") var denied = false
        @Option(name: .long, help: "The last so many.") var last = 100

        func validate() throws {
            if let since, AuditTime(since) == nil {
                throw ValidationError("--since is a date such as 2026-11-21 or 2026-11-21T21:39:54Z")
            }
            guard (1...100_000).contains(last) else { throw ValidationError("--last is 1 to 100000") }
        }

        func run() async throws {
            let start = since.flatMap { AuditTime($0) }
            var rows: [[String]] = []
            let result = Result {
                try source.read { line in
                    guard case .operation(let record) = line.content, isWanted(record),
                        start.map({ $0 <= line.time }) ?? true
                    else { return }
                    // Removed many at a time: each removal moves the rest.
                    if rows.count == 2 * last { rows.removeFirst(last) }
                    rows.append(Self.row(line, record))
                }
            }
            var table = Table(["line", "time", "who", "action", "key set", "model", "decision", "rule", "outcome"])
            for row in rows.suffix(last) { table.add(row) }
            try Terminal.write(table.text)
            Audit.warn(try result.get())
        }

        private func isWanted(_ record: AuditRecord) -> Bool {
            (who == nil || record.caller?.subject.text == who)
                && (keySet == nil || record.resource.keySet?.text == keySet)
                && (!denied || record.decision == .denied)
        }

        private static func row(_ line: AuditLine, _ record: AuditRecord) -> [String] {
            [
                "\(line.sequence)", "\(line.time)", record.caller?.subject.text ?? "-", record.action,
                record.resource.keySet?.text ?? "-", record.resource.model ?? "-", record.decision.rawValue,
                record.rule,
                record.outcome,
            ]
        }
    }
}
