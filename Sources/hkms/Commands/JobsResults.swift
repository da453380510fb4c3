import ArgumentParser
import HKMSClient
import ServiceKit

extension Jobs {
    /// `hkms jobs results`
    struct Results: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Fetch the output ciphertexts of a job.",
            discussion: """
                hkms decrypt reads the file.

                  hkms jobs results JOB --out results.bundle
                """)

        @Argument(help: "Id of the job.")
        var job: String
        @Option(help: ArgumentHelp("Where to write the ciphertexts, - for standard output.", valueName: "file"))
        var out: String
        @OptionGroup var options: GatewayOptions

        func run() async throws {
            try await options.withClient { client in
                let response = try await withSpinner("fetching") { try await client.results(ofJob: job) }
                let entries = try CiphertextFile.write(response.body, to: out)
                guard out != "-" else { return }
                if options.json {
                    return try JSONOutput(response, body: CiphertextFileBody(ciphertexts: entries, file: out)).write()
                }
                try Terminal.write(CiphertextFile.table(entries).text)
            }
        }
    }
}
