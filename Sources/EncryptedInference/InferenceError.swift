import Attestation

/// Why a model, a record or an evaluation is refused.
public enum InferenceError: Error, Equatable, Sendable, CustomStringConvertible {
    // Models
    case malformedModel(reason: String)
    /// The network is deeper, or wider, than every preset.
    case doesNotFit(reason: String)
    /// A file of integers' sums or weights is not one.
    case malformedCircuit(reason: String)
    /// The exact result may be larger than t/2, and would come out modulo t.
    case resultMayWrap(magnitude: Int64, modulus: UInt64)
    /// A batch of that many records is not planned for.
    case batchOutOfRange(Int, largest: Int)

    // Records; `record` counts from 0, in words from 1
    case missingField(record: Int, field: String)
    case notANumber(record: Int, field: String)
    case outOfRange(record: Int, field: String, value: Double, lower: Double, upper: Double)
    case unknownCategory(record: Int, field: String, value: Double, known: [Double])
    case missingValue(record: Int, field: String)
    case noRecords
    /// More than one job has room for.
    case tooManyRecords(Int, largest: Int)
    case integerOutOfRange(record: Int, field: String, value: Int64, lower: Int64, upper: Int64)

    // Evaluation
    case unexpectedInput(reason: String)

    public var description: String {
        switch self {
        case .malformedModel(let reason): "not a usable model: \(reason)"
        case .doesNotFit(let reason): "no parameters fit this model: \(reason)"
        case .malformedCircuit(let reason): "not a usable circuit: \(reason)"
        case .resultMayWrap(let magnitude, let modulus):
            "the exact result may be as large as \(magnitude), which a plaintext modulus of \(modulus) has no room for: "
                + "it takes one above \(2 * magnitude)"
        case .integerOutOfRange(let record, let field, let value, let lower, let upper):
            "record \(record + 1): \(field) is \(value); it must be in \(lower)...\(upper)"
        case .batchOutOfRange(let batch, let largest): "a batch has 1 to \(largest) records, not \(batch)"
        case .missingField(let record, let field): "record \(record + 1): field \(field) is missing"
        case .notANumber(let record, let field): "record \(record + 1): \(field) is not a finite number"
        case .outOfRange(let record, let field, let value, let lower, let upper):
            "record \(record + 1): \(field) is \(value); it must be in \(lower)...\(upper)"
        case .unknownCategory(let record, let field, let value, let known):
            "record \(record + 1): \(field) is \(value); it must be one of \(known.map { "\($0)" }.joined(separator: ", "))"
        case .missingValue(let record, let field):
            "record \(record + 1): \(field) has no value, and this model takes none missing there"
        case .noRecords: "there are no records: give at least one"
        case .tooManyRecords(let count, let largest):
            "\(count) records are more than the \(largest) that one request takes: send them in parts"
        case .unexpectedInput(let reason): "the input cannot be evaluated: \(reason)"
        }
    }
}

extension CircuitProfile {
    /// Counts before slots are made: those of a wide model take far more memory than its records.
    func requireRoom(for records: Int) throws(InferenceError) {
        let largest = Self.maximumInputs / (operands ?? 1) * batch
        guard records <= largest else { throw .tooManyRecords(records, largest: largest) }
    }
}
