import ServiceKit

/// Why a file of vectors or records cannot be used.
///
/// `place` names the row or record, counted from 1; in a CSV file a header is row 1.
public enum DataFileError: Error, Sendable, Equatable {
    /// Two columns of one name.
    case duplicateColumn(name: String, column: Int)
    /// No row, no record or no vector.
    case empty
    /// Quotes that do not match.
    case malformedCSV(reason: String)
    /// Not the JSON that is expected; `place` is where, or empty.
    case malformedJSON(place: String, reason: String)
    /// An input of the model that the record does not have at all.
    case missingColumn(place: String, column: String)
    /// Nothing where the model, or a vector, needs a number.
    case missingValue(place: String, column: String)
    /// A column without a name.
    case namelessColumn(Int)
    /// A number that is no integer of 64 bits, where integers are exact.
    case notAnInteger(place: String, column: String, text: String)
    /// A cell that is no finite number.
    case notANumber(place: String, column: String, text: String)
    /// Bytes that are no UTF-8.
    case notUTF8
    /// More bytes than are read.
    case tooLarge(maximumBytes: Int)
    /// More or fewer cells than the header has names.
    case wrongCellCount(place: String, found: Int, expected: Int)
}

extension DataFileError: ActionableError {
    public var title: String { "Input data not usable" }

    public var detail: String {
        switch self {
        case .duplicateColumn(let name, let column): "row 1, column \(column): there is another column \(name)"
        case .empty: "there is no data"
        case .malformedCSV(let reason): reason
        case .malformedJSON(let place, let reason): place.isEmpty ? reason : "\(place): \(reason)"
        case .missingColumn(let place, let column): "\(place): there is no \(column)"
        case .missingValue(let place, let column): "\(place), column \(column): the value is missing"
        case .namelessColumn(let column): "row 1, column \(column): the column has no name"
        case .notAnInteger(let place, let column, let text):
            column.isEmpty ? "\(place): \(text) is no integer" : "\(place), column \(column): \(text) is no integer"
        case .notANumber(let place, let column, let text): "\(place), column \(column): \(text) is no finite number"
        case .notUTF8: "the text is not UTF-8"
        case .tooLarge(let maximum): "the file has more than \(maximum) bytes"
        case .wrongCellCount(let place, let found, let expected):
            "\(place): there are \(found) cells, the header has \(expected)"
        }
    }

    public var fix: String {
        switch self {
        case .duplicateColumn, .namelessColumn, .wrongCellCount: "Give every column one name and every row its cells."
        case .empty: "Give at least one row; records in CSV need a header before it."
        case .malformedCSV: "Quote cells as RFC 4180 says."
        case .malformedJSON:
            "Give records as an array of objects, vectors as an array of arrays of numbers."
        case .missingColumn: "hkms models NAME tells the inputs of a model."
        case .missingValue: "Give a number; hkms models NAME tells which inputs of a model may be missing."
        case .notAnInteger: "Write whole numbers without a point or an exponent."
        case .notANumber: "Give a number, with a point before decimals; ? or nothing stands for a missing value."
        case .notUTF8: "Save the file as UTF-8."
        case .tooLarge: "Split the file."
        }
    }
}

extension DataFileError: CustomStringConvertible {
    public var description: String { "\(title): \(detail). \(fix)" }
}
