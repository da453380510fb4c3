import ArgumentParser
import AuditLog

extension Audit {
    /// `hkms audit head`
    struct Head: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Verify a log and print its head, to be kept elsewhere.",
            discussion: """
                Prints SEQ:HASH: the number of the last line, and its SHA-256. A log that does not hold it later was \
                cut off or written anew.

                  hkms audit head --key HEX /var/lib/hkms/audit >> /mnt/elsewhere/heads
                """)

        @OptionGroup var source: Source

        func run() async throws {
            let report = try source.read()
            try Terminal.write("\(report.head)\n")
            Audit.warn(report)
        }
    }
}
