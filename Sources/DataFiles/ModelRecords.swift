import ServiceKit

/// The part of a record file that a model takes, and what the file says about the truth.
public struct ModelRecords: Sendable, Hashable {
    /// How many predictions were right.
    public struct Accuracy: Sendable, Hashable, Codable {
        /// Predictions that agree with the truth.
        public let correct: Int
        /// Records whose truth the file tells; more than zero.
        public let counted: Int

        /// 0 to 1.
        public var share: Double { Double(correct) / Double(counted) }
    }

    /// The inputs of the model alone: no other column leaves this machine.
    public let records: [RecordBody]
    /// Columns that are no inputs of the model, its target included.
    public let ignoredColumns: [String]
    /// Whether a record is positive; nil where the file does not tell.
    private let truths: [Bool?]

    /// - Throws: ``DataFileError`` naming the record and the input that it lacks.
    public init(_ file: RecordFile, for model: ModelInfo) throws(DataFileError) {
        var records: [RecordBody] = []
        for (index, record) in file.records.enumerated() {
            var inputs: RecordBody = [:]
            for input in model.inputs {
                guard let value = record[input.name] else {
                    throw .missingColumn(place: file.place(ofRecord: index), column: input.name)
                }
                guard value != nil || input.mayBeMissing else {
                    throw .missingValue(place: file.place(ofRecord: index), column: input.name)
                }
                inputs.updateValue(value, forKey: input.name)
            }
            records.append(inputs)
        }
        self.records = records
        let names = Set(model.inputs.map(\.name))
        ignoredColumns = file.columns.filter { !names.contains($0) }
        // A target that is an input too tells nothing about a prediction.
        truths = file.records.map { record in
            guard let target = model.target, !names.contains(target.column), let value = record[target.column] else {
                return nil
            }
            return value.map { $0 > target.positiveAbove }
        }
    }

    /// - Parameter predictions: one a record, in order.
    /// - Returns: nil where the file has no truth, or the model other than two labels.
    public func accuracy(of predictions: [PredictResponse.Prediction], model: ModelInfo) -> Accuracy? {
        guard model.labels.count == 2, predictions.count == truths.count else { return nil }
        var correct = 0
        var counted = 0
        for (prediction, truth) in zip(predictions, truths) {
            guard let truth else { continue }
            counted += 1
            if prediction.label == model.labels[truth ? 1 : 0] { correct += 1 }
        }
        return counted == 0 ? nil : Accuracy(correct: correct, counted: counted)
    }
}
