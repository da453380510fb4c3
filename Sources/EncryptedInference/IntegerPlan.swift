import Attestation
import HomomorphicEncryption
import RLWE

/// Where the integers of records lie in the slots of a plaintext, and where results come out: in blocks, one a column
/// or term, that hold one record a slot.
///
/// A block has a power of two of slots, so that none lies in both rows of the plaintext, or exactly fills them.
public struct IntegerLayout: Sendable, Hashable {
    /// Slots of a block.
    public let block: Int
    /// Blocks that are used.
    public let blocks: Int

    init(_ operation: IntegerOperation, columns: Int, records: Int) {
        block = Int.powerOfTwo(atLeast: records)
        switch operation {
        case .sums(let terms): blocks = terms.count
        case .weighted: blocks = columns
        }
    }

    /// Slots that are added up into one result, and how far apart they are.
    func fold(_ operation: IntegerOperation) -> (span: Int, step: Int) {
        switch operation {
        case .sums: (block, 1)
        case .weighted: (block * Int.powerOfTwo(atLeast: blocks), block)
        }
    }
}

/// How a circuit on integers is computed: plaintext modulus, parameters, and what is done at which level.
public struct IntegerPlan: Sendable, Hashable {
    enum Step: Sendable, Hashable {
        /// The product of the two operands.
        case multiply
        case multiplyWeights
        case addBias
        /// Adds the ciphertext turned by so many columns.
        case fold(columns: Int)
        /// Adds the ciphertext with its rows swapped.
        case foldRows
        case dropLevel(Int)
    }

    public let layout: IntegerLayout
    public let parameters: EncryptionParameters
    public let inputLevel: Int
    public let outputLevel: Int
    /// What an input or a result is at most, in magnitude.
    public let magnitude: Int64
    public let evaluationKeys: [EvaluationKeyID]
    let steps: [Step]

    /// Finds the smallest ring, the smallest prime t that the exact result fits, and the lowest levels for which
    /// results are right but for a probability below 2^-128.
    /// - Throws: ``InferenceError/doesNotFit(reason:)``, ``InferenceError/resultMayWrap(magnitude:modulus:)``, or
    ///   ``HEError/plaintextModulusDoesNotBatch(t:degree:example:)`` for a `modulus` that is no such prime.
    init(_ operation: IntegerOperation, columns: [IntegerColumn], records: Int, modulus: UInt64?) throws {
        magnitude = try operation.magnitude(columns, records: records)
        if let modulus, modulus <= 2 * UInt64(magnitude) {
            throw InferenceError.resultMayWrap(magnitude: magnitude, modulus: modulus)
        }
        layout = IntegerLayout(operation, columns: columns.count, records: records)
        let (span, step) = layout.fold(operation)
        let slots = max(span, layout.block * layout.blocks)
        var refusal: any Error = InferenceError.doesNotFit(
            reason: "\(layout.blocks) times \(layout.block) slots are more than any ring has")
        for preset in BFVParameterPreset.all where preset.parameters.degree >= slots {
            do throws(HEError) {
                let parameters = try Self.chosen(preset, above: 2 * UInt64(magnitude), modulus: modulus)
                let context = try EncryptionContext.shared(parameters)
                let circuit = Self.steps(operation, span: span, step: step, degree: parameters.degree)
                guard let levels = Self.levels(circuit, context) else {
                    refusal = InferenceError.doesNotFit(
                        reason: "with t = \(parameters.t) its noise may pass what the largest ring stands")
                    continue
                }
                self.parameters = parameters
                inputLevel = levels.input
                outputLevel = levels.output
                steps = Self.steps(circuit, levels: levels)
                evaluationKeys = Self.keys(steps, level: levels.input, degree: parameters.degree)
                return
            } catch { refusal = error }
        }
        throw refusal
    }

    /// What ``BFVCircuitProfile`` bounds the noise of.
    var noise: BFVCircuitProfile { BFVCircuitProfile(steps.flatMap(\.noise), level: inputLevel) }

    /// The same of a circuit that another plan was made for, from its profile alone.
    /// - Throws: ``InferenceError/malformedCircuit(reason:)`` where the profile is none of such a circuit.
    static func noise(
        _ operation: IntegerOperation, layout: IntegerLayout, profile: CircuitProfile
    ) throws(InferenceError) -> BFVCircuitProfile {
        let degree = profile.parameters.degree
        let (span, step) = layout.fold(operation)
        let fold = profile.evaluationKeys.first { $0.kind == .galois }?.level ?? profile.inputLevel
        let steps = steps(
            steps(operation, span: span, step: step, degree: degree),
            levels: Levels(input: profile.inputLevel, fold: fold, output: profile.outputLevel))
        guard profile.outputLevel <= fold, fold <= profile.inputLevel,
            keys(steps, level: profile.inputLevel, degree: degree) == profile.evaluationKeys
        else { throw .malformedCircuit(reason: "its profile's levels and keys are not those of what it computes") }
        return BFVCircuitProfile(steps.flatMap(\.noise), level: profile.inputLevel)
    }

