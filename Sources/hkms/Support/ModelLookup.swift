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

/// Reads records for `model`, and says what of the file is not used.
func readRecords(_ path: String, for model: ModelInfo) throws -> ModelRecords {
    let file = try RecordFile(try InputFile.read(path, maximumBytes: InputFile.maximumDataBytes))
    let records = try ModelRecords(file, for: model)
    let ignored = records.ignoredColumns.filter { $0 != model.target?.column }
    if !ignored.isEmpty {
        let names = Terminal.printable(ignored.joined(separator: ", "))
        Terminal.tell("hkms: columns that the model does not take are not sent: \(names)\n")
    }
    return records
}
