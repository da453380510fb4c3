import ArgumentParser
import Dispatch
import EncryptedInference
import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory

/// One network, from its keys to its scores; scripts/bench inference runs it, in turn with HElayers.
struct InferenceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inference",
        abstract: "Time the steps of encrypted inference; answers one command a line with one JSON object.",
        discussion: """
              info             plan and parameters
              run STEP COUNT   milliseconds; steps: \(InferenceStep.allCases.map(\.rawValue).joined(separator: ", "))
              check            largest error against inference in the clear, and classes that changed
              memory           peak resident memory so far
              sizes            bytes as serialized
              quit
            Steps need what those before them made, and make it where it is missing.
            """)

    @Option(name: .long, help: "Model file.") var model: String
    @Option(name: .long, help: "JSON file with a list of network inputs for each record: the batch.") var inputs: String
    @Option(name: .long, help: "plain, encrypted (under the secret key) or publicly-encrypted.") var weights = "plain"
    @Option(name: .long, help: "Flood results to within this precision; raw results where it is missing.")
    var precision: Double?
    @Option(name: .long, help: "Decryptions that flooded results are planned for.") var budget = 1024
    @Option(name: .long, help: "Threads that one operation may take.") var threads = 1

    func validate() throws {
        guard (1...1024).contains(threads) else { throw ValidationError("--threads is in 1...1024") }
        guard let protection = WeightProtection(rawValue: weights) else {
            throw ValidationError("--weights is plain, encrypted or publicly-encrypted")
        }
        guard precision == nil || protection == .plain else {
            throw ValidationError("flooded results are planned for plain weights alone")
        }
    }

    func run() throws {
        Parallelism.width = threads
        func read(_ path: String) throws -> Data { try Data(contentsOf: URL(fileURLWithPath: path)) }
        let network = try InferenceModel(parsing: Array(read(model)))
        let records = try JSONDecoder().decode([[Double]].self, from: read(inputs))
        let width = network.inputs.reduce(0) { $0 + $1.width }
        guard !records.isEmpty, records.allSatisfy({ $0.count == width }) else {
            throw ValidationError("\(inputs) is no list of records of \(width) numbers")
        }
        let circuit: any InferenceCircuit
        if let precision {
            circuit = try FloodedCircuit(network, ReleaseRequest(precision: precision, budget: budget))
        } else {
            circuit = try BatchCircuit(network, batch: records.count, weights: WeightProtection(rawValue: weights)!)
        }
        let bench = try InferenceBench(circuit, network, records)
        while let line = readLine() {
            do {
                guard try bench.answer(line.split(separator: " ").map(String.init)) else { return }
            } catch { try JSONLine.write(["error": "\(error)"]) }
        }
    }
}

enum InferenceStep: String, CaseIterable {
    case keys, model, samples, predict, decrypt
    /// The secret key alone, from its seed.
    case secret
}

/// What the two ways to run a network have in common.
protocol InferenceCircuit: AnyObject {
    var profile: CircuitProfileFacts { get }
    /// Slots of the ciphertexts, block after block.
    func slots(_ records: [[Double]]) -> [[Double]]
    /// Encodes or encrypts the weights.
    func prepare(_ publicKey: PublicKey, _ secret: borrowing SecretKey) throws
    var modelBytes: Int { get }
    func evaluate(_ samples: [Ciphertext], _ keys: EvaluationKeySet) throws -> [Ciphertext]
    func scores(_ results: [Ciphertext], _ secret: borrowing SecretKey, count: Int) throws -> [Double]
    var description: String { get }
}

struct CircuitProfileFacts {
    let parameters: EncryptionParameters
    let scale: Double
    let inputLevel: Int
    let keys: [EvaluationKeyID]
}

/// Raw results by ``BatchPlan``.
private final class BatchCircuit: InferenceCircuit {
    private let model: InferenceModel
    private let plan: BatchPlan
    private let encoder: CKKSEncoder
    private var compiled: BatchModel?
    private(set) var modelBytes = 0

    init(_ model: InferenceModel, batch: Int, weights: WeightProtection) throws {
        self.model = model
        plan = try BatchPlan(model, batch: batch, weights: weights)
        encoder = try CKKSEncoder(EncryptionContext.shared(plan.profile.parameters))
    }

    var profile: CircuitProfileFacts {
        CircuitProfileFacts(
            parameters: plan.profile.parameters, scale: plan.profile.scale, inputLevel: plan.profile.inputLevel,
            keys: plan.profile.evaluationKeys)
    }

