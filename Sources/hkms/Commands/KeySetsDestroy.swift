import ArgumentParser
import HKMSClient
import ServiceKit

extension KeySets {
    /// `hkms keysets destroy`
    struct Destroy: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Destroy a key set, for good.",
            discussion: """
                What was encrypted under the key set can never be decrypted again. The answer says how far the \
                destruction goes. Asks before it does so; in scripts give --yes.

                  hkms keysets destroy ID
                """)

        @Argument(help: "Id of the key set.")
        var keySet: String
        @Flag(help: "Do not ask.")
        var yes = false
        @OptionGroup var options: GatewayOptions

        func run() async throws {
            let question = "Destroy key set \(keySet)? What was encrypted under it is lost."
            guard yes || Confirmation.isGiven(question) else { throw Confirmation.missing("the destruction") }
            try await options.withClient { client in
                let response = try await withSpinner("destroying") { try await client.destroy(keySet: keySet) }
                if options.json { return try JSONOutput(response).write() }
                var table = Table()
                table.add(["key set", response.body.keySet])
                table.add(["state", response.body.state])
                table.add(["erasure", response.body.erasure])
                table.add(["date", Format.date(response.body.date)])
                try Terminal.write(table.text + Terminal.printable(response.body.meaning) + "\n")
            }
        }
    }
}
