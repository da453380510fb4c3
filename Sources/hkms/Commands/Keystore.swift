import ArgumentParser
import Foundation
import SecretMemory
import TrustedKMSSoftware

/// `hkms keystore`
struct Keystore: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show the software KMS's keystore, renew its passphrase or its key.",
        discussion: """
            The keystore is the file that kms.software.keystore of a gateway's configuration names. Its passphrase \
            comes from --passphrase-file, mode 0600, or from HKMS_KEYSTORE_PASSPHRASE, never from the command line. No \
            gateway is asked.

              hkms keystore show --keystore keystore.json
              hkms keystore rotate --keystore keystore.json --passphrase-file keystore.passphrase
              hkms keystore passphrase --keystore keystore.json --passphrase-file old --new-passphrase-file new

            docs/kms/software.md says when, and what it costs the gateways that have the keystore open.
            """,
        subcommands: [Show.self, Rotate.self, ChangePassphrase.self])

    /// The file and what opens it.
    struct Source: ParsableArguments {
        @Option(name: .long, help: "The keystore file.") var keystore: String
        @Option(name: .long, help: "File with its passphrase (or set HKMS_KEYSTORE_PASSPHRASE).")
        var passphraseFile: String?

        func passphrase() throws -> SecretBytes { try Keystore.passphrase(file: passphraseFile) }
    }

    /// How much work one guess of the passphrase takes from now on.
    struct Cost: ParsableArguments {
        @Option(name: .long, help: "scrypt's N, a power of two from 32768 to 524288. The keystore's own without it.")
        var scryptN: Int?

        func cost() throws -> ScryptCost? {
            do throws(SoftwareKMSError) {
                return try scryptN.map { rounds throws(SoftwareKMSError) in try ScryptCost(rounds: rounds) }
            } catch {
                throw ValidationError("--scrypt-n: \(error)")
            }
        }
    }

    static func open(_ path: String, _ passphrase: borrowing SecretBytes) throws -> SoftwareKMS {
        SecretMemory.forbidCoreDumps()
        do throws(SoftwareKMSError) {
            return try SoftwareKMS(opening: path, passphrase: passphrase)
        } catch {
            throw CommandFailure(error)
        }
    }

    static func passphrase(file: String?) throws -> SecretBytes {
        do {
            return try Passphrase.read(file: file, variable: nil)
        } catch let error as SecretFileError {
            throw CommandFailure(
                title: "Passphrase not usable", detail: error.description,
                fix: "Name a file of mode 0600 that holds the passphrase.")
        } catch let error as ServerError {
            throw CommandFailure(
                title: "Passphrase not usable", detail: error.description,
                fix: "Give --passphrase-file, or set the variable.")
        }
    }
}

extension CommandFailure {
    /// The description says what to do.
    init(_ error: SoftwareKMSError) {
        self.init(title: "Keystore not usable", detail: error.description, fix: "")
    }
}