    var description: String { "\(plan.layout.kind), \(plan.blocks) blocks of \(plan.layout.stride) records" }

    func slots(_ records: [[Double]]) -> [[Double]] {
        stride(from: 0, to: records.count, by: plan.layout.stride).flatMap { start in
            plan.layout.slots(records[start..<min(start + plan.layout.stride, records.count)])
        }
    }

    func prepare(_ publicKey: PublicKey, _ secret: borrowing SecretKey) throws {
        compiled = nil
        let weights: EncryptedWeights
        switch plan.protection {
        case .plain:
            compiled = try BatchModel(model, plan: plan)
            return
        case .encrypted:
            weights = try EncryptedWeights(model, plan: plan, context: publicKey.context) {
                try secret.encryptSeeded($0)
            }
        case .publiclyEncrypted: weights = try EncryptedWeights(model, plan: plan, publicKey: publicKey)
        }
        modelBytes = weights.byteCount
        compiled = try BatchModel(weights)
    }

    func evaluate(_ samples: [Ciphertext], _ keys: EvaluationKeySet) throws -> [Ciphertext] {
        guard let compiled else { throw ValidationError("no model yet") }
        let count = samples.count / plan.blocks
        return try compiled.evaluate(
            (0..<plan.blocks).map { Array(samples[$0 * count..<($0 + 1) * count]) }, keys: keys)
    }

    func scores(_ results: [Ciphertext], _ secret: borrowing SecretKey, count: Int) throws -> [Double] {
        var scores: [Double] = []
        for result in results {
            let wanted = min(plan.layout.stride, count - scores.count)
            let slots = try encoder.decodeReal(secret.decryptRaw(result), count: wanted)
            scores += plan.layout.scores(slots, count: wanted)
        }
        return scores
    }
}

/// Flooded results by ``InferencePlan``: one ciphertext a batch of its own size.
private final class FloodedCircuit: InferenceCircuit {
    private let model: InferenceModel
    private let plan: InferencePlan
    private let policy: FloodingPolicy
    private var compiled: CompiledModel?
    let modelBytes = 0

    init(_ model: InferenceModel, _ request: ReleaseRequest) throws {
        self.model = model
        plan = try InferencePlan(model, release: request)
        guard let release = plan.release else { throw ValidationError("the plan floods nothing") }
        policy = release.policy
    }

    var profile: CircuitProfileFacts {
        CircuitProfileFacts(
            parameters: plan.profile.parameters, scale: plan.profile.scale, inputLevel: plan.profile.inputLevel,
            keys: plan.profile.evaluationKeys)
    }

    var description: String { "diagonals, \(plan.packing.batch) records a ciphertext" }

    func slots(_ records: [[Double]]) -> [[Double]] {
        stride(from: 0, to: records.count, by: plan.packing.batch).map { start in
            plan.packing.slots(records[start..<min(start + plan.packing.batch, records.count)])
        }
    }

    func prepare(_ publicKey: PublicKey, _ secret: borrowing SecretKey) throws {
        compiled = try CompiledModel(model, plan: plan)
    }

    func evaluate(_ samples: [Ciphertext], _ keys: EvaluationKeySet) throws -> [Ciphertext] {
        guard let compiled else { throw ValidationError("no model yet") }
        return try samples.map { try compiled.evaluate($0, keys: keys) }
    }

    func scores(_ results: [Ciphertext], _ secret: borrowing SecretKey, count: Int) throws -> [Double] {
        var scores: [Double] = []
        for result in results {
            let wanted = min(plan.packing.batch, count - scores.count)
            scores += try secret.release(result, count: wanted, policy: policy).real
        }
        return scores
    }
}

/// The steps, and what they made last.
private final class InferenceBench {
    private let circuit: any InferenceCircuit
    private let model: InferenceModel
    private let records: [[Double]]
    private var publicKey: PublicKey?
    private var keys: [EvaluationKey] = []
    private var hasModel = false
    private var samples: [Ciphertext] = []
    private var results: [Ciphertext] = []
    private var scores: [Double] = []
    private let seed: Seed
    private let secret: SecretKey
    private let context: EncryptionContext

    init(_ circuit: any InferenceCircuit, _ model: InferenceModel, _ records: [[Double]]) throws {
        (self.circuit, self.model, self.records) = (circuit, model, records)
        let context = try EncryptionContext.shared(circuit.profile.parameters)
        guard let seed = Seed(try SecretBytes(randomCount: Seed.byteCount)) else { throw BenchmarkError.notPrepared }
        self.context = context
        secret = try seed.secretKey(context)
        self.seed = seed
    }

