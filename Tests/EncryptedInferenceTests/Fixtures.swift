import Attestation
import EncryptedInference
import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// JSON to alter by name.
typealias JSONObject = [String: Any]

func altered(_ bytes: [UInt8], _ change: (inout JSONObject) throws -> Void) throws -> [UInt8] {
    var object = try #require(try JSONSerialization.jsonObject(with: Data(bytes)) as? JSONObject)
    try change(&object)
    return Array(try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]))
}

func replacing(_ bytes: [UInt8], _ old: String, with new: String) throws -> [UInt8] {
    let text = String(decoding: bytes, as: UTF8.self)
    try #require(text.contains(old))
    return Array(text.replacingOccurrences(of: old, with: new).utf8)
}

/// A network written as in "3-4sq-1": numbers of units, each "sq" a square.
struct Network: CustomTestStringConvertible {
    let text: String
    /// Random weights in the model file's format; inputs are x0, x1, ... in -1...1.
    let file: [UInt8]
    let inputCount: Int

    init(_ text: String, seed: UInt64 = 1) throws {
        self.text = text
        var generator = SeededGenerator(seed)
        var layers: [JSONObject] = []
        var width = 0
        for part in text.split(separator: "-") {
            var part = part
            var squares = 0
            while part.hasSuffix("sq") {
                part.removeLast(2)
                squares += 1
            }
            let units = try #require(Int(part))
            if width > 0 {
                // Keeps values near 1 however wide a layer is.
                let bound = 1.2 / Double(width).squareRoot()
                func random() -> Double { Double.random(in: -bound...bound, using: &generator) }
                layers.append([
                    "type": "dense", "inputs": width, "units": units,
                    "weights": (0..<units).map { _ in (0..<width).map { _ in random() } },
                    "bias": (0..<units).map { _ in random() },
                ])
            }
            layers += [JSONObject](repeating: ["type": "square"], count: squares)
            width = units
        }
        inputCount = try #require(text.split(separator: "-").first.flatMap { Int($0) })
        let object: JSONObject = [
            "format": "hkms.model.v1", "name": "network", "version": 1, "description": "for tests",
            "inputs": (0..<inputCount).map { index -> JSONObject in
                ["name": "x\(index)", "encoding": "scaled", "minimum": 0, "maximum": 1, "valid": [-1, 1]]
            },
            "layers": layers,
            "output": ["name": "y", "threshold": 0.5, "labels": ["low", "high"]] as JSONObject,
        ]
        file = Array(try JSONSerialization.data(withJSONObject: object, options: [.sortedKeys]))
    }

    var testDescription: String { text }

    func compiled() throws -> CompiledModel { try CompiledModel(InferenceModel(parsing: file)) }

    func records(_ count: Int, seed: UInt64 = 2) -> [Record] {
        var generator = SeededGenerator(seed)
        return (0..<count).map { _ in
            var fields: [String: Record.Value] = [:]
            for index in 0..<inputCount { fields["x\(index)"] = .number(.random(in: -1...1, using: &generator)) }
            return Record(fields)
        }
    }
}

/// The model and the made-up records of the repository's folder `models`.
enum HeartDisease {
    static func bytes(_ name: String) throws -> [UInt8] {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return Array(try Data(contentsOf: root.appendingPathComponent("models").appendingPathComponent(name)))
    }

    static func file() throws -> [UInt8] { try bytes("heart-disease.json") }

    static func model() throws -> InferenceModel { try InferenceModel(parsing: file()) }

    static func records() throws -> [Record] {
        let lines = String(decoding: try bytes("heart-disease-made-up.csv"), as: UTF8.self)
            .split(whereSeparator: \.isNewline).map { $0.split(separator: ",", omittingEmptySubsequences: false) }
        let header = try #require(lines.first)
        return lines.dropFirst().map { line in
            var fields: [String: Record.Value] = [:]
            for (name, value) in zip(header, line) { fields[String(name)] = Record.Value(text: String(value)) }
            return Record(fields)
        }
    }
}

/// Keys for one circuit from a seed that never changes.
struct TestKeys {
    let context: EncryptionContext
    let publicKey: PublicKey
    let list: [EvaluationKey]
    private let seedByte: UInt8

    /// The keys of a plan for batches.
    init(_ plan: BatchPlan) throws { try self.init(plan.profile) }

