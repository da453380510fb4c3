import Attestation
import DataFiles
import EncryptedInference
import ServiceKit

func readModel(_ bytes: [UInt8]) {
    guard let model = try? InferenceModel(parsing: bytes) else { return }
    let width = model.inputs.reduce(0) { $0 + $1.width }
    _ = model.evaluateInTheClear([[Double](repeating: 1, count: width)])
    _ = try? InferencePlan(model)
}

/// Values of the fields of one record, which a model's inputs encode.
func readRecord(_ bytes: [UInt8]) {
    guard let record = try? APIJSON.decode(Record.self, from: bytes) else { return }
    guard let values = try? record.encoded(by: RecordModel.inputs, index: 0) else { return }
    precondition(values.count == RecordModel.inputs.reduce(0) { $0 + $1.width }, "as many values as inputs")
}

enum RecordModel {
    static let inputs: [InputFeature] = {
        let json = """
            [{"name": "a", "encoding": "scaled", "minimum": 0, "maximum": 10, "valid": [-5, 20]},
             {"name": "b", "encoding": "binary"},
             {"name": "c", "encoding": "oneHot", "categories": [1, 2, 2.5], "missing": true}]
            """
        do {
            return try APIJSON.decode([InputFeature].self, from: Array(json.utf8))
        } catch { fatalError("\(error)") }
    }()

    static let info = ModelInfo(
        name: "m", version: 1, description: "", unit: "u", digest: "",
        inputs: inputs.map {
            .init(
                name: $0.name, encoding: $0.encoding.rawValue, range: $0.valid, categories: $0.categories,
                mayBeMissing: $0.missing == true)
        },
        output: "y", threshold: 0, labels: ["absent", "present"], target: .init(column: "t", positiveAbove: 0),
        batch: 8, depth: 3, parameters: .init(scheme: "ckks", logN: 14, q: [], p: [], alpha: 1), scaleBits: 40,
        evaluationKeys: [])
}

func readRecordFile(_ bytes: [UInt8]) {
    guard let file = try? RecordFile(bytes) else { return }
    precondition(!file.records.isEmpty)
    _ = file.place(ofRecord: file.records.count - 1)
    guard let records = try? ModelRecords(file, for: RecordModel.info) else { return }
    let predictions = file.records.map { _ in PredictResponse.Prediction(score: 1, label: "present") }
    _ = records.accuracy(of: predictions, model: RecordModel.info)
}

func readVectorFile(_ bytes: [UInt8]) {
    guard let file = try? VectorFile(bytes) else { return }
    precondition(file.vectors.allSatisfy { !$0.real.isEmpty && $0.real.allSatisfy(\.isFinite) }, "finite values")
}
