import EncryptedInference
import EvaluationUnit
import SwiftCSV

/// CSV files of records (RFC 4180).
enum RecordFile {
    /// The longest file, in bytes.
    static let maximumBytes = 16 << 20

    /// - Parameter path: `-` for standard input.
    /// - Throws: ``BoundedFileError`` or ``PlainPredictionsError``.
    static func read(_ path: String) throws -> [Record] {
        let bytes = try BoundedFile.read(path, maximumBytes: maximumBytes)
        guard var text = String(validating: bytes, as: UTF8.self) else { throw RecordFileError.notUTF8 }
        // SwiftCSV takes the rest of the file for one field where a quote is never closed, and drops an
        // empty last field where the last line has no end.
        guard text.utf8.count(where: { $0 == UInt8(ascii: "\"") }).isMultiple(of: 2) else {
            throw RecordFileError.openQuote
        }
        if !text.utf8.isEmpty, text.utf8.last != UInt8(ascii: "\n") { text += "\n" }
        var header: [String] = []
        var rows: [[String]] = []
        do {
            let csv = try EnumeratedCSV(string: text, delimiter: .comma, loadColumns: false, rowLimit: 0)
            header = csv.header
            try csv.enumerateAsArray(startAt: 1, rowLimit: nil) { rows.append($0) }
        } catch { throw PlainPredictionsError.row(rows.count + 1, reason: "it has a quote in the middle of a field") }
        guard Set(header).count == header.count else { throw RecordFileError.repeatedColumn }
        // Empty lines at the end.
        while header.count > 1, rows.last == [""] { rows.removeLast() }
        var records: [Record] = []
        for (index, row) in rows.enumerated() {
            guard row.count == header.count else {
                throw PlainPredictionsError.row(
                    index + 1, reason: "it has \(row.count) fields and the header has \(header.count)")
            }
            records.append(
                Record(Dictionary(uniqueKeysWithValues: zip(header, row.map { Record.Value(text: $0) }))))
        }
        return records
    }
}

/// Why a file is no CSV of records.
enum RecordFileError: Error, CustomStringConvertible {
    case notUTF8
    case openQuote
    case repeatedColumn

    var description: String {
        switch self {
        case .notUTF8: "the records are not UTF-8 text"
        case .openQuote: "the records have a quote that is never closed"
        case .repeatedColumn: "the header of the records names a column twice"
        }
    }
}