    init(_ profile: CircuitProfile, seedByte: UInt8 = 7) throws {
        self.seedByte = seedByte
        context = try EncryptionContext.shared(profile.parameters)
        let seed = try Self.seed(seedByte)
        let secret = try seed.secretKey(context)
        publicKey = try seed.publicKey(secret)
        var list: [EvaluationKey] = []
        for id in profile.evaluationKeys { list.append(try seed.evaluationKey(id, secret)) }
        self.list = list
    }

    /// One key more, of any level.
    func key(_ id: EvaluationKeyID) throws -> EvaluationKey {
        let seed = try Self.seed(seedByte)
        return try seed.evaluationKey(id, seed.secretKey(context))
    }

    var set: EvaluationKeySet { EvaluationKeySet(list) }

    private static func seed(_ byte: UInt8) throws -> Seed {
        let bytes = try SecretBytes(copying: [UInt8](repeating: byte, count: Seed.byteCount))
        guard let seed = Seed(bytes) else { throw HEError.malformedObject(reason: "seed") }
        return seed
    }

    func encrypt(_ slots: [Double], scale: Double, level: Int) throws -> Ciphertext {
        try publicKey.encrypt(CKKSEncoder(context).encode(slots, scale: scale, level: level))
    }

    func encrypt(_ slots: [Double], for model: CompiledModel) throws -> Ciphertext {
        try encrypt(slots, scale: model.plan.profile.scale, level: model.plan.profile.inputLevel)
    }

    func encryptSeeded(_ slots: [Double], scale: Double, level: Int) throws -> SeededCiphertext {
        let secret = try Self.seed(seedByte).secretKey(context)
        return try secret.encryptSeeded(CKKSEncoder(context).encode(slots, scale: scale, level: level))
    }

    /// The weights as the plan has them encrypted, under one key or the other.
    func encrypt(_ model: InferenceModel, _ plan: BatchPlan) throws -> EncryptedWeights {
        guard plan.protection == .encrypted else {
            return try EncryptedWeights(model, plan: plan, publicKey: publicKey)
        }
        let secret = try Self.seed(seedByte).secretKey(context)
        return try EncryptedWeights(model, plan: plan, context: context) { try secret.encryptSeeded($0) }
    }

    func decrypt(_ ciphertext: Ciphertext) throws -> [Double] {
        let secret = try Self.seed(seedByte).secretKey(context)
        return try CKKSEncoder(context).decodeReal(secret.decryptRaw(ciphertext))
    }

    func decryptBFV(_ ciphertext: Ciphertext) throws -> BFVPlaintext {
        try Self.seed(seedByte).secretKey(context).decryptBFV(ciphertext)
    }

    /// What a ciphertext decrypts to, as a polynomial.
    func phase(_ ciphertext: Ciphertext) throws -> RNSPolynomial {
        try Self.seed(seedByte).secretKey(context).decryptRaw(ciphertext).polynomial
    }

    func release(_ ciphertext: Ciphertext, count: Int, policy: FloodingPolicy) throws -> ReleasedValues {
        try Self.seed(seedByte).secretKey(context).release(ciphertext, count: count, policy: policy)
    }
}

/// The credit-card model of the repository, and records made up for it.
enum CreditCardFraud {
    static func model() throws -> InferenceModel {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return try InferenceModel(
            parsing: Array(Data(contentsOf: root.appendingPathComponent("models/credit-card-fraud.json"))))
    }

    /// Network inputs: most near zero, some far out; no score within a thousandth of the threshold, where a permitted
    /// error may change the class.
    static func inputs(_ count: Int, of model: InferenceModel) -> [[Double]] {
        var generator = SeededGenerator(3)
        var records: [[Double]] = []
        while records.count < count {
            let record = model.inputs.map { input in
                let (lower, upper) = (input.valid?[0] ?? 0, input.valid?[1] ?? 1)
                let end = max(-lower, upper)
                let value = end * pow(.random(in: -0.7...0.7, using: &generator), 3)
                return min(max(value, lower), upper) / (input.maximum ?? 1)
            }
            let score = model.evaluateInTheClear([record])[0]
            if (score - model.output.threshold).magnitude > 1e-3 { records.append(record) }
        }
        return records
    }
}
