import ArgumentParser
import KeyManagement
import ServiceKit

extension KMS {
    /// `hkms kms status`
    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the job that is under way, or the last one.",
            discussion: """
                  hkms kms status --config hkms.yaml --json
                """)

        @OptionGroup var options: KMSCommandOptions

        func run() async throws {
            let job = try await Maintenance.run(config: options.config, changes: false) { maintenance in
                try await maintenance.manager.rewrapJob()
            }
            guard let job else {
                return try options.json ? JSONText.write([String: String]()) : Terminal.write("no job yet\n")
            }
            try KMSReport.write(job, json: options.json)
        }
    }

    /// `hkms kms cancel`
    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an unfinished job where it stands.",
            discussion: """
                Every key set opens; some are sealed as before, some anew. A process that is at it ends at its next \
                step.

                  hkms kms cancel --config hkms.yaml
                """)

        @OptionGroup var options: KMSCommandOptions

        func run() async throws {
            // The process that is at it has the log: it ends at once, and puts that on record itself.
            let job = try await Maintenance.run(config: options.config, changes: false) { maintenance in
                try await maintenance.manager.cancelRewrapJob()
            }
            guard let job else {
                throw CommandFailure(
                    title: "Nothing to cancel", detail: "no job is unfinished", fix: "See hkms kms status.")
            }
            try? await Maintenance.run(config: options.config, changes: true) { maintenance in
                try await maintenance.record(
                    "kms.cancel", ["from": job.from, "to": job.to, "kind": job.kind.rawValue], outcome: "ok")
            }
            try KMSReport.write(job, json: options.json)
        }
    }
}
