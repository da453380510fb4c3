import ArgumentParser
import HKMSClient

/// The root of the command line.
@main
struct HKMSCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hkms",
        abstract: "Keys for homomorphic encryption, protected by the KMS that you have.",
        discussion: """
            A gateway (hkms serve) derives the keys of a key set from one seed, which your KMS seals. The other \
            commands ask a gateway. A first round, after hkms init and hkms serve:

              export HKMS_TOKEN_FILE=alice.token
              hkms models
              hkms register --model heart-disease
              hkms predict --model heart-disease --records records.csv --keyset ID

            Exit codes: 0 done, 64 wrong usage, 65 input data not usable, 69 gateway unreachable, 77 not allowed, \
            78 wrong configuration, 1 everything else.
            """,
        version: HKMSClient.version,
        groupedSubcommands: [
            CommandGroup(
                name: "Server",
                subcommands: [
                    Init.self, Serve.self, Doctor.self, KMS.self, Keystore.self, PolicyCommand.self, Audit.self,
                    Vectors.self,
                ]),
            CommandGroup(name: "Key sets", subcommands: [Register.self, KeySets.self]),
            CommandGroup(name: "Data", subcommands: [Encrypt.self, Decrypt.self]),
            CommandGroup(name: "Inference", subcommands: [Models.self, Circuits.self, Predict.self, Jobs.self]),
        ])

    static func main() async {
        do {
            var command = try await asyncParseAsRoot()
            if var command = command as? any AsyncParsableCommand {
                try await command.run()
            } else {
                try command.run()
            }
        } catch {
            CommandFailure.exit(with: error)
        }
    }
}
