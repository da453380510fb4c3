import EncryptedInference

/// A model's predictions computed in the clear, for its owner to compare with.
public struct PlainPredictions: Codable, Sendable, Hashable {
    public struct Prediction: Codable, Sendable, Hashable {
        public let score: Double
        public let label: String
    }

    /// Name of the model.
    public let model: String
    /// One a record, in order.
    public let predictions: [Prediction]

    /// - Throws: ``PlainPredictionsError`` naming the first record that does not fit.
    public init(_ model: InferenceModel, records: [Record]) throws(PlainPredictionsError) {
        guard !records.isEmpty else { throw .noRecords }
        var vectors: [[Double]] = []
        for (index, record) in records.enumerated() {
            do throws(InferenceError) {
                vectors.append(try record.encoded(by: model.inputs, index: index))
            } catch { throw .record(index + 1, reason: Self.reason(error, index)) }
        }
        self.model = model.name
        predictions = model.evaluateInTheClear(vectors).map {
            Prediction(score: $0, label: model.output.label(for: $0))
        }
    }

    /// Without the record's number, for which a file may have a better name.
    private static func reason(_ error: InferenceError, _ index: Int) -> String {
        let prefix = "record \(index + 1): "
        let text = error.description
        return text.hasPrefix(prefix) ? String(text.dropFirst(prefix.count)) : text
    }
}

/// Why a file of records has no predictions.
public enum PlainPredictionsError: Error, Equatable, Sendable, CustomStringConvertible {
    case noRecords
    /// Records count from 1.
    case record(Int, reason: String)

    public var description: String {
        switch self {
        case .noRecords: "there are no records: give a header and at least one row"
        case .record(let number, let reason): "record \(number): \(reason)"
        }
    }
}
