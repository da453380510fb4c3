/// One value of a data file: a finite number, or nil for a missing one.
///
/// In JSON it may also be a text, which is read as a cell of a CSV file is.
struct DataCell: Decodable {
    let value: Double?

    /// - Returns: nil for what is neither a finite number nor `?` nor empty.
    init?(text: String) {
        var text = Substring(text)
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        if text.isEmpty || text == "?" {
            value = nil
        } else if let number = Double(text), number.isFinite {
            value = number
        } else {
            return nil
        }
    }

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if container.decodeNil() {
            value = nil
        } else if let number = try? container.decode(Double.self) {
            value = number
        } else if let text = try? container.decode(String.self), let cell = DataCell(text: text) {
            self = cell
        } else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "no number")
        }
    }
}
