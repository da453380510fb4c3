import ArgumentParser
import HKMSClient
import ServiceKit

extension KeySets {
    /// `hkms keysets show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show one key set: state, KMS key, sizes, counters.",
            discussion: """
                Counters say how often it was used, and how many decryptions its budget leaves.

                  hkms keysets show ID
                """)

        @Argument(help: "Id of the key set.")
        var keySet: String
        @OptionGroup var options: GatewayOptions

        func run() async throws {
            try await options.withClient { client in
                let response = try await withSpinner("asking") { try await client.keySet(keySet) }
                if options.json { return try JSONOutput(response).write() }
                try Terminal.write(KeySetReport.text(response.body, timings: response.timings))
            }
        }
    }
}