    /// Whether parameters are a preset's, but for t.
    static func hasPresetModuli(_ parameters: EncryptionParameters) -> Bool {
        BFVParameterPreset.all.contains { preset in
            let primes = preset.parameters
            return primes.logN == parameters.logN && primes.q == parameters.q && primes.p == parameters.p
                && primes.alpha == parameters.alpha
        }
    }

    private static func chosen(
        _ preset: BFVParameterPreset, above bound: UInt64, modulus: UInt64?
    ) throws(HEError) -> EncryptionParameters {
        let primes = preset.parameters
        let step = 2 * UInt64(primes.degree)
        var t = modulus ?? (max(bound, 65536) / step * step + 1)
        if modulus == nil { while t <= bound || !Primes.isPrime(t) || (primes.q + primes.p).contains(t) { t += step } }
        return try EncryptionParameters(
            scheme: .bfv, logN: primes.logN, q: primes.q, p: primes.p, alpha: primes.alpha, t: t)
    }

    // MARK: Steps

    /// Without their levels.
    private static func steps(_ operation: IntegerOperation, span: Int, step: Int, degree: Int) -> [Step] {
        var steps: [Step] = []
        switch operation {
        case .sums: if operation.operands > 1 { steps.append(.multiply) }
        case .weighted: steps.append(.multiplyWeights)
        }
        // Sums over a span of slots, by doubling: a rotation is cyclic within a row of N/2.
        var width = span / 2
        if width == degree / 2 {
            steps.append(.foldRows)
            width /= 2
        }
        while width >= step {
            steps.append(.fold(columns: width))
            width /= 2
        }
        if case .weighted(_, let bias) = operation, bias != 0 { steps.append(.addBias) }
        return steps
    }

    private struct Levels {
        var input: Int
        var fold: Int
        var output: Int
    }

    /// What is done once comes first; then, at a lower level, what is done with keys again and again.
    private static func steps(_ circuit: [Step], levels: Levels) -> [Step] {
        var steps = circuit
        let first = circuit.firstIndex { $0 != .multiply && $0 != .multiplyWeights } ?? circuit.count
        if levels.output < levels.fold { steps.append(.dropLevel(levels.output)) }
        if levels.fold < levels.input { steps.insert(.dropLevel(levels.fold), at: first) }
        return steps
    }

    /// The lowest input level, then the lowest ones behind it. Noise only grows in relation to the modulus, so that it
    /// is enough to look at the end.
    private static func levels(_ circuit: [Step], _ context: EncryptionContext) -> Levels? {
        func stands(_ levels: Levels) -> Bool {
            let steps = steps(circuit, levels: levels)
            return (try? BFVCircuitProfile(steps.flatMap(\.noise), level: levels.input).check(context)) != nil
        }
        let highest = min(context.maximumLevel, context.parameters.maximumEvaluationKeyLevel)
        guard let input = (1...max(highest, 1)).first(where: { stands(.init(input: $0, fold: $0, output: $0)) }),
            let fold = (1...input).first(where: { stands(.init(input: input, fold: $0, output: $0)) }),
            let output = (1...fold).first(where: { stands(.init(input: input, fold: fold, output: $0)) })
        else { return nil }
        return Levels(input: input, fold: fold, output: output)
    }

    /// Only what the steps use, at the level where they use it.
    private static func keys(_ steps: [Step], level: Int, degree: Int) -> [EvaluationKeyID] {
        var level = level
        return steps.compactMap { step in
            switch step {
            case .multiply: return EvaluationKeyID(kind: .relinearization, level: level)
            case .fold(let columns):
                let element = GaloisAutomorphism.element(rotatingBy: columns, degree: degree)
                return EvaluationKeyID(kind: .galois, galois: UInt32(element), level: level)
            case .foldRows: return EvaluationKeyID(kind: .galois, galois: UInt32(2 * degree - 1), level: level)
            case .dropLevel(let lower): level = lower
            case .multiplyWeights, .addBias: break
            }
            return nil
        }
    }
}

extension IntegerPlan.Step {
    fileprivate var noise: [BFVCircuitProfile.Step] {
        switch self {
        case .multiply: [.multiply]
        case .multiplyWeights: [.multiplyPlaintext]
        case .addBias: [.addPlaintext]
        case .fold, .foldRows: [.rotate, .sum(2)]
        case .dropLevel(let level): [.dropLevel(level)]
        }
    }
}
