import ArgumentParser
import HKMSClient
import ServiceKit

extension KeySets {
    /// `hkms keysets evaluation-key`
    struct EvaluationKey: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "evaluation-key",
            abstract: "Fetch an evaluation key of a key set, or list them.",
            discussion: """
                Evaluation keys let others compute on ciphertexts. Galois keys rotate and conjugate.

                  hkms keysets evaluation-key ID
                  hkms keysets evaluation-key ID relinearization --out relinearization.key
                  hkms keysets evaluation-key ID galois-3 --out galois-3.key
                """)

        @Argument(help: "Id of the key set.")
        var keySet: String
        @Argument(help: "relinearization or galois-ELEMENT; all are listed if it is left out.")
        var name: String?
        @Option(help: ArgumentHelp("Where to write the key.", valueName: "file"))
        var out: String?
        @OptionGroup var options: GatewayOptions

        func validate() throws {
            guard (name == nil) == (out == nil) else {
                throw ValidationError("Give both a name and --out, or neither.")
            }
            if let name {
                guard let key = KeyObject(name: name), key != .publicKey else {
                    throw ValidationError("\(name) is neither relinearization nor galois-ELEMENT.")
                }
            }
        }

        func run() async throws {
            try await options.withClient { client in
                let list = try await client.evaluationKeys(ofKeySet: keySet)
                if let name, let out, let key = KeyObject(name: name) {
                    return try await download(
                        key, of: list.body.evaluationKeys, keySet: keySet, to: out, client, json: options.json)
                }
                if options.json { return try JSONOutput(list).write() }
                var table = Table(["evaluation key", "level", "size", "SHA-256"])
                for object in list.body.evaluationKeys {
                    table.add([object.name, String(object.level), Format.bytes(object.bytes), object.digest])
                }
                try Terminal.write(table.text)
            }
        }
    }
}
