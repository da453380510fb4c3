import EncryptedInference
import Foundation
import TestSupport
import Testing

@Suite struct RecordTests {
    /// One input of each kind: 1 + 1 + 3 + (2 + 1) network inputs.
    private let features: [InputFeature]
    private let good: [String: Record.Value] = [
        "age": .number(40), "sex": .number(1), "cp": .number(20), "thal": .number(7),
    ]

    init() throws {
        let text = """
            [{"name": "age", "encoding": "scaled", "minimum": 20, "maximum": 60, "valid": [0, 100]},
             {"name": "sex", "encoding": "binary"},
             {"name": "cp", "encoding": "oneHot", "categories": [10, 20, 5.5]},
             {"name": "thal", "encoding": "oneHot", "categories": [3, 7], "missing": true}]
            """
        features = try JSONDecoder().decode([InputFeature].self, from: Data(text.utf8))
    }

    private func encoded(_ changes: [String: Record.Value] = [:], index: Int = 4) throws(InferenceError) -> [Double] {
        try Record(good.merging(changes) { $1 }).encoded(by: features, index: index)
    }

    @Test("inputs follow the model's order, one-hot categories theirs, missing last")
    func order() throws {
        #expect(features.map(\.width) == [1, 1, 3, 3])
        #expect(try encoded() == [0.5, 1, 0, 1, 0, 0, 1, 0])
        #expect(try encoded(["cp": .number(10)]) == [0.5, 1, 1, 0, 0, 0, 1, 0])
        #expect(try encoded(["cp": .number(5.5)]) == [0.5, 1, 0, 0, 1, 0, 1, 0])
        #expect(try encoded(["thal": .number(3)]) == [0.5, 1, 0, 1, 0, 1, 0, 0])
        #expect(try encoded(["thal": .missing]) == [0.5, 1, 0, 1, 0, 0, 0, 1])
        #expect(try encoded(["sex": .number(-0.0)]) == [0.5, 0, 0, 1, 0, 0, 1, 0])
        // A field that no input asks for is nobody's.
        #expect(try encoded(["name": .missing]) == [0.5, 1, 0, 1, 0, 0, 1, 0])
    }

    @Test("scaled values may leave 0...1 as far as valid goes")
    func scaled() throws {
        for (value, expected) in [(0, -0.5), (20, 0), (60, 1), (100, 2)] as [(Double, Double)] {
            #expect(try encoded(["age": .number(value)])[0] == expected)
        }
        for value in [-0.001, 100.001, -1e300, 1e300] {
            #expect(
                throws: InferenceError.outOfRange(record: 4, field: "age", value: value, lower: 0, upper: 100)
            ) { try encoded(["age": .number(value)]) }
        }
        // Without valid, minimum and maximum bind.
        let feature = try JSONDecoder().decode(
            InputFeature.self,
            from: Data(#"{"name": "age", "encoding": "scaled", "minimum": 20, "maximum": 60}"#.utf8))
        let record = Record(["age": .number(19)])
        #expect(throws: InferenceError.outOfRange(record: 0, field: "age", value: 19, lower: 20, upper: 60)) {
            try record.encoded(by: [feature], index: 0)
        }
    }

