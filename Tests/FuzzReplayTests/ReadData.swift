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

func readCircuit(_ bytes: [UInt8]) {
    guard let circuit = try? IntegerCircuit(parsing: bytes) else { return }
    precondition(IntegerCircuit.isFormat(of: bytes), "what is read has the format")
    let extremes = [circuit.columns.map(\.minimum), circuit.columns.map(\.maximum)]
    _ = circuit.evaluateInTheClear(extremes)
}

/// The same bytes as vectors and as records.
func readIntegerFile(_ bytes: [UInt8]) {
    if let file = try? IntegerVectorFile(bytes) { precondition(file.vectors.allSatisfy { !$0.isEmpty }, "values") }
    if let file = try? IntegerRecordFile(bytes, columns: ["a", "b"]) {
        precondition(file.records.allSatisfy { $0.count == 2 }, "every column")
        precondition(!file.ignoredColumns.contains("a"))
    }
    // What the API takes for integers.
    if JSONIntegers.firstOther(in: bytes, members: EncryptRequest.integerMembers) == nil {
        _ = try? APIJSON.decode(EncryptRequest.self, from: bytes)
    }
}
