import ArgumentParser
import DataFiles
import EncryptedInference
import EvaluationUnit

struct PredictPlainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict-plain",
        abstract: "Predict without encryption, as the model's owner, to compare with encrypted predictions.",
        discussion: """
            The records are CSV with a header, or JSON, an array of objects; the model names the columns, and further
            columns are left out. An empty field, ? or null is a missing value.

            EXAMPLES
              hkms-evaluator predict-plain --model heart-disease.json --records patients.csv
              cat patients.csv | hkms-evaluator predict-plain --model heart-disease.json --records - --json
            """)

    @Option(name: .long, help: ArgumentHelp("Model file.", valueName: "file"))
    var model: String

    @Option(name: .long, help: ArgumentHelp("CSV or JSON file; - for standard input.", valueName: "file"))
    var records: String

    @Flag(name: .long, help: "Write JSON: {\"model\", \"predictions\": [{\"score\", \"label\"}]}.")
    var json = false

    func run() throws {
        let name = records == "-" ? "standard input" : records
        let predictions: PlainPredictions
        var file: RecordFile?
        do {
            let model = try InferenceModel(file: model)
            let read = try RecordFile(BoundedFile.read(records, maximumBytes: RecordFile.maximumBytes))
            file = read
            predictions = try PlainPredictions(
                model, records: read.records.map { Record($0.mapValues { $0.map { .number($0) } ?? .missing }) })
        } catch PlainPredictionsError.record(let number, let reason) {
            throw Terminal.failure("\(name): \(file?.place(ofRecord: number - 1) ?? "record \(number)"): \(reason)")
        } catch let error as DataFileError {
            throw Terminal.failure("\(name): \(error)")
        } catch let error as InferenceError {
            throw Terminal.failure("\(model): \(error)")
        } catch {
            throw Terminal.failure("\(error)")
        }
        if json { return try Terminal.output(json: predictions) }
        Terminal.output("row,score,label")
        for (index, prediction) in predictions.predictions.enumerated() {
            Terminal.output("\(index + 1),\(prediction.score),\(prediction.label)")
        }
    }
}
