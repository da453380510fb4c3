import ArgumentParser
import KeyManagement
import ServiceKit

extension KMS {
    /// `hkms kms migrate`
    struct Migrate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Move all seals from one KMS to another.",
            discussion: """
                Both must be in the configuration, the new one under kms, the old one under otherKMS, and the gateways \
                restarted with it, so that they open what is sealed by either. Each seed is opened by the old KMS, \
                checked, sealed by the new one and opened there once before anything else is written. Killed at any \
                point, the same command goes on. Key sets that only their principals' credentials open move when \
                their principals come.

                  hkms kms migrate --config hkms.yaml --from software --to openbao --dry-run
                  hkms kms migrate --config hkms.yaml --from software --to openbao --rate 200
                """)

        @OptionGroup var options: KMSCommandOptions
        @OptionGroup var job: RewrapOptions
        @Option(name: .long, help: ArgumentHelp("Name of the KMS that seals now.", valueName: "name"))
        var from: String
        @Option(name: .long, help: ArgumentHelp("Name of the KMS that shall seal.", valueName: "name"))
        var to: String

        func validate() throws {
            guard from != to else { throw ValidationError("--from and --to are two KMSs; one is for hkms kms rotate.") }
        }

        func run() async throws {
            let settings = try ServerConfiguration(path: options.config)
            guard settings.kms.name == to else {
                throw CommandFailure(
                    title: "Not the current KMS",
                    detail: "new key sets are sealed by \(settings.kms.name), as kms of the configuration says",
                    fix: "Put \(to) under kms and \(from) under otherKMS, restart the gateways, and try again.")
            }
            try settings.requireKMS(from)
            try await RewrapRunner(
                settings: settings, options: options,
                request: RewrapRequest(
                    kind: .migrate, from: from, to: to, rate: job.rate, width: job.width, isDryRun: job.dryRun)
            ).run()
        }
    }
}
