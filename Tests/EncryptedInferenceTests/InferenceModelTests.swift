import Attestation
import EncryptedInference
import Foundation
import TestSupport
import Testing

@Suite struct InferenceModelTests {
    private let good: [UInt8]

    init() throws { good = try Network("3-4sq-1").file }

    @Test("the heart disease model is what its file says")
    func heartDisease() throws {
        let file = try HeartDisease.file()
        let model = try InferenceModel(parsing: file)
        #expect(model.name == "heart-disease")
        #expect(model.version == 1)
        #expect(model.digest == Digest(of: file))
        #expect(model.inputs.count == 13)
        #expect(model.inputs.reduce(0) { $0 + $1.width } == 27)
        #expect(
            model.inputs.map(\.name) == [
                "age", "trestbps", "chol", "thalach", "oldpeak", "sex", "fbs", "exang", "cp", "restecg", "slope", "ca",
                "thal",
            ])
        #expect(model.inputs.filter { $0.missing == true }.map(\.name) == ["ca", "thal"])
        #expect(model.layers.count == 3)
        guard case .dense(let first, _) = model.layers[0], case .square = model.layers[1],
            case .dense(let last, _) = model.layers[2]
        else {
            Issue.record("other layers")
            return
        }
        #expect(first.count == 50)
        #expect(first.allSatisfy { $0.count == 27 })
        #expect(last.map(\.count) == [50])
        #expect(model.output.label(for: 0) == "absent")
        #expect(model.output.label(for: Double.leastNonzeroMagnitude) == "present")
        #expect(model.output.label(for: .nan) == "absent")
    }

    @Test("scores in the clear are the network's")
    func clear() throws {
        let text = """
            {"format": "hkms.model.v1", "name": "by-hand", "version": 1, "description": "",
             "inputs": [{"name": "a", "encoding": "binary"}, {"name": "b", "encoding": "binary"}],
             "layers": [{"type": "dense", "weights": [[1, 2], [3, -4]], "bias": [0.5, 0]}, {"type": "square"},
               {"type": "dense", "weights": [[2, -1]], "bias": [10]}],
             "output": {"name": "y", "threshold": 0, "labels": ["a", "b"]}}
            """
        let model = try InferenceModel(parsing: Array(text.utf8))
        // (0.5, 0), (1.5, 3), (2.5, -4), (3.5, -1) squared, then 2u - v + 10.
        #expect(model.evaluateInTheClear([[0, 0], [1, 0], [0, 1], [1, 1]]) == [10.5, 5.5, 6.5, 33.5])
        #expect(model.evaluateInTheClear([]) == [])
    }

    // MARK: Malformed files

    private func expect(
        _ reason: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(throws: InferenceError.malformedModel(reason: reason), sourceLocation: sourceLocation) {
            try InferenceModel(parsing: bytes)
        }
    }

    private func expect(
        _ reason: String, sourceLocation: SourceLocation = #_sourceLocation,
        _ changes: [(inout JSONObject) throws -> Void]
    ) throws {
        for change in changes { expect(reason, try altered(good, change), sourceLocation: sourceLocation) }
    }

    /// A change of element `index` of the array `key`.
    private func element(
        _ key: String, _ index: Int, _ change: @escaping (inout JSONObject) -> Void
    ) -> (inout JSONObject) throws -> Void {
        { object in
            var array = try #require(object[key] as? [JSONObject])
            change(&array[index])
            object[key] = array
        }
    }

    private func layer(
        _ index: Int, _ change: @escaping (inout JSONObject) -> Void
    ) -> (inout JSONObject) throws -> Void { element("layers", index, change) }

    private func input(_ change: @escaping (inout JSONObject) -> Void) -> (inout JSONObject) throws -> Void {
        element("inputs", 0, change)
    }

    static let noModel = "it is not JSON of the format hkms.model.v1"

    @Test("what is no JSON of this form")
    func noJSON() throws {
        for text in ["", "{}", "[]", "null", "1", "{", "\u{FEFF}", String(repeating: "[", count: 100_000)] {
            expect(Self.noModel, Array(text.utf8))
        }
        expect(Self.noModel, [0xFF, 0xFE, 0x00])
        expect(Self.noModel, Array(good.dropLast()))
        try expect(
            Self.noModel,
            ["format", "name", "version", "description", "inputs", "layers", "output"].map { key in
                { $0[key] = nil }
            })
        try expect(
            Self.noModel,
            [
                { $0["version"] = "1" }, { $0["version"] = 1.5 }, { $0["version"] = 1e30 }, { $0["inputs"] = 3 },
                { $0["layers"] = JSONObject() }, { $0["output"] = "y" }, input { $0["name"] = nil },
                input { $0["encoding"] = "cubed" }, input { $0["minimum"] = "0" }, layer(0) { $0["type"] = nil },
                layer(0) { $0["weights"] = [1, 2, 3] }, layer(0) { $0["bias"] = [[1]] },
                layer(0) { $0["weights"] = [["1", "2", "3"]] }, layer(0) { $0["units"] = 1e300 },
            ])
        for number in ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "nan", "0x10", "\"1e999\""] {
            let file = try replacing(Array(HeartDisease.file()), "0.1855425", with: number)
            expect(Self.noModel, file)
        }
    }

    @Test("names, versions and counts out of range")
    func front() throws {
        try expect("its format is not hkms.model.v1", [{ $0["format"] = "hkms.model.v2" }, { $0["format"] = "" }])
        try expect(
            "its name is 1 to 64 lower-case letters, digits and hyphens",
            ["", "Heart", "a b", "a/b", "..", "é", String(repeating: "a", count: 65)].map { name in
                { $0["name"] = name }
            })
        try expect("its version is a positive number", [0, -1, 1_000_001, Int.min].map { v in { $0["version"] = v } })
        try expect(
            "it has no inputs, or too many",
            [
                { $0["inputs"] = [JSONObject]() },
                { $0["inputs"] = (0...4096).map { ["name": "x\($0)", "encoding": "binary"] } },
            ])
        try expect(
            "it has too many inputs",
            [
                {
                    $0["inputs"] = (0..<17).map { index -> JSONObject in
                        ["name": "x\(index)", "encoding": "oneHot", "categories": Array(0..<256)]
                    }
                }
            ])
        try expect(
            "it has no layers, or too many",
            [
                { $0["layers"] = [JSONObject]() },
                { $0["layers"] = [JSONObject](repeating: ["type": "square"], count: 65) },
            ])
        try expect("two inputs have one name", [element("inputs", 1) { $0["name"] = "x0" }])
        let long = good + [UInt8](repeating: 0x20, count: InferenceModel.maximumFileBytes)
        expect("the file is too long", long)
    }

    @Test("inputs that cannot be encoded")
    func inputs() throws {
        try expect("input : its name has 1 to 64 bytes", [input { $0["name"] = "" }])
        let long = String(repeating: "x", count: 65)
        try expect("input \(long.prefix(64)): its name has 1 to 64 bytes", [input { $0["name"] = long }])
        try expect(
            "input x0: minimum below maximum is needed",
            [
                input { $0["minimum"] = nil }, input { $0["maximum"] = nil }, input { $0["minimum"] = 1 },
                input { $0["minimum"] = 2 },
            ])
        try expect(
            "input x0: valid is [lowest, highest]",
            [
                input { $0["valid"] = [Double]() }, input { $0["valid"] = [1] }, input { $0["valid"] = [1, 2, 3] },
                input { $0["valid"] = [2, 1] },
            ])
        try expect(
            "input x0: its values are too large for its scale",
            [
                input { ($0["minimum"], $0["maximum"]) = (-1e308, 1e308) },
                input { ($0["minimum"], $0["maximum"], $0["valid"]) = (0, 1e-300, [-1e300, 1]) },
                input { ($0["minimum"], $0["maximum"], $0["valid"]) = (0, 1e-300, [0, 1e300]) },
            ])
        func oneHot(_ categories: [Double]?) -> (inout JSONObject) throws -> Void {
            input {
                $0["encoding"] = "oneHot"
                $0["categories"] = categories
            }
        }
        try expect(
            "input x0: it needs 1 to 256 different categories",
            [oneHot(nil), oneHot([]), oneHot([1, 1]), oneHot([0, -0.0]), oneHot((0...256).map { Double($0) })])
    }

    @Test("layers that do not fit together")
    func layers() throws {
        try expect("its first layer is not dense", [{ $0["layers"] = [["type": "square"]] }])
        for type in ["relu", "", "Dense"] {
            try expect("layer 1 is neither dense nor square", [layer(1) { $0["type"] = type }])
        }
        try expect(
            "layer 0 has no weights or no bias", [layer(0) { $0["weights"] = nil }, layer(0) { $0["bias"] = nil }])
        let row: [Double] = [1, 2, 3]
        try expect(
            "layer 0 does not have the shape that the layer before it and its units ask for",
            [
                layer(0) { $0["weights"] = [[Double]]() },
                layer(0) { $0["weights"] = [row, row, row] },
                layer(0) { $0["weights"] = [row, row, row, row, row] },
                layer(0) { $0["weights"] = [row, row, row, [1, 2]] },
                layer(0) { $0["weights"] = [row, row, row, [1, 2, 3, 4]] },
                layer(0) { $0["weights"] = [row, row, row, [Double]()] },
                layer(0) { $0["bias"] = row },
                layer(0) { $0["bias"] = [Double]() },
                layer(0) { $0["units"] = 5 },
                layer(0) { $0["units"] = Int.max },
                layer(0) { $0["units"] = -4 },
                layer(0) { $0["inputs"] = 2 },
                layer(0) { $0["inputs"] = Int.max },
                layer(0) {
                    $0["weights"] = [[Double]](repeating: row, count: 4097)
                    $0["bias"] = [Double](repeating: 0, count: 4097)
                    $0["units"] = 4097
                },
                // An input more than the first layer takes.
                { object in
                    var inputs = try #require(object["inputs"] as? [JSONObject])
                    inputs.append(["name": "y", "encoding": "binary"])
                    object["inputs"] = inputs
                },
            ])
        try expect(
            "layer 2 does not have the shape that the layer before it and its units ask for",
            [layer(2) { $0["weights"] = [[1, 2, 3]] }])
        try expect(
            "its last layer has one unit",
            [
                layer(2) {
                    $0["weights"] = [[1, 2, 3, 4], [1, 2, 3, 4]]
                    $0["bias"] = [1, 2]
                    $0["units"] = 2
                },
                { $0["layers"] = Array(try #require($0["layers"] as? [JSONObject]).prefix(2)) },
            ])
    }

    @Test("an output that says nothing")
    func output() throws {
        func output(_ change: @escaping (inout JSONObject) -> Void) -> (inout JSONObject) throws -> Void {
            { object in
                var output = try #require(object["output"] as? JSONObject)
                change(&output)
                object["output"] = output
            }
        }
        try expect(
            "its output has a threshold and two labels",
            [
                output { $0["labels"] = [String]() }, output { $0["labels"] = ["a"] },
                output { $0["labels"] = ["a", "b", "c"] },
                output { $0["labels"] = ["a", String(repeating: "b", count: 65)] },
            ])
        try expect(
            Self.noModel,
            [
                output { $0["labels"] = nil }, output { $0["threshold"] = nil }, output { $0["threshold"] = "0" },
                output { $0["name"] = nil }, output { $0["target"] = ["column": "y"] },
            ])
    }

    @Test("8 000 altered files: a model that can be planned and run, or a named error")
    func fuzz() throws {
        var generator = SeededGenerator(3)
        let heart = try HeartDisease.file()
        var accepted = 0
        for round in 0..<8_000 {
            let bytes = generator.mutated(round % 8 == 0 ? heart : good)
            do throws(InferenceError) {
                let model = try InferenceModel(parsing: bytes)
                accepted += 1
                let plan = try InferencePlan(model)
                #expect(throws: Never.self) { try plan.profile.validate() }
                let width = model.inputs.reduce(0) { $0 + $1.width }
                #expect(model.evaluateInTheClear([[Double](repeating: 0.5, count: width)]).count == 1)
            } catch {
                switch error {
                case .malformedModel, .doesNotFit: break
                default: Issue.record("another error: \(error)")
                }
            }
        }
        // Altered digits of weights are weights.
        #expect(accepted > 500)
    }
}
