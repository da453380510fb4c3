import ArgumentParser
import AuditLog
import Foundation

extension Audit {
    /// `hkms audit verify`
    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Find any change, deletion, reordering or cut.",
            discussion: """
                Reads the log once, in constant memory, and names the first fault with its file and line. A log that \
                was cut off at a checkpoint is whole in itself: give --expect-head, the output of an earlier hkms \
                audit head.

                  hkms audit verify --key HEX /var/lib/hkms/audit --expect-head SEQ:HASH

                Exit codes: 0 for a good log, 1 for any fault.
                """)

        @OptionGroup var source: Source
        @Option(name: .long, help: "SEQ:HASH that the log must hold; may be repeated.") var expectHead: [String] = []
        @Flag(name: .long, help: "Write JSON.") var json = false

        func validate() throws {
            for text in expectHead { _ = try Source.head(text, "--expect-head") }
        }

        func run() async throws {
            do {
                let report = try source.read(expecting: expectHead.compactMap { AuditHead($0) })
                try write(report)
            } catch let fault as AuditFault {
                guard json else { throw fault }
                try write(
                    Output(
                        ok: false,
                        fault: .init(
                            kind: fault.kind.rawValue, file: fault.file, line: fault.line, message: fault.message)))
                throw ExitCode.failure
            }
        }

        private func write(_ report: AuditReport) throws {
            guard !json else {
                return try write(
                    Output(
                        ok: true, installation: report.installation, files: report.files, lines: report.lines,
                        operations: report.operations, denied: report.denied, checkpoints: report.checkpoints,
                        recoveries: report.recoveries, firstLine: report.first, head: "\(report.head)",
                        from: report.firstTime?.description, to: report.lastTime?.description,
                        keys: report.keys.map(\.hex), keyGiven: report.isKeyGiven))
            }
            var table = Table()
            table.add(["installation", report.installation])
            table.add(["files", "\(report.files)"])
            table.add(["lines", "\(report.first) to \(report.head.sequence)"])
            table.add(["operations", "\(report.operations), \(report.denied) denied"])
            table.add(["checkpoints", "\(report.checkpoints)"])
            table.add(["recoveries", "\(report.recoveries)"])
            table.add(["time", "\(report.firstTime?.description ?? "") to \(report.lastTime?.description ?? "")"])
            for key in report.keys { table.add(["signed by", key.hex]) }
            table.add(["head", "\(report.head)"])
            try Terminal.write(table.text)
            Audit.warn(report)
        }

        private func write(_ output: Output) throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
            try Terminal.write(Array(try encoder.encode(output)) + [UInt8(ascii: "\n")])
        }

        private struct Output: Encodable {
            struct Fault: Encodable {
                let kind: String
                let file: String
                let line: Int
                let message: String
            }

            var ok: Bool
            var fault: Fault?
            var installation: String?
            var files: Int?
            var lines: Int?
            var operations: Int?
            var denied: Int?
            var checkpoints: Int?
            var recoveries: Int?
            var firstLine: Int?
            var head: String?
            var from: String?
            var to: String?
            var keys: [String]?
            var keyGiven: Bool?
        }
    }
}
