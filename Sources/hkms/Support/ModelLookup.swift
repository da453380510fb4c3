import DataFiles
import HKMSClient
import ServiceKit

extension HKMSClient {
    /// The model of this name.
    func model(_ name: String) async throws -> ModelInfo {
        let models = try await models().body.models
        if let model = models.first(where: { $0.name == name }) { return model }
        let names = models.map(\.name).sorted().joined(separator: ", ")
        throw CommandFailure(
            title: "Unknown model", detail: "no evaluation unit has a model \(name)",
            fix: names.isEmpty
                ? "Check the gateway's evaluation units; none tells a model." : "Choose one of: \(names).")
    }
}

extension HKMSClient {
    /// The circuit of this name; nil where there is none.
    func circuit(_ name: String) async throws -> CircuitInfo? {
        try await circuits().body.circuits.first { $0.name == name }
    }

    func knownCircuit(_ name: String) async throws -> CircuitInfo {
        if let circuit = try await circuit(name) { return circuit }
        throw CommandFailure(
            title: "Unknown circuit", detail: "no evaluation unit has a circuit \(name)",
            fix: "hkms circuits lists them.")
    }
}

/// Reads records of integers for `circuit`, and says what of the file is not used.
func readIntegerRecords(_ path: String, for circuit: CircuitInfo) throws -> [IntegerRecordBody] {
    let file = try IntegerRecordFile(
        try InputFile.read(path, maximumBytes: InputFile.maximumDataBytes), columns: circuit.columns.map(\.name))
    tellIgnored(file.ignoredColumns)
    return file.records
}

private func tellIgnored(_ columns: [String]) {
    guard !columns.isEmpty else { return }
    let names = Terminal.printable(columns.joined(separator: ", "))
    Terminal.tell("hkms: columns that the model does not take are not sent: \(names)\n")
}

/// Reads records for `model`, and says what of the file is not used.
func readRecords(_ path: String, for model: ModelInfo) throws -> ModelRecords {
    let file = try RecordFile(try InputFile.read(path, maximumBytes: InputFile.maximumDataBytes))
    let records = try ModelRecords(file, for: model)
    tellIgnored(records.ignoredColumns.filter { $0 != model.target?.column })
    return records
}