    private func perform(_ step: InferenceStep) throws {
        switch step {
        case .secret: _ = try seed.secretKey(context)
        case .keys:
            let secret = try seed.secretKey(context)
            publicKey = try seed.publicKey(secret)
            keys = try seed.evaluationKeys(circuit.profile.keys, secret)
        case .model:
            guard let publicKey else { throw ValidationError("no keys yet") }
            try circuit.prepare(publicKey, secret)
            hasModel = true
        case .samples:
            guard let publicKey else { throw ValidationError("no keys yet") }
            let encoder = try CKKSEncoder(context)
            let (slots, profile) = (circuit.slots(records), circuit.profile)
            // One run has the samples once.
            samples = []
            samples = try Parallelism.map(below: slots.count) { index throws(any Error) in
                try publicKey.encrypt(encoder.encode(slots[index], scale: profile.scale, level: profile.inputLevel))
            }
        case .predict: results = try circuit.evaluate(samples, EvaluationKeySet(keys))
        case .decrypt: scores = try circuit.scores(results, secret, count: records.count)
        }
    }

    /// What a step needs, made where it is missing.
    private func prepare(for step: InferenceStep) throws {
        if step != .keys, step != .secret, publicKey == nil { try perform(.keys) }
        if step == .predict || step == .decrypt {
            // A server expands keys when they arrive.
            for key in keys { _ = try key.a }
            if !hasModel { try perform(.model) }
            if samples.isEmpty { try perform(.samples) }
        }
        if step == .decrypt, results.isEmpty { try perform(.predict) }
    }

    /// - Returns: false at the end.
    func answer(_ words: [String]) throws -> Bool {
        switch words.first {
        case "info":
            let parameters = circuit.profile.parameters
            func bits(_ primes: [UInt64]) -> [Int] { primes.map { 64 - $0.leadingZeroBitCount } }
            try JSONLine.write(
                Info(
                    layout: circuit.description, logN: parameters.logN, q: bits(parameters.q), p: bits(parameters.p),
                    alpha: parameters.alpha, keys: circuit.profile.keys.count, kernels: KernelName.current))
        case "run":
            guard words.count == 3, let step = InferenceStep(rawValue: words[1]), let count = Int(words[2]), count > 0
            else { throw ValidationError("run STEP COUNT") }
            try prepare(for: step)
            var (ms, cpu): ([Double], [Double]) = ([], [])
            for _ in 0..<count {
                let (start, begun) = (DispatchTime.now().uptimeNanoseconds, Machine.processorMilliseconds)
                try perform(step)
                ms.append(Double(DispatchTime.now().uptimeNanoseconds - start) / 1e6)
                cpu.append(Machine.processorMilliseconds - begun)
            }
            try JSONLine.write(Samples(ms: ms, cpu: cpu))
        case "check":
            try prepare(for: .decrypt)
            try perform(.decrypt)
            let expected = model.evaluateInTheClear(records)
            try JSONLine.write(
                Check(
                    largestError: zip(scores, expected).map { ($0 - $1).magnitude }.max() ?? .infinity,
                    classesChanged: zip(scores, expected).count {
                        model.output.label(for: $0) != model.output.label(for: $1)
                    },
                    records: scores.count))
        case "memory": try JSONLine.write(Machine.memory)
        case "sizes":
            try prepare(for: .decrypt)
            func sum(_ objects: [[UInt8]]) -> Int { objects.reduce(0) { $0 + $1.count } }
            try JSONLine.write(
                Sizes(
                    publicKey: publicKey?.serialized().count ?? 0, evaluationKeys: sum(keys.map { $0.serialized() }),
                    samples: sum(samples.map { $0.serialized() }), predictions: sum(results.map { $0.serialized() }),
                    model: circuit.modelBytes))
        case "quit": return false
        default: throw ValidationError("info, run, check, memory, sizes or quit")
        }
        return true
    }

    private struct Info: Encodable {
        let layout: String
        let logN: Int
        let q: [Int]
        let p: [Int]
        let alpha: Int
        let keys: Int
        let kernels: String
    }
    private struct Samples: Encodable {
        let ms: [Double]
        /// Processor time, of all threads.
        let cpu: [Double]
    }
    private struct Check: Encodable {
        let largestError: Double
        let classesChanged: Int
        let records: Int
    }
    private struct Sizes: Encodable {
        let publicKey: Int
        let evaluationKeys: Int
        let samples: Int
        let predictions: Int
        let model: Int
    }
}
