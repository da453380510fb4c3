import ArgumentParser
import HKMSClient

extension KeySets {
    /// `hkms keysets public-key`
    struct PublicKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "public-key",
            abstract: "Fetch the public key of a key set.",
            discussion: """
                The file is written when it has arrived whole and has the digest that the gateway lists.

                  hkms keysets public-key ID --out public.key
                """)

        @Argument(help: "Id of the key set.")
        var keySet: String
        @Option(help: ArgumentHelp("Where to write the key.", valueName: "file"))
        var out: String
        @OptionGroup var options: GatewayOptions

        func run() async throws {
            try await options.withClient { client in
                let info = try await client.keySet(keySet).body
                try await download(.publicKey, of: info.objects, keySet: keySet, to: out, client, json: options.json)
            }
        }
    }
}
