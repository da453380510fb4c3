import HomomorphicEncryption
import RLWE

/// A model ready to run on batches by its ``BatchPlan``, with its weights in the clear or encrypted.
public final class BatchModel: Sendable {
    /// The plan; that of an encrypted model tells its shape and the scales that were chosen for it, and no weight.
    public let plan: BatchPlan
    public let context: EncryptionContext
    private let stages: [Stage]

    private enum Stage: Sendable {
        case relinearize
        case square
        case dense(BatchDenseLayer)
    }

    /// A model in the clear.
    /// - Throws: ``InferenceError``, or ``HEError`` where a weight does not fit its scale.
    public convenience init(_ model: InferenceModel, plan: BatchPlan) throws {
        try plan.require(.plain, of: model)
        let context = try EncryptionContext.shared(plan.profile.parameters)
        let encoder = try CKKSEncoder(context)
        try self.init(plan, context) { dense, weightScale, scale, level in
            let biases = try dense.biases.map {
                try encoder.encode(plan.layout.slots(ofPositions: $0), scale: scale * weightScale, level: level)
            }
            let weights: BatchDenseLayer.Weights
            if plan.layout.positions == 1 {
                weights = .numbers(
                    try dense.sumTerms.map { try $0.map { try Self.whole($0.weights[0] * weightScale) } })
            } else {
                weights = .plaintexts(
                    try dense.sumTerms.map { terms in
                        try terms.map {
                            try encoder.encode(
                                plan.layout.slots(ofPositions: $0.weights), scale: weightScale, level: level)
                        }
                    })
            }
            return (weights, .plaintexts(biases))
        }
    }

    /// A model whose weights somebody encrypted by ``EncryptedWeights/init(_:plan:publicKey:)``.
    /// - Throws: ``InferenceError`` or ``HEError`` for weights that are not those of such a plan.
    public convenience init(_ encrypted: EncryptedWeights) throws {
        let plan = encrypted.plan
        let context = try EncryptionContext.shared(plan.profile.parameters)
        var next = 0
        let expands = Self.keepsUniformHalves(modelBytes: encrypted.byteCount)
        func take(level: Int, scale: Double) throws -> PackedWeight {
            guard next < encrypted.ciphertexts.count else {
                throw InferenceError.malformedModel(reason: "it has fewer encrypted weights than its plan")
            }
            defer { next += 1 }
            return try PackedWeight(
                encrypted.ciphertexts[next], isSeeded: plan.protection == .encrypted, expands: expands, level: level,
                scale: scale, context: context)
        }
        try self.init(plan, context) { dense, weightScale, scale, level in
            let weights = try dense.sumTerms.map { terms in
                try terms.map { _ in try take(level: level, scale: weightScale) }
            }
            let biases = try dense.biases.map { _ in try take(level: level, scale: scale * weightScale) }
            return (.ciphertexts(weights), .ciphertexts(biases))
        }
        guard next == encrypted.ciphertexts.count else {
            throw InferenceError.malformedModel(reason: "it has more encrypted weights than its plan")
        }
    }

    private init(
        _ plan: BatchPlan, _ context: EncryptionContext,
        make: (
            _ dense: BatchLayout.Dense, _ weightScale: Double, _ scale: Double, _ level: Int
        ) throws -> (BatchDenseLayer.Weights, BatchDenseLayer.Biases)
    ) throws {
        self.plan = plan
        self.context = context
        var scale = plan.profile.scale
        var stages: [Stage] = []
        for operation in plan.schedule.operations {
            switch operation {
            case .relinearize: stages.append(.relinearize)
            case .square:
                stages.append(.square)
                scale *= scale
            case .dense(let dense):
                let (weights, biases) = try make(dense.layer, dense.weightScale, scale, dense.level)
                stages.append(
                    .dense(
                        BatchDenseLayer(
                            shape: dense.layer, weights: weights, biases: biases, weightScale: dense.weightScale,
                            dropped: dense.dropped, stride: plan.layout.stride)))
                scale *= dense.weightScale
                for prime in dense.droppedPrimes(of: context.parameters) { scale /= Double(prime) }
            }
        }
        self.stages = stages
    }

    /// Whether a model keeps what its seeds expand to: a small one does, a large one makes it anew for each prediction,
    /// which takes less time than what is done with it, and half the memory.
    static func keepsUniformHalves(modelBytes: Int) -> Bool { modelBytes <= 16 << 20 }

    /// A weight of a model whose weights are numbers.
    private static func whole(_ value: Double) throws(HEError) -> Int64 {
        guard value.magnitude < 0x1p62 else {
            throw .valueOutOfRange(bits: Int(value.magnitude.exponent) + 1, modulusBits: 62)
        }
        return Int64(value.rounded())
    }

    /// Checks the ciphertexts of one block before any work is done on them.
    /// - Throws: ``InferenceError/unexpectedInput(reason:)``.
    public func validate(_ block: [Ciphertext]) throws(InferenceError) {
        guard block.count == plan.layout.inputs.count else {
            throw .unexpectedInput(reason: "a block has \(plan.layout.inputs.count) ciphertexts, not \(block.count)")
        }
        for input in block {
            guard input.context.parameterDigest == context.parameterDigest else {
                throw .unexpectedInput(reason: "it is encrypted under other parameters than the model's")
            }
            guard input.level == plan.profile.inputLevel, input.polynomials.count == 2 else {
                throw .unexpectedInput(reason: "it is not at the model's input level \(plan.profile.inputLevel)")
            }
            guard input.scale == plan.profile.scale else {
                throw .unexpectedInput(reason: "its scale is not the model's 2^\(plan.profile.scaleBits)")
            }
        }
    }

    /// Runs the network on blocks of up to ``BatchLayout/stride`` records.
    ///
    /// Deterministic: the same inputs and keys give the same bytes on every machine, with any number of threads.
    /// - Returns: one ciphertext a block, in their order.
    public func evaluate(_ blocks: [[Ciphertext]], keys: EvaluationKeySet) throws -> [Ciphertext] {
        guard !blocks.isEmpty else { throw InferenceError.noRecords }
        for block in blocks { try validate(block) }
        let evaluator = CKKSEvaluator(context)
        var values = blocks
        for stage in stages {
            switch stage {
            case .relinearize:
                values = try map(values) { value throws(HEError) in try evaluator.relinearize(value, keys: keys) }
            case .square:
                values = try map(values) { value throws(HEError) in
                    try evaluator.multiplyWithoutRelinearization(value, value)
                }
            case .dense(let layer): values = try layer.evaluate(values, evaluator, keys)
            }
        }
        return values.map { $0[0] }
    }

    private func map(
        _ values: [[Ciphertext]], _ body: (Ciphertext) throws(HEError) -> Ciphertext
    ) throws -> [[Ciphertext]] {
        let width = values[0].count
        let results = try Parallelism.map(below: values.count * width) { index throws(HEError) in
            try body(values[index / width][index % width])
        }
        return stride(from: 0, to: results.count, by: width).map { Array(results[$0..<$0 + width]) }
    }
}
