import ArgumentParser
import TrustedKMSSoftware

extension Keystore {
    /// `hkms keystore rotate`
    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Wrap all master keys under a new key-encryption key of the same passphrase.",
            discussion: """
                A new salt makes another key-encryption key. Master keys, and with them key sets and whatever they \
                sealed, stay as they are. Gateways that have the keystore open must be started again.

                  hkms keystore rotate --keystore keystore.json --passphrase-file keystore.passphrase
                """)

        @OptionGroup var source: Source
        @OptionGroup var cost: Cost

        func run() async throws {
            let scryptCost = try cost.cost()
            let passphrase = try source.passphrase()
            let kms = try Keystore.open(source.keystore, passphrase)
            do throws(SoftwareKMSError) {
                try await kms.rotateKeystore(passphrase: passphrase, scryptCost: scryptCost)
            } catch {
                throw CommandFailure(error)
            }
            try Terminal.write(
                "\(Terminal.printable(source.keystore)): a new key-encryption key. Start its gateways again.\n")
        }
    }
}
