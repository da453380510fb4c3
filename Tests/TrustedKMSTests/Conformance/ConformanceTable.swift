import Foundation

/// The outcome of the whole suite, as docs/kms/conformance.md has it: a row for each case, a column for each adapter
/// before its backend, reasons as footnotes.
///
/// With `HKMS_WRITE_CONFORMANCE` set the document is written, cell by cell as cases end; without it every outcome must
/// be what the document says.
actor ConformanceTable {
    static let shared = ConformanceTable()

    static let isWriting = ProcessInfo.processInfo.environment["HKMS_WRITE_CONFORMANCE"] != nil
    private static let begin = "<!-- outcome: HKMS_WRITE_CONFORMANCE=1 scripts/test --filter Conformance -->\n"
    private static let end = "<!-- end of outcome -->\n"
    private static let path = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("../../../docs/kms/conformance.md").standardizedFileURL.path

    private var cells: Cells?

    /// - Throws: where the document says something else of this cell.
    func record(_ outcome: ConformanceOutcome, _ check: TrustedKMSConformance, _ column: ConformanceColumn) throws {
        var cells = try cells ?? Self.read()
        defer { self.cells = cells }
        let documented = cells[check, column.name]
        if documented == outcome { return }
        guard Self.isWriting else {
            throw ConformanceFailure(
                "\(column.name), \(check.title): \(Self.text(outcome)), but docs/kms/conformance.md says "
                    + "\(documented.map(Self.text) ?? "nothing"); see how it writes itself")
        }
        cells[check, column.name] = outcome
        try Self.write(cells)
    }

    /// Rows and columns as the document has them.
    func documented() throws -> (rows: [String], columns: [String], isComplete: Bool) {
        let cells = try Self.read()
        let isComplete = TrustedKMSConformance.allCases.allSatisfy { check in
            ConformanceColumn.all.allSatisfy { cells[check, $0.name] != nil }
        }
        return (cells.rows, cells.columns, isComplete)
    }

    private static func text(_ outcome: ConformanceOutcome) -> String {
        switch outcome {
        case .passed: "pass"
        case .notApplicable(let reason): reason
        }
    }

    // MARK: The document

    private struct Cells {
        var rows: [String] = []
        var columns: [String] = []
        var outcomes: [String: [String: ConformanceOutcome]] = [:]

        subscript(check: TrustedKMSConformance, column: String) -> ConformanceOutcome? {
            get { outcomes[check.title]?[column] }
            set { outcomes[check.title, default: [:]][column] = newValue }
        }
    }

    private static func parts() throws -> (before: String, outcome: String, after: String) {
        let text = try String(contentsOfFile: path, encoding: .utf8)
        guard let begin = text.range(of: begin), let end = text.range(of: end, range: begin.upperBound..<text.endIndex)
        else { throw ConformanceFailure("docs/kms/conformance.md has no place for the outcome") }
        return (
            String(text[..<begin.upperBound]), String(text[begin.upperBound..<end.lowerBound]),
            String(text[end.lowerBound...])
        )
    }

    private static func read() throws -> Cells {
        let lines = try parts().outcome.split(separator: "\n").map(String.init)
        var reasons: [String: String] = [:]
        for line in lines {
            let parts = line.split(separator: ".", maxSplits: 1)
            if parts.count == 2, Int(parts[0]) != nil {
                reasons[String(parts[0])] = parts[1].trimmingCharacters(in: .whitespaces)
            }
        }
        let table = lines.filter { $0.hasPrefix("|") }.map { line in
            line.split(separator: "|", omittingEmptySubsequences: false).dropFirst().dropLast()
                .map { $0.trimmingCharacters(in: .whitespaces) }
        }
        var cells = Cells()
        guard let head = table.first else { return cells }
        cells.columns = Array(head.dropFirst())
        for row in table.dropFirst(2) {
            guard let title = row.first else { continue }
            cells.rows.append(title)
            for (column, cell) in zip(cells.columns, row.dropFirst()) {
                if cell == "pass" { cells.outcomes[title, default: [:]][column] = .passed }
                if let reason = reasons[cell.trimmingCharacters(in: CharacterSet(charactersIn: "-()"))] {
                    cells.outcomes[title, default: [:]][column] = .notApplicable(reason: reason)
                }
            }
        }
        return cells
    }

    private static func write(_ cells: Cells) throws {
        var reasons: [String] = []
        let columns = ConformanceColumn.all
        var lines = [
            "| case | " + columns.map(\.name).joined(separator: " | ") + " |",
            "| --- |" + columns.map { _ in " --- |" }.joined(),
        ]
        for check in TrustedKMSConformance.allCases {
            let row = columns.map { column in
                switch cells[check, column.name] {
                case .passed: return "pass"
                case .notApplicable(let reason):
                    if !reasons.contains(reason) { reasons.append(reason) }
                    return "-(\((reasons.firstIndex(of: reason) ?? 0) + 1))"
                case nil: return "not run"
                }
            }
            lines.append("| \(check.title) | " + row.joined(separator: " | ") + " |")
        }
        lines += [""] + reasons.enumerated().map { "\($0 + 1). \($1)" }
        let (before, _, after) = try parts()
        try (before + lines.joined(separator: "\n") + "\n" + after).write(
            toFile: path, atomically: true, encoding: .utf8)
    }
}

extension TrustedKMSConformance {
    /// The case in words: `everyAlteredByteIsNoticed` is "every altered byte is noticed".
    var title: String {
        rawValue.reduce(into: "") { title, character in
            title += character.isUppercase ? " " + character.lowercased() : String(character)
        }
    }
}
