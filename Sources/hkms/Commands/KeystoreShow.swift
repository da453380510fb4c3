import ArgumentParser
import Foundation
import TrustedKMSSoftware

extension Keystore {
    /// `hkms keystore show`
    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show keys, versions and scrypt's cost of a keystore.",
            discussion: """
                Without a passphrase the file is read but not verified: whoever can write it can make it say anything.
                """)

        @Option(name: .long, help: "The keystore file.") var keystore: String
        @Option(name: .long, help: "File with its passphrase, to verify what the file says.")
        var passphraseFile: String?
        @Flag(help: "Print JSON.") var json = false

        func run() async throws {
            let report = try read()
            if json { return try PolicyCommand.write(Answer(report)) }
            var facts = Table()
            facts.add(["keystore", report.path])
            facts.add(["format", report.format])
            facts.add(["verified", report.isVerified ? "yes" : "no, give --passphrase-file"])
            facts.add(["development only", report.developmentOnly ? "yes" : "no"])
            facts.add(["scrypt", "N = \(report.scryptCost.rounds), r = 8, p = \(report.scryptCost.parallelism)"])
            try Terminal.write(facts.text)
            var keys = Table(["key", "versions", "minimum"])
            for key in report.keys {
                keys.add([key.name.value, "\(key.firstVersion) to \(key.latestVersion)", "\(key.minimumVersion)"])
            }
            try Terminal.write(keys.isEmpty ? "no keys\n" : "\n" + keys.text)
        }

        private func read() throws -> KeystoreReport {
            let kms = try passphraseFile.map { try Keystore.open(keystore, try Keystore.passphrase(file: $0)) }
            do throws(SoftwareKMSError) {
                return if let kms { try kms.report() } else { try KeystoreReport(reading: keystore) }
            } catch {
                throw CommandFailure(error)
            }
        }
    }

    private struct Answer: Encodable {
        struct Scrypt: Encodable {
            let n: Int
            let r: Int
            let p: Int
        }
        struct Key: Encodable {
            let name: String
            let firstVersion: Int
            let latestVersion: Int
            let minimumVersion: Int
        }
        let keystore: String
        let format: String
        let verified: Bool
        let developmentOnly: Bool
        let scrypt: Scrypt
        let keys: [Key]

        init(_ report: KeystoreReport) {
            keystore = report.path
            format = report.format
            verified = report.isVerified
            developmentOnly = report.developmentOnly
            scrypt = Scrypt(n: report.scryptCost.rounds, r: 8, p: report.scryptCost.parallelism)
            keys = report.keys.map {
                Key(
                    name: $0.name.value, firstVersion: $0.firstVersion, latestVersion: $0.latestVersion,
                    minimumVersion: $0.minimumVersion)
            }
        }
    }
}
