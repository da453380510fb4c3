import ArgumentParser
import HKMSClient
import ServiceKit

/// `hkms decrypt`
struct Decrypt: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Decrypt a file of ciphertexts.",
        discussion: """
            The gateway decrypts what it encrypted itself and what a receipt of an evaluation unit vouches for. \
            Each ciphertext becomes a row of CSV; with --complex, real and imaginary parts take turns. Each counts \
            as one decryption, whenever it is asked for again: noise is fresh each time.

              hkms decrypt ID --in vectors.bundle --count 3
            """)

    @Argument(help: "Id of the key set.")
    var keySet: String
    @Option(
        name: .customLong("in"), help: ArgumentHelp("File of ciphertexts, - for standard input.", valueName: "file"))
    var input: String
    @Option(help: ArgumentHelp("Values of each vector to give back; all slots by default.", valueName: "n"))
    var count: Int?
    @Flag(help: "Give imaginary parts too.")
    var complex = false
    @Option(help: "Refuse a key set that releases otherwise.")
    var release: Register.Release?
    @OptionGroup var options: GatewayOptions

    func validate() throws {
        if let count, count < 1 { throw ValidationError("--count is 1 or more.") }
    }

    func run() async throws {
        let ciphertexts = try CiphertextFile.read(input)
        try await options.withClient { client in
            let response = try await withSpinner("decrypting") {
                try await client.decrypt(
                    ciphertexts, keySet: keySet, count: count, complex: complex, release: release?.rawValue)
            }
            if options.json { return try JSONOutput(response).write() }
            for vector in response.body.vectors { try Terminal.write(row(vector) + "\n") }
            Terminal.tell(Table(response.timings).text)
            let body = response.body
            let note = ReleaseReport.note(release: body.release, body.flooding, left: body.decryptionsLeft)
            Terminal.tell("hkms: released \(note)\n")
        }
    }

    private func row(_ vector: EncryptRequest.Vector) -> String {
        guard let imaginary = vector.imaginary else { return vector.real.map(\.description).joined(separator: ",") }
        return zip(vector.real, imaginary).map { "\($0),\($1)" }.joined(separator: ",")
    }
}
