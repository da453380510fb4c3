import Foundation

/// A value as JSON for people and programs: indented, sorted, dates in ISO 8601.
enum JSONText {
    static func write(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted]
        encoder.dateEncodingStrategy = .iso8601
        guard let data = try? encoder.encode(value) else {
            throw CommandFailure(
                title: "Answer not printable", detail: "it holds a number that JSON has no form for",
                fix: "Leave out --json.")
        }
        try Terminal.write(Array(data) + [UInt8(ascii: "\n")])
    }
}