    @Test("every error names record and field")
    func errors() throws {
        for name in ["age", "sex", "cp", "thal"] {
            var fields = good
            fields[name] = nil
            #expect(throws: InferenceError.missingField(record: 4, field: name)) {
                try Record(fields).encoded(by: features, index: 4)
            }
            for value in [Double.nan, .infinity, -.infinity, .signalingNaN] {
                #expect(throws: InferenceError.notANumber(record: 4, field: name)) {
                    try encoded([name: .number(value)])
                }
            }
        }
        for name in ["age", "sex", "cp"] {
            #expect(throws: InferenceError.missingValue(record: 4, field: name)) { try encoded([name: .missing]) }
        }
        for value in [2, -1, 0.5, 1e300] {
            #expect(
                throws: InferenceError.unknownCategory(record: 4, field: "sex", value: value, known: [0, 1])
            ) { try encoded(["sex": .number(value)]) }
        }
        for value in [0, 11, 5, 5.500001] {
            #expect(
                throws: InferenceError.unknownCategory(record: 4, field: "cp", value: value, known: [10, 20, 5.5])
            ) { try encoded(["cp": .number(value)]) }
        }
        // The missing value's place is no category.
        #expect(throws: InferenceError.unknownCategory(record: 4, field: "thal", value: 2, known: [3, 7])) {
            try encoded(["thal": .number(2)])
        }
    }

    @Test("words count records from 1 and name the field")
    func words() {
        let errors: [InferenceError] = [
            .missingField(record: 4, field: "age"), .notANumber(record: 4, field: "age"),
            .outOfRange(record: 4, field: "age", value: 1, lower: 2, upper: 3),
            .unknownCategory(record: 4, field: "age", value: 1, known: [2]), .missingValue(record: 4, field: "age"),
        ]
        for error in errors {
            #expect("\(error)".hasPrefix("record 5: "))
            #expect("\(error)".contains("age"))
        }
    }

    @Test("text is a number, or ? or nothing for missing, or refused")
    func text() {
        for (text, number) in [("63", 63), (" 1.5\t", 1.5), ("-2e1", -20), ("+7", 7)] as [(String, Double)] {
            #expect(Record.Value(text: text) == .number(number))
        }
        for text in ["", "?", " ? ", " \t\r\n"] { #expect(Record.Value(text: text) == .missing) }
        for text in ["abc", "1,5", "1 2", "??", "NA", "null", "12abc", "１", "--1"] {
            guard case .number(let number) = Record.Value(text: text) else {
                Issue.record("\(text) is taken for missing")
                continue
            }
            #expect(!number.isFinite, "\(text)")
        }
        for text in ["nan", "inf", "-infinity", "1e999"] {
            #expect(throws: InferenceError.notANumber(record: 4, field: "age")) {
                try encoded(["age": Record.Value(text: text)])
            }
        }
    }

    @Test("JSON values are numbers, null or text")
    func json() throws {
        let text = #"{"a": 63, "b": null, "c": "?", "d": "1.5", "e": "", "f": -0.25}"#
        let record = try JSONDecoder().decode(Record.self, from: Data(text.utf8))
        #expect(
            record.fields == [
                "a": .number(63), "b": .missing, "c": .missing, "d": .number(1.5), "e": .missing, "f": .number(-0.25),
            ])
        let again = try JSONDecoder().decode(Record.self, from: JSONEncoder().encode(record))
        #expect(again == record)
        for text in [#"{"a": true}"#, #"{"a": [1]}"#, #"{"a": {}}"#, "[]", "1", #"{"a": 1e999}"#] {
            #expect(throws: DecodingError.self) { try JSONDecoder().decode(Record.self, from: Data(text.utf8)) }
        }
    }

    @Test("5 000 altered records: encoded to the model's width, or a named error")
    func fuzz() {
        var generator = SeededGenerator(5)
        let good = Array(#"{"age": 40, "sex": 1, "cp": 20, "thal": "?"}"#.utf8)
        var accepted = 0
        for _ in 0..<5_000 {
            let bytes = generator.mutated(good)
            guard let record = try? JSONDecoder().decode(Record.self, from: Data(bytes)) else { continue }
            do throws(InferenceError) {
                let values = try record.encoded(by: features, index: 0)
                #expect(values.count == 8)
                #expect(values.allSatisfy { $0.isFinite })
                accepted += 1
            } catch {
                switch error {
                case .missingField, .missingValue, .notANumber, .outOfRange, .unknownCategory: break
                default: Issue.record("another error: \(error)")
                }
            }
        }
        #expect(accepted > 20)
    }
}
