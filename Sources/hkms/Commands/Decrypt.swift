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
            as one decryption, whenever it is asked for again: noise is fresh each time. Under a BFV key set the \
            numbers are exact integers; with --circuit, the results of its evaluations are named, and sums are added up.

              hkms decrypt ID --in vectors.bundle --count 3
              hkms decrypt ID --in results.bundle --circuit heart-disease-totals
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
    @Flag(help: "Give integers from 0 to t - 1, and not between -t/2 and t/2.")
    var unsigned = false
    @Option(help: ArgumentHelp("The circuit that these are results of.", valueName: "name"))
    var circuit: String?
    @Option(help: "Refuse a key set that releases otherwise.")
    var release: Register.Release?
    @OptionGroup var options: GatewayOptions

    func validate() throws {
        if let count, count < 1 { throw ValidationError("--count is 1 or more.") }
        guard !complex || !unsigned else { throw ValidationError("--complex and --unsigned are of different schemes.") }
        guard circuit == nil || (!complex && !unsigned) else {
            throw ValidationError("The circuit decides what its results are; leave out --complex and --unsigned.")
        }
    }

    func run() async throws {
        let ciphertexts = try CiphertextFile.read(input)
        try await options.withClient { client in
            let info = if let circuit { try await client.knownCircuit(circuit) } else { CircuitInfo?.none }
            let wanted = info?.valueCount ?? count
            let response = try await withSpinner("decrypting") {
                try await client.decrypt(
                    ciphertexts, keySet: keySet, count: wanted, complex: complex, unsigned: unsigned,
                    release: release?.rawValue)
            }
            if options.json { return try JSONOutput(response).write() }
            for vector in response.body.vectors { try Terminal.write(row(vector) + "\n") }
            let integers = response.body.integers ?? []
            if let info {
                try Terminal.write(results(integers, of: info))
            } else {
                for vector in integers { try Terminal.write(vector.map(\.description).joined(separator: ",") + "\n") }
            }
            Terminal.tell(Table(response.timings).text)
            let body = response.body
            let note = ReleaseReport.note(release: body.release, body.flooding, left: body.decryptionsLeft)
            Terminal.tell("hkms: released \(note)\n")
        }
    }

    /// With names, as CSV.
    private func results(_ integers: [[Int64]], of circuit: CircuitInfo) throws -> String {
        let records = circuit.perRecord ? count ?? circuit.records * integers.count : 0
        guard let values = circuit.values(of: integers, records: records) else {
            throw CommandFailure(
                title: "Not the circuit's results", detail: "they are fewer integers than it has, or sums of 64 bits",
                fix: "Name the circuit of the job; --count is the number of records where it has results for each.",
                code: CommandFailure.inputData)
        }
        if circuit.perRecord { return values.map { "\($0)\n" }.joined() }
        return zip(circuit.results, values).map { "\($0.name),\($1)\n" }.joined()
    }

    private func row(_ vector: EncryptRequest.Vector) -> String {
        guard let imaginary = vector.imaginary else { return vector.real.map(\.description).joined(separator: ",") }
        return zip(vector.real, imaginary).map { "\($0),\($1)" }.joined(separator: ",")
    }
}
