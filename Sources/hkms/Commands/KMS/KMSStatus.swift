import ArgumentParser
import Foundation
import KeyManagement
import ServiceKit
import StorageSQLite

extension KMS {
    /// `hkms kms status`
    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show the job that is under way, or the last one.",
            discussion: """
                Reads the metadata store alone, so that it works while a KMS is away, and uses up no credential. What it \
                shows is not verified: whoever can write to the store can make it say anything. With --verify the \
                KMS opens the installation's keys, which tell.

                  hkms kms status --config hkms.yaml --json
                """)

        @OptionGroup var options: KMSCommandOptions
        @Flag(name: .long, help: "Log in to the KMS and verify who wrote what is shown.") var verify = false

        func run() async throws {
            let settings = try ServerConfiguration(path: options.config)
            guard let job = try await job(settings) else {
                return try options.json ? JSONText.write([String: String]()) : Terminal.write("no job yet\n")
            }
            try KMSReport.write(job, isVerified: verify, json: options.json)
        }

        private func job(_ settings: ServerConfiguration) async throws -> RewrapJob? {
            if verify {
                return try await Maintenance.run(settings, usesUp: options.unwrap, changes: false) { maintenance in
                    try await maintenance.manager.rewrapJob()
                }
            }
            let file = settings.gateway.metadataFile
            // Opening it would make it.
            guard FileManager.default.fileExists(atPath: file) else { return nil }
            do {
                let metadata = try DatabaseReader(path: file)
                defer { metadata.close() }
                return try await RewrapJob.unverified(in: metadata)
            } catch let error as KeyManagementError {
                throw FlowFailure(error)
            } catch let error as SQLiteMetadataStoreError {
                throw CommandFailure(
                    title: "The metadata store cannot be read", detail: "\(error)",
                    fix: "See storage.metadata in the configuration, and run this as the gateway's user.")
            }
        }
    }

    /// `hkms kms cancel`
    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End an unfinished job where it stands.",
            discussion: """
                Every key set opens; some are sealed as before, some anew. A process that is at it ends at its next \
                step. The KMS must answer: who cancels is verified. While it is away, end the process itself, which is \
                safe at any point, and cancel later.

                  hkms kms cancel --config hkms.yaml
                """)

        @OptionGroup var options: KMSCommandOptions

        func run() async throws {
            let settings = try ServerConfiguration(path: options.config)
            let job: RewrapJob?
            do { job = try await cancelled(settings) } catch let error as FlowFailure {
                guard error.problem.name == "kms-unavailable" else { throw error }
                throw CommandFailure(
                    title: "Not cancelled", detail: error.problem.detail,
                    fix:
                        "See that the KMS answers. Until then end the process that is at it, which is safe at any point: "
                        + "every key set opens by the seal that it has.")
            }
            guard let job else {
                throw CommandFailure(
                    title: "Nothing to cancel", detail: "no job is unfinished", fix: "See hkms kms status.")
            }
            try KMSReport.write(job, json: options.json)
        }

        private func cancelled(_ settings: ServerConfiguration) async throws -> RewrapJob? {
            try await Maintenance.run(settings, usesUp: options.unwrap, changes: false) { maintenance in
                let job = try await maintenance.manager.cancelRewrapJob()
                // A process that is at it has the log: it ends at once, and puts that on record itself.
                if let job {
                    try? await maintenance.onRecord {
                        try await $0.record(
                            "kms.cancel", ["from": job.from, "to": job.to, "kind": job.kind.rawValue], outcome: "ok")
                    }
                }
                return job
            }
        }
    }
}
