import SwiftCSV

/// The cells of a CSV file (RFC 4180) with comma, semicolon or tab between them.
struct CSVTable {
    struct Row {
        /// From 1, empty rows counted.
        let number: Int
        let cells: [String]
    }

    /// All rows but the empty ones.
    let rows: [Row]

    init(_ text: String) throws(DataFileError) {
        // The parser takes the end of the text for the closing quote of a cell.
        guard text.utf8.count(where: { $0 == UInt8(ascii: "\"") }).isMultiple(of: 2) else {
            throw .malformedCSV(reason: "a quoted cell does not end")
        }
        var rows: [Row] = []
        var number = 0
        do {
            // With an end of line the parser keeps the last cell of the last row also where it is empty.
            let text = text.last?.isNewline == true ? text : text + "\n"
            let delimiter = CSVDelimiter.guessed(string: text)
            // A row limit of 0 reads the header alone: the rows are read below, as they are.
            let csv = try EnumeratedCSV(string: text, delimiter: delimiter, loadColumns: false, rowLimit: 0)
            try csv.enumerateAsArray(startAt: 0, rowLimit: nil) { cells in
                number += 1
                if cells.contains(where: { !$0.allSatisfy(\.isWhitespace) }) || cells.count > 1 {
                    rows.append(Row(number: number, cells: cells))
                }
            }
        } catch {
            throw .malformedCSV(reason: "row \(number + 1): text follows a quoted cell")
        }
        guard !rows.isEmpty else { throw .empty }
        self.rows = rows
    }
}
