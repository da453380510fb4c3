import ServiceKit

/// A file of vectors of integers: CSV without a header, one vector a row; or JSON, an array of arrays. Numbers are read
/// as they are written, with no floating-point number in between.
public struct IntegerVectorFile: Sendable, Hashable {
    /// At least one; each has at least one value.
    public let vectors: [[Int64]]

    /// - Parameter bytes: any bytes; at most 16 MiB are read.
    public init(_ bytes: [UInt8]) throws(DataFileError) {
        let text = try DataText(bytes)
        if text.isJSON {
            try text.requireIntegers()
            vectors = try text.decode([[Int64]].self, element: "vector")
        } else {
            var vectors: [[Int64]] = []
            for row in try CSVTable(text.text).rows {
                var values: [Int64] = []
                for (index, cell) in row.cells.enumerated() {
                    values.append(
                        try DataText.integer(cell, place: "row \(row.number)", column: String(index + 1)))
                }
                vectors.append(values)
            }
            self.vectors = vectors
        }
        guard !vectors.isEmpty else { throw .empty }
        if let index = vectors.firstIndex(where: \.isEmpty) {
            throw .malformedJSON(place: "vector \(index + 1)", reason: "there are no values")
        }
    }
}

/// The integer columns of a file of records that a circuit takes: CSV whose first row names the columns, or JSON, an
/// array of objects.
public struct IntegerRecordFile: Sendable, Hashable {
    /// The columns that were asked for alone: no other column leaves this machine.
    public let records: [IntegerRecordBody]
    /// The others.
    public let ignoredColumns: [String]

    /// - Parameters:
    ///   - bytes: any bytes; at most 16 MiB are read.
    ///   - columns: that every record must have; in CSV, others may hold anything.
    public init(_ bytes: [UInt8], columns: [String]) throws(DataFileError) {
        let text = try DataText(bytes)
        var records: [IntegerRecordBody] = []
        let names: [String]
        if text.isJSON {
            try text.requireIntegers()
            let rows = try text.decode([[String: Int64?]].self, element: "record")
            names = Set(rows.flatMap(\.keys)).sorted()
            for (index, row) in rows.enumerated() {
                var record: IntegerRecordBody = [:]
                for column in columns {
                    guard let value = row[column] else {
                        throw .missingColumn(place: "record \(index + 1)", column: DataText.shown(column))
                    }
                    guard let value else {
                        throw .missingValue(place: "record \(index + 1)", column: DataText.shown(column))
                    }
                    record[column] = value
                }
                records.append(record)
            }
        } else {
            let rows = try CSVTable(text.text).rows
            names = try RecordFile.header(rows[0].cells)
            for row in rows.dropFirst() {
                let place = "row \(row.number)"
                guard row.cells.count == names.count else {
                    throw .wrongCellCount(place: place, found: row.cells.count, expected: names.count)
                }
                var record: IntegerRecordBody = [:]
                for column in columns {
                    guard let index = names.firstIndex(of: column) else {
                        throw .missingColumn(place: place, column: DataText.shown(column))
                    }
                    record[column] = try DataText.integer(row.cells[index], place: place, column: column)
                }
                records.append(record)
            }
        }
        guard !records.isEmpty else { throw .empty }
        self.records = records
        ignoredColumns = names.filter { !columns.contains($0) }
    }
}

extension DataText {
    /// - Throws: ``DataFileError/notAnInteger(place:column:text:)`` for a number with a fraction or an exponent.
    func requireIntegers() throws(DataFileError) {
        if let number = JSONIntegers.firstOther(in: Array(text.utf8)) {
            throw .notAnInteger(place: "the file", column: "", text: Self.shown(number))
        }
    }

    static func integer(_ cell: String, place: String, column: String) throws(DataFileError) -> Int64 {
        var text = Substring(cell)
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        guard !text.isEmpty, text != "?" else { throw .missingValue(place: place, column: shown(column)) }
        guard let value = Int64(text) else {
            throw .notAnInteger(place: place, column: shown(column), text: shown(cell))
        }
        return value
    }
}
