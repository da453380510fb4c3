import FoundationEssentials

/// The text of a data file and what it looks like.
struct DataText {
    /// The largest file, 16 MiB.
    static let maximumBytes = 16 << 20

    let text: String
    /// Whether it begins as JSON does; no CSV of numbers or names begins with a bracket.
    let isJSON: Bool

    init(_ bytes: [UInt8]) throws(DataFileError) {
        guard bytes.count <= Self.maximumBytes else { throw .tooLarge(maximumBytes: Self.maximumBytes) }
        // Spreadsheets begin files with a byte order mark.
        let content = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? bytes[3...] : bytes[...]
        guard let text = String(validating: content, as: UTF8.self) else { throw .notUTF8 }
        self.text = text
        let first = content.first { !Self.isBlank($0) }
        guard let first else { throw .empty }
        isJSON = first == UInt8(ascii: "[") || first == UInt8(ascii: "{")
    }

    /// - Throws: ``DataFileError/malformedJSON(place:reason:)`` with the element and member it is about.
    func decode<Value: Decodable>(_: [Value].Type, element: String) throws(DataFileError) -> [Value] {
        do {
            return try JSONDecoder().decode([Value].self, from: Data(text.utf8))
        } catch let error as DecodingError {
            throw Self.explained(error, element: element)
        } catch {
            throw .malformedJSON(place: "", reason: "the text is no JSON")
        }
    }

    private static func explained(_ error: DecodingError, element: String) -> DataFileError {
        switch error {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context):
            .malformedJSON(
                place: place(context.codingPath, element: element), reason: "the value has the wrong type")
        case .dataCorrupted(let context):
            context.codingPath.isEmpty
                ? .malformedJSON(place: "", reason: "the text is no JSON")
                : .malformedJSON(
                    place: place(context.codingPath, element: element), reason: "the value is no finite number")
        @unknown default: .malformedJSON(place: "", reason: "the text is no JSON")
        }
    }

    private static func place(_ path: [any CodingKey], element: String) -> String {
        guard let index = path.first.flatMap(number) else { return "" }
        let column = path.dropFirst().map { key in number(key).map { String($0) } ?? shown(key.stringValue) }
        return "\(element) \(index)" + (column.isEmpty ? "" : ", column " + column.joined(separator: "."))
    }

    /// An array's index, counted from 1. A member whose name is a number has an `intValue` too, any at all, however that
    /// number is written: "+7" and "007" as well.
    private static func number(_ key: any CodingKey) -> Int? {
        guard let index = key.intValue, Int(key.stringValue) == nil else { return nil }
        return index + 1
    }

    /// A text of the file as it stands in an error: short, on one line.
    static func shown(_ text: String) -> String {
        let printable = text.unicodeScalars.prefix(40).map { $0.properties.generalCategory == .control ? "?" : $0 }
        return String(String.UnicodeScalarView(printable))
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || (9...13).contains(byte)
    }
}
