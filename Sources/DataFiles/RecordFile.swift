import ServiceKit

/// A file of records: CSV whose first row names the columns, or JSON, an array of objects.
/// A cell that is empty or `?`, or null, is a missing value.
public struct RecordFile: Sendable, Hashable {
    /// In the order of the file; in alphabetical order for JSON.
    public let columns: [String]
    /// At least one; all numbers are finite.
    public let records: [RecordBody]
    /// Row of each record in a CSV file; empty for JSON.
    private let rowNumbers: [Int]

    /// The longest file, in bytes: 16 MiB.
    public static let maximumBytes = DataText.maximumBytes

    /// - Parameter bytes: any bytes, at most ``maximumBytes``.
    public init(_ bytes: [UInt8]) throws(DataFileError) {
        let text = try DataText(bytes)
        if text.isJSON {
            records = try text.decode([[String: DataCell]].self, element: "record").map { $0.mapValues(\.value) }
            columns = Set(records.flatMap(\.keys)).sorted()
            rowNumbers = []
        } else {
            let rows = try CSVTable(text.text).rows
            columns = try Self.header(rows[0].cells)
            var records: [RecordBody] = []
            for row in rows.dropFirst() { records.append(try Self.record(row, columns)) }
            self.records = records
            rowNumbers = rows.dropFirst().map(\.number)
        }
        guard !records.isEmpty else { throw .empty }
    }

    /// How errors name a record: by its row where there is one.
    /// - Parameter index: of the record, from 0.
    public func place(ofRecord index: Int) -> String {
        rowNumbers.indices.contains(index) ? "row \(rowNumbers[index])" : "record \(index + 1)"
    }

    static func header(_ cells: [String]) throws(DataFileError) -> [String] {
        var names: [String] = []
        var known: Set<String> = []
        for (index, cell) in cells.enumerated() {
            var name = Substring(cell)
            while name.first?.isWhitespace == true { name.removeFirst() }
            while name.last?.isWhitespace == true { name.removeLast() }
            guard !name.isEmpty else { throw .namelessColumn(index + 1) }
            guard known.insert(String(name)).inserted else {
                throw .duplicateColumn(name: DataText.shown(String(name)), column: index + 1)
            }
            names.append(String(name))
        }
        return names
    }

    private static func record(_ row: CSVTable.Row, _ columns: [String]) throws(DataFileError) -> RecordBody {
        let place = "row \(row.number)"
        guard row.cells.count == columns.count else {
            throw .wrongCellCount(place: place, found: row.cells.count, expected: columns.count)
        }
        var record: RecordBody = [:]
        for (column, text) in zip(columns, row.cells) {
            guard let cell = DataCell(text: text) else {
                throw .notANumber(place: place, column: DataText.shown(column), text: DataText.shown(text))
            }
            record.updateValue(cell.value, forKey: column)
        }
        return record
    }
}
