import ServiceKit

/// Rows of text in columns of equal width.
struct Table {
    private var rows: [[String]]
    private let hasHeader: Bool

    /// - Parameter header: empty for a table of names and values.
    init(_ header: [String] = []) {
        hasHeader = !header.isEmpty
        rows = hasHeader ? [header] : []
    }

    /// The steps of a request.
    init(_ timings: ServerTiming) {
        self.init(["step", "time"])
        for entry in timings.entries { add([entry.name, Format.milliseconds(entry.milliseconds)]) }
    }

    var isEmpty: Bool { rows.count <= (hasHeader ? 1 : 0) }

    mutating func add(_ cells: [String]) {
        rows.append(cells.map { Terminal.printable($0).replacing("\n", with: " ") })
    }

    /// One line a row.
    var text: String {
        var widths: [Int] = []
        for row in rows {
            for (index, cell) in row.enumerated() {
                if index == widths.count { widths.append(0) }
                widths[index] = max(widths[index], cell.count)
            }
        }
        var text = ""
        for row in rows {
            for (index, cell) in row.enumerated() {
                text += cell
                // Nothing behind the last cell.
                if index < row.count - 1 { text += String(repeating: " ", count: widths[index] - cell.count + 2) }
            }
            text += "\n"
        }
        return text
    }
}
