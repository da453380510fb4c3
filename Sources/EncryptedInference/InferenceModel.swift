import Attestation

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One input column of a model and how it becomes network inputs.
public struct InputFeature: Sendable, Hashable, Codable {
    public enum Encoding: String, Sendable, Codable {
        /// (value - minimum) / (maximum - minimum)
        case scaled
        /// 0 or 1
        case binary
        /// One network input per category, and one for a missing value where that is allowed.
        case oneHot
    }
    public let name: String
    public let encoding: Encoding
    public let minimum: Double?
    public let maximum: Double?
    /// Lowest and highest value of ``Encoding/scaled`` that is taken.
    public let valid: [Double]?
    public let categories: [Double]?
    /// Whether ``Encoding/oneHot`` takes a missing value.
    public let missing: Bool?

    /// Number of network inputs.
    public var width: Int {
        switch encoding {
        case .scaled, .binary: 1
        case .oneHot: (categories?.count ?? 0) + (missing == true ? 1 : 0)
        }
    }

    func validate() throws(InferenceError) {
        func require(_ condition: Bool, _ reason: String) throws(InferenceError) {
            if !condition { throw .malformedModel(reason: "input \(name.prefix(64)): \(reason)") }
        }
        try require((1...64).contains(name.utf8.count), "its name has 1 to 64 bytes")
        switch encoding {
        case .scaled:
            guard let minimum, let maximum, minimum.isFinite, maximum.isFinite, minimum < maximum else {
                throw .malformedModel(reason: "input \(name): minimum below maximum is needed")
            }
            if let valid {
                try require(
                    valid.count == 2 && valid.allSatisfy(\.isFinite) && valid[0] <= valid[1],
                    "valid is [lowest, highest]")
            }
            // Ranges have ends.
            try require(
                ([maximum] + (valid ?? [])).allSatisfy { (($0 - minimum) / (maximum - minimum)).isFinite },
                "its values are too large for its scale")
        case .binary: break
        case .oneHot:
            let categories = categories ?? []
            try require(
                (1...256).contains(categories.count) && categories.allSatisfy(\.isFinite)
                    && Set(categories).count == categories.count, "it needs 1 to 256 different categories")
        }
    }
}

/// What a model's number means.
public struct OutputDescription: Sendable, Hashable, Codable {
    /// A column of the training data that tells the truth, where a file has it.
    public struct Target: Sendable, Hashable, Codable {
        public let column: String
        /// Above this the second label is true.
        public let positiveAbove: Double
    }
    public let name: String
    /// Above this the second label is predicted.
    public let threshold: Double
    /// What a score at most, and above, the threshold means.
    public let labels: [String]
    public let target: Target?

    public func label(for score: Double) -> String { labels[score > threshold ? 1 : 0] }
}

/// A dense network with square activations, as its owner keeps it.
public struct InferenceModel: Sendable {
    public enum Layer: Sendable, Hashable {
        /// weights[unit][input], bias[unit].
        case dense(weights: [[Double]], bias: [Double])
        case square
    }

    public let name: String
    public let version: Int
    public let description: String
    public let inputs: [InputFeature]
    public let layers: [Layer]
    public let output: OutputDescription
    /// SHA-256 of the file.
    public let digest: Digest

    /// Longest model file that is read, in bytes.
    public static let maximumFileBytes = 64 << 20
    static let maximumLayers = 64
    static let maximumWidth = 4096

    /// Reads a model file, format `hkms.model.v1` of docs/formats.md.
    /// - Throws: ``InferenceError/malformedModel(reason:)`` for any bytes that are not one.
    public init(parsing bytes: [UInt8]) throws(InferenceError) {
        guard bytes.count <= Self.maximumFileBytes else { throw .malformedModel(reason: "the file is too long") }
        guard let file = try? JSONDecoder().decode(ModelFile.self, from: Data(bytes)) else {
            throw .malformedModel(reason: "it is not JSON of the format hkms.model.v1")
        }
        func require(_ condition: Bool, _ reason: String) throws(InferenceError) {
            if !condition { throw .malformedModel(reason: reason) }
        }
        try require(file.format == "hkms.model.v1", "its format is not hkms.model.v1")
        try require(
            (1...64).contains(file.name.utf8.count)
                && file.name.utf8.allSatisfy { ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 },
            "its name is 1 to 64 lower-case letters, digits and hyphens")
        try require((1...1_000_000).contains(file.version), "its version is a positive number")
        try require((1...Self.maximumWidth).contains(file.inputs.count), "it has no inputs, or too many")
        for input in file.inputs { try input.validate() }
        try require(Set(file.inputs.map(\.name)).count == file.inputs.count, "two inputs have one name")
        try require((1...Self.maximumLayers).contains(file.layers.count), "it has no layers, or too many")
        var width = file.inputs.reduce(0) { $0 + $1.width }
        try require(width <= Self.maximumWidth, "it has too many inputs")
        var layers: [Layer] = []
        for (index, layer) in file.layers.enumerated() {
            switch layer.type {
            case "dense":
                guard let weights = layer.weights, let bias = layer.bias else {
                    throw .malformedModel(reason: "layer \(index) has no weights or no bias")
                }
                try require(
                    (1...Self.maximumWidth).contains(weights.count) && bias.count == weights.count
                        && weights.allSatisfy { $0.count == width }
                        && layer.units ?? weights.count == weights.count && layer.inputs ?? width == width,
                    "layer \(index) does not have the shape that the layer before it and its units ask for")
                try require(
                    bias.allSatisfy(\.isFinite) && weights.allSatisfy { $0.allSatisfy(\.isFinite) },
                    "layer \(index) has a weight that is not finite")
                layers.append(.dense(weights: weights, bias: bias))
                width = weights.count
            case "square": layers.append(.square)
            default: throw .malformedModel(reason: "layer \(index) is neither dense nor square")
            }
        }
        if case .square = layers[0] { throw .malformedModel(reason: "its first layer is not dense") }
        try require(width == 1, "its last layer has one unit")
        try require(
            file.output.labels.count == 2 && file.output.threshold.isFinite
                && file.output.labels.allSatisfy { $0.utf8.count <= 64 }, "its output has a threshold and two labels")
        name = file.name
        version = file.version
        description = String(file.description.prefix(1000))
        inputs = file.inputs
        self.layers = layers
        output = file.output
        digest = Digest(of: bytes)
    }

    /// Scores of encoded records, in the clear.
    public func evaluateInTheClear(_ records: [[Double]]) -> [Double] {
        records.map { record in
            var values = record
            for layer in layers {
                switch layer {
                case .dense(let weights, let bias):
                    values = zip(weights, bias).map { row, bias in zip(row, values).reduce(bias) { $0 + $1.0 * $1.1 } }
                case .square: values = values.map { $0 * $0 }
                }
            }
            return values[0]
        }
    }

    private struct ModelFile: Decodable {
        struct Layer: Decodable {
            let type: String
            let inputs: Int?
            let units: Int?
            let weights: [[Double]]?
            let bias: [Double]?
        }
        let format: String
        let name: String
        let version: Int
        let description: String
        let inputs: [InputFeature]
        let layers: [Layer]
        let output: OutputDescription
    }
}
