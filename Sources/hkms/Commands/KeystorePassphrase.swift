import ArgumentParser
import TrustedKMSSoftware

extension Keystore {
    /// `hkms keystore passphrase`
    struct ChangePassphrase: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "passphrase",
            abstract: "Give a keystore another passphrase.",
            discussion: """
                Master keys are wrapped again in one replacement of the file; key sets and whatever they sealed stay as \
                they are. Give the gateways the new passphrase and start them again. Backups of the file still open \
                under the old passphrase.

                  hkms keystore passphrase --keystore keystore.json \\
                      --passphrase-file old.passphrase --new-passphrase-file new.passphrase
                """)

        @OptionGroup var source: Source
        @Option(name: .long, help: "File with the new passphrase, mode 0600.") var newPassphraseFile: String
        @OptionGroup var cost: Cost

        func run() async throws {
            let scryptCost = try cost.cost()
            let old = try source.passphrase()
            let new = try Keystore.passphrase(file: newPassphraseFile)
            let kms = try Keystore.open(source.keystore, old)
            do throws(SoftwareKMSError) {
                try await kms.changePassphrase(from: old, to: new, scryptCost: scryptCost)
            } catch {
                throw CommandFailure(error)
            }
            PassphraseAdvice.warn(of: new)
            try Terminal.write(
                "\(Terminal.printable(source.keystore)): opens under the new passphrase alone. "
                    + "Start its gateways again with it.\n")
        }
    }
}
