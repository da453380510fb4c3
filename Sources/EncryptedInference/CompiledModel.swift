import Attestation
import HomomorphicEncryption

/// A model ready to run on ciphertexts: weights encoded into plaintexts, once.
public final class CompiledModel: Sendable {
    public let model: InferenceModel
    public let plan: InferencePlan
    public let context: EncryptionContext
    private let stages: [Stage]

    private enum Stage: Sendable {
        /// giants[g][b]: diagonal g * babySteps + b, turned back by the giant step; nil where it is zero.
        case diagonals(giants: [[CKKSPlaintext?]], babySteps: Int, bias: CKKSPlaintext)
        case square
        case dotProduct(weights: CKKSPlaintext, bias: CKKSPlaintext)
    }

    /// - Throws: ``InferenceError``, or ``HEError`` where a weight does not fit the scale.
    public convenience init(_ model: InferenceModel) throws { try self.init(model, plan: InferencePlan(model)) }

    /// Compiles by a plan of the same model, such as one for flooded results.
    /// - Throws: ``InferenceError``, or ``HEError`` where a weight does not fit the scale.
    public init(_ model: InferenceModel, plan: InferencePlan) throws {
        guard plan.profile.modelDigest == model.digest else {
            throw InferenceError.malformedModel(reason: "the plan is another model's")
        }
        self.model = model
        self.plan = plan
        context = try EncryptionContext.shared(plan.profile.parameters)
        let encoder = try CKKSEncoder(context)
        let packing = plan.packing
        let target = plan.profile.scale
        var scale = target
        var stages: [Stage] = []

        let (q, perLevel) = (context.parameters.q, plan.primesPerLevel)
        /// What a product at a level is divided by.
        func divisor(_ level: Int) -> Double { q[level - perLevel..<level].reduce(1) { $0 * Double($1) } }
        /// One value a feature, the same for every record of the batch.
        func slots(_ value: (Int) -> Double) -> [Double] {
            (0..<packing.width * packing.batch).map { value($0 / packing.batch) }
        }
        for step in plan.steps {
            switch step {
            case .diagonals(let weights, let bias, let period, let babySteps, let level):
                let last = divisor(level)
                // Chosen so that the rescaled result has the target scale exactly.
                let weightScale = last * target / scale
                var giants: [[CKKSPlaintext?]] = []
                for giant in stride(from: 0, to: period, by: babySteps) {
                    giants.append(
                        try (0..<min(babySteps, period)).map { baby in
                            let diagonal = (0..<packing.width).map { feature -> Double in
                                guard feature < weights.count else { return 0 }
                                let input = (feature + giant + baby) % period
                                return input < weights[feature].count ? weights[feature][input] : 0
                            }
                            guard diagonal.contains(where: { $0 != 0 }) else { return nil }
                            let width = packing.width
                            return try encoder.encode(
                                slots { diagonal[($0 - giant % width + width) % width] }, scale: weightScale,
                                level: level)
                        })
                }
                let encodedBias = try encoder.encode(
                    slots { $0 < bias.count ? bias[$0] : 0 }, scale: scale * weightScale, level: level)
                stages.append(.diagonals(giants: giants, babySteps: babySteps, bias: encodedBias))
                scale = scale * weightScale / last
            case .square(let level):
                stages.append(.square)
                scale = scale * scale / divisor(level)
            case .dotProduct(let weights, let bias, let level):
                let last = divisor(level)
                let weightScale = last * target / scale
                let encoded = try encoder.encode(
                    slots { $0 < weights.count ? weights[$0] : 0 }, scale: weightScale, level: level)
                scale = scale * weightScale / last
                stages.append(
                    .dotProduct(
                        weights: encoded,
                        bias: try encoder.encode(slots { _ in bias }, scale: scale, level: level - perLevel)))
            }
        }
        self.stages = stages
    }

    /// Checks one input before any work is done on it.
    /// - Throws: ``InferenceError/unexpectedInput(reason:)``.
    public func validate(_ input: Ciphertext) throws(InferenceError) {
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

    /// Runs the network on one ciphertext of up to ``Packing/batch`` records.
    ///
    /// Deterministic: the same input and keys give the same bytes on every machine.
    public func evaluate(_ input: Ciphertext, keys: EvaluationKeySet) throws -> Ciphertext {
        try validate(input)
        let evaluator = CKKSEvaluator(context)
        let batch = plan.packing.batch
        var value = input
        for stage in stages {
            switch stage {
            case .diagonals(let giants, let babySteps, let bias):
                var rotated: [Ciphertext] = []
                for baby in 0..<min(babySteps, giants.first?.count ?? 0) {
                    rotated.append(try evaluator.rotate(value, by: baby * batch, keys: keys))
                }
                var sum: Ciphertext?
                for (index, giant) in giants.enumerated() {
                    var inner: Ciphertext?
                    for (baby, diagonal) in giant.enumerated() {
                        guard let diagonal else { continue }
                        let product = try evaluator.multiply(rotated[baby], diagonal)
                        inner = try inner.map { try evaluator.add($0, product) } ?? product
                    }
                    guard let inner else { continue }
                    let turned = try evaluator.rotate(inner, by: index * babySteps * batch, keys: keys)
                    sum = try sum.map { try evaluator.add($0, turned) } ?? turned
                }
                guard let sum else { throw InferenceError.malformedModel(reason: "a dense layer is all zero") }
                value = try rescale(evaluator.add(sum, bias), evaluator)
            case .square:
                value = try rescale(evaluator.square(value, keys: keys), evaluator)
            case .dotProduct(let weights, let bias):
                value = try rescale(evaluator.multiply(value, weights), evaluator)
                var rotation = plan.packing.width / 2
                while rotation >= 1 {
                    value = try evaluator.add(value, evaluator.rotate(value, by: rotation * batch, keys: keys))
                    rotation /= 2
                }
                value = try evaluator.add(value, bias)
            }
        }
        return value
    }

    private func rescale(_ product: Ciphertext, _ evaluator: CKKSEvaluator) throws(HEError) -> Ciphertext {
        var value = product
        for _ in 0..<plan.primesPerLevel { value = try evaluator.rescale(value) }
        return value
    }
}
