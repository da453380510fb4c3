import Attestation
import HomomorphicEncryption
import RLWE

/// How a model is computed on ciphertexts: parameters, packing, and what each layer does at which level.
public struct InferencePlan: Sendable {
    /// One step of the circuit. Rotations are in features.
    enum Step: Sendable {
        /// y = W x + b by diagonals, baby steps and giant steps (Halevi and Shoup, "Faster Homomorphic Linear
        /// Transformations in HElib", 2018): diagonal d is multiplied with x rotated by d.
        case diagonals(weights: [[Double]], bias: [Double], period: Int, babySteps: Int, level: Int)
        case square(level: Int)
        /// y = w x + b for one unit: multiply, rescale, then add up by doubling.
        case dotProduct(weights: [Double], bias: Double, level: Int)
    }

    public let profile: CircuitProfile
    public let packing: Packing
    /// How results are flooded; nil for a plan whose results are released raw.
    public let release: ReleasePlan?
    let steps: [Step]
    /// Primes that one multiplication is rescaled by.
    let primesPerLevel: Int

    /// Plans a model on the smallest preset that is deep and wide enough, for results that are released raw.
    /// - Throws: ``InferenceError/doesNotFit(reason:)``.
    public init(_ model: InferenceModel) throws(InferenceError) {
        let depth = model.layers.count
        // Below a scale of 2^36 the noise of key switching shows in the fourth decimal.
        guard
            let preset = ParameterPreset.all.first(where: { $0.depth >= depth && $0.scaleBits >= 36 })
        else { throw .doesNotFit(reason: "its \(depth) layers are more than any preset's levels") }
        self = try InferencePlan(
            model, Chain(parameters: preset.parameters, scaleBits: preset.scaleBits, base: 1, perLevel: 1))
    }

    /// The primes q of a plan: `base` that are left at the end, and `perLevel` for each layer.
    struct Chain: Hashable {
        let parameters: EncryptionParameters
        let scaleBits: Int
        let base: Int
        let perLevel: Int
    }

    init(_ model: InferenceModel, _ chain: Chain, release: ReleasePlan? = nil) throws(InferenceError) {
        let parameters = chain.parameters
        let inputWidth = model.inputs.reduce(0) { $0 + $1.width }
        var widest = inputWidth
        for case .dense(let weights, _) in model.layers { widest = max(widest, weights.count) }
        let width = Int.powerOfTwo(atLeast: widest)
        guard width <= parameters.slotCount else { throw .doesNotFit(reason: "a layer is wider than the slots") }
        let packing = Packing(
            width: width, batch: parameters.slotCount / width, period: Int.powerOfTwo(atLeast: inputWidth))

        var steps: [Step] = []
        var level = chain.base + model.layers.count * chain.perLevel
        let inputLevel = level
        var keyLevels: [Int: Int] = [:]  // rotation in features -> highest level
        var relinearizationLevel = 0
        var period = packing.period
        func need(_ rotation: Int, _ level: Int) {
            if rotation != 0 { keyLevels[rotation] = max(keyLevels[rotation] ?? 0, level) }
        }
        for layer in model.layers {
            switch layer {
            case .dense(let weights, let bias) where weights.count == 1:
                steps.append(.dotProduct(weights: weights[0], bias: bias[0], level: level))
                // The sum runs over the whole width: inputs that repeat must count once, so a repeated
                // input's other copies have weight zero.
                var rotation = width / 2
                while rotation >= 1 {
                    need(rotation, level - chain.perLevel)
                    rotation /= 2
                }
            case .dense(let weights, let bias):
                let babySteps = Int.powerOfTwo(atLeast: Int(Double(period).squareRoot().rounded(.up)))
                steps.append(
                    .diagonals(weights: weights, bias: bias, period: period, babySteps: babySteps, level: level))
                for baby in 1..<max(babySteps, 2) where baby < babySteps { need(baby, level) }
                for giant in stride(from: babySteps, to: period, by: babySteps) { need(giant, level) }
                period = width
            case .square:
                steps.append(.square(level: level))
                relinearizationLevel = max(relinearizationLevel, level)
            }
            level -= chain.perLevel
        }
        var keys: [EvaluationKeyID] = []
        if relinearizationLevel > 0 {
            // Relinearized before the rescale that takes the level away.
            keys.append(EvaluationKeyID(kind: .relinearization, level: relinearizationLevel))
        }
        for (rotation, level) in keyLevels.sorted(by: { $0.key < $1.key }) {
            let element = GaloisAutomorphism.element(rotatingBy: rotation * packing.batch, degree: parameters.degree)
            keys.append(EvaluationKeyID(kind: .galois, galois: UInt32(element), level: level))
        }
        self.packing = packing
        self.steps = steps
        self.release = release
        primesPerLevel = chain.perLevel
        profile = CircuitProfile(
            model: model.name, modelDigest: model.digest, parameters: parameters, scaleBits: chain.scaleBits,
            inputLevel: inputLevel, outputLevel: level, batch: packing.batch, evaluationKeys: keys)
    }

    /// Bytes that ``CompiledModel`` takes for encoded weights, at most.
    public var compiledByteCount: Int {
        let row = profile.parameters.degree * 8
        return steps.reduce(0) { sum, step in
            switch step {
            case .diagonals(_, _, let period, _, let level): sum + (period + 1) * level * row
            case .square: sum
            case .dotProduct(_, _, let level): sum + 2 * level * row
            }
        }
    }
}
