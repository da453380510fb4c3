import ArgumentParser
import DataFiles
import HKMSClient
import ServiceKit

/// `hkms encrypt`
struct Encrypt: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Encrypt vectors, or records of a model, into a file of ciphertexts.",
        discussion: """
            Vectors: CSV without a header, one vector a row; or JSON, an array of arrays. Each becomes a ciphertext. \
            Records: CSV with a header, or JSON, an array of objects; an empty cell or ? is a missing value. They \
            are packed as the model takes them. Where results are flooded, the model takes only what was encrypted \
            for it: records, or vectors with --model, packed already. Under a BFV key set: integers, as vectors or as \
            records of a circuit, which are never rounded.

              hkms encrypt ID --values vectors.csv --out vectors.bundle
              hkms encrypt ID --model heart-disease --records records.csv --out records.bundle
              hkms encrypt ID --integers counts.csv --out counts.bundle
            """)

    @Argument(help: "Id of the key set.")
    var keySet: String
    @Option(help: ArgumentHelp("File of vectors, - for standard input.", valueName: "file"))
    var values: String?
    @Option(help: ArgumentHelp("File of vectors of integers, - for standard input.", valueName: "file"))
    var integers: String?
    @Flag(help: "With integers: they are from 0 to t - 1, and not between -t/2 and t/2.")
    var unsigned = false
    @Option(help: ArgumentHelp("Model or circuit that the records are for.", valueName: "name"))
    var model: String?
    @Option(help: ArgumentHelp("File of records, - for standard input.", valueName: "file"))
    var records: String?
    @Option(help: ArgumentHelp("Where to write the ciphertexts, - for standard output.", valueName: "file"))
    var out: String
    @Option(help: ArgumentHelp("With values: log2 of the scale; the key set decides by default.", valueName: "bits"))
    var scaleBits: Int?
    @Option(help: "With values or integers: the level; the key set decides by default.")
    var level: Int?
    @OptionGroup var options: GatewayOptions

    func validate() throws {
        guard [values, integers, records].count(where: { $0 != nil }) == 1, model != nil || records == nil else {
            throw ValidationError("Give --values, or --integers, or --model and --records.")
        }
        guard integers == nil || model == nil else { throw ValidationError("--integers go without --model.") }
        guard model == nil || (scaleBits == nil && level == nil) else {
            throw ValidationError("The model decides scale and level; leave out --scale-bits and --level.")
        }
        guard integers == nil || scaleBits == nil else { throw ValidationError("Integers have no scale.") }
        guard integers != nil || !unsigned else { throw ValidationError("--unsigned goes with --integers.") }
    }

    func run() async throws {
        try await options.withClient { client in
            let response = try await encrypted(client)
            let entries = try CiphertextFile.write(response.body, to: out)
            // Standard output has the ciphertexts.
            guard out != "-" else { return }
            if options.json {
                return try JSONOutput(response, body: CiphertextFileBody(ciphertexts: entries, file: out)).write()
            }
            try Terminal.write(CiphertextFile.table(entries).text)
            let steps = Table(response.timings)
            if !steps.isEmpty { try Terminal.write("\n" + steps.text) }
        }
    }

    private func encrypted(_ client: HKMSClient) async throws -> HKMSClient.Response<[[UInt8]]> {
        if let model, let records, let circuit = try await client.circuit(model) {
            let records = try readIntegerRecords(records, for: circuit)
            return try await withSpinner("encrypting") {
                try await client.encrypt(integerRecords: records, circuit: model, keySet: keySet)
            }
        }
        if let integers {
            let vectors = try IntegerVectorFile(
                try InputFile.read(integers, maximumBytes: InputFile.maximumDataBytes)
            ).vectors
            return try await withSpinner("encrypting") {
                try await client.encrypt(integers: vectors, unsigned: unsigned, keySet: keySet, level: level)
            }
        }
        if let model, let records {
            let info = try await client.model(model)
            let records = try readRecords(records, for: info).records
            return try await withSpinner("encrypting") {
                try await client.encrypt(records: records, model: model, keySet: keySet)
            }
        }
        let bytes = try InputFile.read(values ?? "-", maximumBytes: InputFile.maximumDataBytes)
        let vectors = try VectorFile(bytes).vectors
        return try await withSpinner("encrypting") {
            try await client.encrypt(vectors: vectors, keySet: keySet, scaleBits: scaleBits, level: level, model: model)
        }
    }
}
