import ArgumentParser
import DataFiles
import HKMSClient
import ServiceKit

/// `hkms predict`
struct Predict: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Have a model predict on records that the evaluation unit never sees.",
        discussion: """
            The gateway encrypts the records, an evaluation unit computes on the ciphertexts, the gateway decrypts \
            the predictions. With --ephemeral the keys live for this one request. Where the file has the model's \
            target column, it is not sent, and the share of right predictions is told.

            Results of an ephemeral key set are flooded, as hkms register does it; with --release raw they are not.

              hkms predict --model heart-disease --records records.csv --keyset ID
              hkms predict --model heart-disease --records records.csv --ephemeral
            """)

    @Option(help: ArgumentHelp("The model.", valueName: "name"))
    var model: String
    @Option(
        help: ArgumentHelp(
            "Records: CSV with a header or JSON, an array of objects; - for standard input.", valueName: "file"))
    var records: String
    @Option(help: ArgumentHelp("Key set of the model.", valueName: "id"))
    var keyset: String?
    @Flag(help: "Make keys for this request alone.")
    var ephemeral = false
    @Option(help: "Ephemeral: how results are released. With --keyset: refuse one that releases otherwise.")
    var release: Register.Release?
    @Option(help: ArgumentHelp("Ephemeral and flooded: what a result may be off by.", valueName: "number"))
    var precision: Double?
    @Option(help: ArgumentHelp("Ephemeral and flooded: bits of statistical security.", valueName: "bits"))
    var statisticalBits: Int?
    @OptionGroup var options: GatewayOptions

    /// The answer, and what the file tells of its quality.
    private struct Report: Encodable, Sendable {
        let response: PredictResponse
        let accuracy: ModelRecords.Accuracy?

        private enum CodingKeys: String, CodingKey {
            case accuracy
        }

        func encode(to encoder: any Encoder) throws {
            try response.encode(to: encoder)
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encodeIfPresent(accuracy, forKey: .accuracy)
        }
    }

    func validate() throws {
        guard (keyset != nil) != ephemeral else { throw ValidationError("Give either --keyset or --ephemeral.") }
        guard ephemeral || (precision == nil && statisticalBits == nil) else {
            throw ValidationError("The key set decides --precision and --statistical-bits.")
        }
    }

    func run() async throws {
        try await options.withClient { client in
            let info = try await client.model(model)
            let input = try readRecords(records, for: info)
            var request = PredictRequest(
                keySet: keyset, ephemeral: ephemeral ? true : nil, release: release?.rawValue, records: input.records)
            request.precision = precision
            request.statisticalBits = statisticalBits
            let response = try await withSpinner("predicting") { try await client.predict(model: model, request) }
            let accuracy = input.accuracy(of: response.body.predictions, model: info)
            if options.json {
                return try JSONOutput(response, body: Report(response: response.body, accuracy: accuracy)).write()
            }
            try Terminal.write(text(response, accuracy))
        }
    }

    private func text(_ response: HKMSClient.Response<PredictResponse>, _ accuracy: ModelRecords.Accuracy?) -> String {
        let body = response.body
        var predictions = Table(["record", "score", "label"])
        for (index, prediction) in body.predictions.enumerated() {
            predictions.add([String(index + 1), Format.decimals(prediction.score, 4), prediction.label])
        }
        var sizes = Table(["what", "size"])
        sizes.add(["public key", Format.bytes(body.bytes.publicKey)])
        sizes.add(["evaluation keys", Format.bytes(body.bytes.evaluationKeys)])
        sizes.add(["encrypted records, \(body.batches)", Format.bytes(body.bytes.encryptedSamples)])
        sizes.add(["encrypted predictions", Format.bytes(body.bytes.encryptedPredictions)])
        var parts = [predictions.text]
        if let accuracy {
            let share = Format.decimals(100 * accuracy.share, 1)
            parts.append(
                "accuracy where the file has the target: \(share) % (\(accuracy.correct) of \(accuracy.counted))\n")
        }
        let steps = Table(response.timings)
        if !steps.isEmpty { parts.append(steps.text) }
        parts.append(sizes.text)
        let note = ReleaseReport.note(release: body.release, body.flooding, left: body.decryptionsLeft)
        parts.append(Terminal.printable("released \(note)") + "\n")
        parts.append(Terminal.printable("computed by \(body.unit), job \(body.job)") + "\n")
        return parts.joined(separator: "\n")
    }
}
