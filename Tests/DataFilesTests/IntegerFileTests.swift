import DataFiles
import ServiceKit
import Testing

@Suite struct IntegerFileTests {
    private func vectors(_ text: String) throws -> [[Int64]] { try IntegerVectorFile(Array(text.utf8)).vectors }

    private func records(_ text: String, _ columns: [String] = ["a", "b"]) throws -> [IntegerRecordBody] {
        try IntegerRecordFile(Array(text.utf8), columns: columns).records
    }

    @Test(arguments: ["1,-2\n9007199254740993\n", " 1 ;-2\r\n9007199254740993", "[[1, -2], [9007199254740993]]"])
    func reads(text: String) throws { #expect(try vectors(text) == [[1, -2], [9_007_199_254_740_993]]) }

    @Test(arguments: [
        ("1,2.0\n", DataFileError.notAnInteger(place: "row 1", column: "2", text: "2.0")),
        ("1\n1e3\n", .notAnInteger(place: "row 2", column: "1", text: "1e3")),
        ("9223372036854775808", .notAnInteger(place: "row 1", column: "1", text: "9223372036854775808")),
        ("x", .notAnInteger(place: "row 1", column: "1", text: "x")),
        ("1,\n", .missingValue(place: "row 1", column: "2")),
        ("[[1.0]]", .notAnInteger(place: "the file", column: "", text: "1.0")),
        ("[[9007199254740993.0]]", .notAnInteger(place: "the file", column: "", text: "9007199254740993.0")),
        ("[[1],[]]", .malformedJSON(place: "vector 2", reason: "there are no values")),
        ("[]", .empty), ("", .empty),
    ])
    func refuses(text: String, expected: DataFileError) {
        #expect(throws: expected) { try vectors(text) }
    }

    @Test(arguments: [
        "a,b,c\n1,-2,0.5\n9007199254740993,0,x\n", #"[{"a": 1, "b": -2}, {"b": 0, "a": 9007199254740993, "c": null}]"#,
    ])
    func readsRecords(text: String) throws {
        let file = try IntegerRecordFile(Array(text.utf8), columns: ["a", "b"])
        #expect(file.records == [["a": 1, "b": -2], ["a": 9_007_199_254_740_993, "b": 0]])
        #expect(file.ignoredColumns == ["c"])
    }

    @Test(arguments: [
        ("a,b\n1,0.5\n", DataFileError.notAnInteger(place: "row 2", column: "b", text: "0.5")),
        ("a,b\n1,?\n", .missingValue(place: "row 2", column: "b")),
        ("a,c\n1,2\n", .missingColumn(place: "row 2", column: "b")),
        ("a,b\n1\n", .wrongCellCount(place: "row 2", found: 1, expected: 2)), ("a,b\n", .empty),
        (#"[{"a": 1}]"#, .missingColumn(place: "record 1", column: "b")),
        (#"[{"a": 1, "b": null}]"#, .missingValue(place: "record 1", column: "b")),
        (#"[{"a": 1, "b": 1.0}]"#, .notAnInteger(place: "the file", column: "", text: "1.0")),
    ])
    func refusesRecords(text: String, expected: DataFileError) {
        #expect(throws: expected) { try records(text) }
    }
}
