import ServiceKit
import Testing

@Suite struct IntegerJSONTests {
    private func other(_ text: String, _ members: Set<String>? = nil) -> String? {
        JSONIntegers.firstOther(in: Array(text.utf8), members: members)
    }

    @Test(arguments: [
        ("[1, -2, 9007199254740993]", nil), ("[1.0]", "1.0"), ("[1, 2e3, 4.5]", "2e3"), ("[-0.5E-3]", "-0.5E-3"),
        (#"["1.5", "a\"2.5", 3]"#, nil), (#"{"1.5": 2}"#, nil), ("", nil), ("\"", nil), ("\"\\", nil), ("1.", "1."),
        ("9007199254740993.0", "9007199254740993.0"),
    ])
    func everywhere(text: String, expected: String?) { #expect(other(text) == expected) }

    @Test(arguments: [
        (#"{"integers": [[1]], "scale": 1.5}"#, nil), (#"{"scale": 1.5, "integers": [[1, 2.0]]}"#, "2.0"),
        (#"{"records": [{"integers": 1.5}]}"#, nil), (#"{"integers": {"records": 1.5}}"#, "1.5"),
        (#"{"a": "integers", "b": 1.5}"#, nil), (#"{"integ\u0065rs": [1.5]}"#, "1.5"),
        (#"{"a": [{"b": "x"}, 1.5], "integers": [1]}"#, nil),
    ])
    func members(text: String, expected: String?) { #expect(other(text, ["integers"]) == expected) }

    @Test("integers of 64 bits survive JSON to the last digit")
    func exactness() throws {
        for value: Int64 in [9_007_199_254_740_993, -9_007_199_254_740_993, .max, .min, 576_460_752_303_423_487] {
            let request = EncryptRequest(integers: [[value]])
            let bytes = try APIJSON.encode(request)
            #expect(String(decoding: bytes, as: UTF8.self).contains("[[\(value)]]"))
            #expect(try APIJSON.decode(EncryptRequest.self, from: bytes).integers == [[value]])
            let records = EncryptRequest(circuit: "c", integerRecords: [["a": value]])
            let back = try APIJSON.decode(EncryptRequest.self, from: APIJSON.encode(records))
            #expect(back.integerRecords == [["a": value]])
        }
        for text in ["[[9223372036854775808]]", "[[1.5]]", "[[\"1\"]]", "[[true]]", "[[null]]"] {
            #expect(throws: (any Error).self) {
                try APIJSON.decode(EncryptRequest.self, from: Array(#"{"integers": \#(text)}"#.utf8))
            }
        }
    }

    @Test("results of several evaluations are put together")
    func results() {
        var info = CircuitInfo(
            name: "c", version: 1, description: "", unit: "u", digest: "", columns: [], records: 3, operands: 1,
            results: [.init(name: "a", slot: 0), .init(name: "b", slot: 4)], perRecord: false, magnitude: 9,
            parameters: .init(scheme: "bfv", logN: 12, q: [], p: [], alpha: 1, t: 65537), evaluationKeys: [])
        #expect(info.valueCount == 5)
        #expect(info.values(of: [[1, 9, 9, 9, 2], [3, 9, 9, 9, 4]], records: 6) == [4, 6])
        #expect(info.values(of: [[1, 9, 9, 9]], records: 1) == nil)
        #expect(info.values(of: [[.max, 0, 0, 0, 0], [1, 0, 0, 0, 0]], records: 6) == nil)
        #expect(info.values(of: [], records: 0) == [0, 0])
        info.perRecord = true
        info.results = [.init(name: "c", slot: 0)]
        #expect(info.valueCount == 3)
        #expect(info.values(of: [[1, 2, 3, 9], [4, 5, 6, 9]], records: 5) == [1, 2, 3, 4, 5])
        #expect(info.values(of: [[1, 2, 3]], records: 4) == nil)
        #expect(info.values(of: [[1, 2]], records: 2) == nil)
    }
}
