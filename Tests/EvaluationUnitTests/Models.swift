import EncryptedInference
import EvaluationUnit
import Foundation

/// Models of the tests.
enum Models {
    /// 3 inputs, dense 4, square, dense 1: the smallest that uses every kind of step.
    static func tinyFile(name: String = "tiny", bias: Double = 0.25) -> [UInt8] {
        let text = """
            {"format": "hkms.model.v1", "name": "\(name)", "version": 1, "description": "for tests",
             "inputs": [
               {"name": "a", "encoding": "scaled", "minimum": 0, "maximum": 1, "valid": [-1, 1]},
               {"name": "b", "encoding": "scaled", "minimum": 0, "maximum": 1, "valid": [-1, 1]},
               {"name": "c", "encoding": "scaled", "minimum": 0, "maximum": 1, "valid": [-1, 1]}],
             "layers": [
               {"type": "dense", "inputs": 3, "units": 4, "bias": [0.1, -0.2, 0.3, 0.4],
                "weights": [[0.5, -0.25, 0.125], [1, 0.5, -0.5], [-0.75, 0.25, 1], [0.3, 0.6, -0.9]]},
               {"type": "square"},
               {"type": "dense", "inputs": 4, "units": 1, "bias": [\(bias)], "weights": [[1, -1, 0.5, 0.75]]}],
             "output": {"name": "y", "threshold": 0.5, "labels": ["low", "high"]}}
            """
        return Array(text.utf8)
    }

    static func tiny(name: String = "tiny", bias: Double = 0.25) throws -> CompiledModel {
        try CompiledModel(InferenceModel(parsing: tinyFile(name: name, bias: bias)))
    }

    /// Of the repository's folder `models`.
    static func heartDisease() throws -> CompiledModel {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try CompiledModel(InferenceModel(file: root.appendingPathComponent("models/heart-disease.json").path))
    }

    static func tinyRecords(_ count: Int) -> [Record] {
        (0..<count).map { index in
            Record([
                "a": .number(Double(index % 7) / 7), "b": .number(Double(index % 5) / 5 - 0.5),
                "c": .number(-Double(index % 3) / 3),
            ])
        }
    }

    static func heartRecords(_ count: Int) -> [Record] {
        (0..<count).map { index in
            var fields: [String: Record.Value] = [:]
            func set(_ name: String, _ value: Int) { fields[name] = .number(Double(value)) }
            set("age", 30 + index % 40)
            set("trestbps", 100 + index % 60)
            set("chol", 180 + index % 100)
            set("thalach", 90 + index % 90)
            set("oldpeak", index % 4)
            set("sex", index % 2)
            set("fbs", index / 2 % 2)
            set("exang", index / 3 % 2)
            set("cp", 1 + index % 4)
            set("restecg", index % 3)
            set("slope", 1 + index % 3)
            set("ca", index % 4)
            if index % 9 == 0 { fields["ca"] = .missing }
            set("thal", [3, 6, 7][index % 3])
            return Record(fields)
        }
    }
}
