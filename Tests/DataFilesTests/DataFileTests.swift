import DataFiles
import ServiceKit
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct VectorFileTests {
    @Test(arguments: [
        "1,2.5,-3e-2\n4\n", "1, 2.5 ,-3e-2\r\n\r\n4", "\u{FEFF}1;2.5;-3e-2\n4", "\"1\",\"2.5\",-3e-2\n4\n",
        "[[1, 2.5, -3e-2], [4]]", " [[1,2.5,-0.03],{\"real\":[4]}]",
    ])
    func reads(text: String) throws {
        let vectors = try VectorFile(bytes(text)).vectors
        #expect(vectors.map(\.real) == [[1, 2.5, -0.03], [4]])
    }

    @Test func readsWhatDecryptGives() throws {
        let vectors = try VectorFile(bytes(#"[{"real":[1,2],"imaginary":[3,4]}]"#)).vectors
        #expect(vectors == [.init(real: [1, 2], imaginary: [3, 4])])
    }

    @Test(arguments: [
        ("1,2\n3,x\n", DataFileError.notANumber(place: "row 2", column: "2", text: "x")),
        ("\n1,2\n3,nan", .notANumber(place: "row 3", column: "2", text: "nan")),
        ("1,inf", .notANumber(place: "row 1", column: "2", text: "inf")),
        ("1,2\n3,", .missingValue(place: "row 2", column: "2")),
        ("?", .missingValue(place: "row 1", column: "1")),
        ("", .empty), ("\n \n", .empty), ("[]", .empty),
        ("1,\"2\n3", .malformedCSV(reason: "a quoted cell does not end")),
        ("1\n\"2\"x\"\"", .malformedCSV(reason: "row 2: text follows a quoted cell")),
        ("[[1],[]]", .malformedJSON(place: "vector 2", reason: "there are no values")),
        ("[[1],[2,\"x\"]]", .malformedJSON(place: "vector 2, column 2", reason: "the value has the wrong type")),
        ("[[1],[null]]", .malformedJSON(place: "vector 2, column 1", reason: "the value has the wrong type")),
        ("[[1]", .malformedJSON(place: "", reason: "the text is no JSON")),
        (
            #"[{"real":[1],"imaginary":[]}]"#,
            .malformedJSON(place: "vector 1", reason: "there are not as many imaginary values as real ones")
        ),
    ])
    func refuses(text: String, expected: DataFileError) {
        #expect(throws: expected) { try VectorFile(bytes(text)) }
    }

    @Test func refusesWhatIsNoText() {
        #expect(throws: DataFileError.notUTF8) { try VectorFile([0x31, 0xFF]) }
        #expect(throws: DataFileError.tooLarge(maximumBytes: 16 << 20)) {
            try VectorFile([UInt8](repeating: 0x31, count: (16 << 20) + 1))
        }
    }

    @Test func takesAnyBytes() {
        var generator = SystemRandomNumberGenerator()
        let alphabet = bytes("1,;\t\"\n\r .-e?[]{}:ax") + [0xFF, 0xC3, 0x00]
        for _ in 0..<3_000 {
            let length = Int.random(in: 0...40, using: &generator)
            let text = (0..<length).map { _ in alphabet.randomElement(using: &generator) ?? 0 }
            _ = try? VectorFile(text)
            _ = try? RecordFile(text)
        }
    }

    @Test func refusesDeepJSON() {
        let text = String(repeating: "[", count: 100_000)
        #expect(throws: DataFileError.self) { try VectorFile(bytes(text)) }
        #expect(throws: DataFileError.self) { try RecordFile(bytes(text)) }
    }
}

@Suite struct RecordFileTests {
    @Test(arguments: [
        "age,ca\n63,?\n67,3\n", "age\tca\r\n63\t\r\n67\t3", " age , ca \n63, \n\n67,3",
        #"[{"age":63,"ca":null},{"age":"67","ca":3}]"#, #"[{"age":63,"ca":"?"},{"age":67,"ca":3.0}]"#,
    ])
    func reads(text: String) throws {
        let file = try RecordFile(bytes(text))
        #expect(file.columns == ["age", "ca"])
        #expect(file.records == [["age": 63, "ca": nil], ["age": 67, "ca": 3]])
    }

    @Test(arguments: [
        ("age,ca\n63,1\n67,much\n", DataFileError.notANumber(place: "row 3", column: "ca", text: "much")),
        ("age,ca\n63\n", .wrongCellCount(place: "row 2", found: 1, expected: 2)),
        ("age,ca\n63,1,2\n", .wrongCellCount(place: "row 2", found: 3, expected: 2)),
        ("age,age\n63,1\n", .duplicateColumn(name: "age", column: 2)),
        ("age,\n63,1\n", .namelessColumn(2)),
        ("age,ca\n", .empty), ("[]", .empty),
        (
            #"[{"age":1},{"age":true}]"#,
            .malformedJSON(place: "record 2, column age", reason: "the value is no finite number")
        ),
        (
            #"[{"9223372036854775807":true}]"#,
            .malformedJSON(place: "record 1, column 9223372036854775807", reason: "the value is no finite number")
        ),
        (
            #"[{"+9223372036854775807":true}]"#,
            .malformedJSON(place: "record 1, column +9223372036854775807", reason: "the value is no finite number")
        ),
        (#"[{"007":true}]"#, .malformedJSON(place: "record 1, column 007", reason: "the value is no finite number")),
        (#"[{"7":true}]"#, .malformedJSON(place: "record 1, column 7", reason: "the value is no finite number")),
        (#"[{"age":1},7]"#, .malformedJSON(place: "record 2", reason: "the value has the wrong type")),
        (#"{"age":1}"#, .malformedJSON(place: "", reason: "the value has the wrong type")),
    ])
    func refuses(text: String, expected: DataFileError) {
        #expect(throws: expected) { try RecordFile(bytes(text)) }
    }

    @Test func keepsErrorsOnOneLine() {
        let text = "age\n\"a\u{1B}[2J\n" + String(repeating: "b", count: 1_000) + "\"\n"
        #expect {
            _ = try RecordFile(bytes(text))
        } throws: { error in
            let text = "\(error)"
            return text.count < 300 && !text.contains("\u{1B}") && !text.contains("\n")
        }
    }
}

@Suite struct ModelRecordsTests {
    let model = ModelInfo(
        name: "heart", version: 1, description: "", unit: "u", digest: "",
        inputs: [
            .init(name: "age", encoding: "scaled", range: [0, 120], categories: nil, mayBeMissing: false),
            .init(name: "ca", encoding: "oneHot", range: nil, categories: [0, 1], mayBeMissing: true),
        ],
        output: "disease", threshold: 0, labels: ["absent", "present"],
        target: .init(column: "target", positiveAbove: 0), batch: 8, depth: 3,
        parameters: .init(scheme: "ckks", logN: 14, q: [], p: [], alpha: 1), scaleBits: 40, evaluationKeys: [])

    @Test func sendsInputsAlone() throws {
        let file = try RecordFile(bytes("name,age,ca,target\n1,63,?,0\n2,67,1,2\n3,50,0,?\n"))
        let records = try ModelRecords(file, for: model)
        #expect(records.records == [["age": 63, "ca": nil], ["age": 67, "ca": 1], ["age": 50, "ca": 0]])
        #expect(records.ignoredColumns == ["name", "target"])
        let predictions = ["present", "present", "absent"].map { PredictResponse.Prediction(score: 0, label: $0) }
        let accuracy = try #require(records.accuracy(of: predictions, model: model))
        #expect(accuracy.correct == 1)
        #expect(accuracy.counted == 2)
        #expect(accuracy.share == 0.5)
        #expect(records.accuracy(of: [], model: model) == nil)
    }

    @Test func hasNoAccuracyWithoutTruth() throws {
        let records = try ModelRecords(try RecordFile(bytes("age,ca\n63,?\n")), for: model)
        #expect(records.accuracy(of: [.init(score: 1, label: "present")], model: model) == nil)
    }

    @Test(arguments: [
        ("age\n63\n", DataFileError.missingColumn(place: "row 2", column: "ca")),
        ("age,ca\n63,1\n?,1\n", .missingValue(place: "row 3", column: "age")),
        (#"[{"age":63,"ca":1},{"age":63}]"#, .missingColumn(place: "record 2", column: "ca")),
    ])
    func namesWhatIsMissing(text: String, expected: DataFileError) throws {
        let file = try RecordFile(bytes(text))
        #expect(throws: expected) { try ModelRecords(file, for: model) }
    }
}
