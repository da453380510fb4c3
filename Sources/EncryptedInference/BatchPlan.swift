import Attestation
import HomomorphicEncryption
import RLWE
import RealModule

/// Whether the server that computes may see a model's weights.
public enum WeightProtection: String, Sendable, Hashable, CaseIterable {
    case plain
    /// Encrypted under the key set's secret key, by who may open its seed: half the bytes of a ciphertext, and less
    /// noise, so that fewer bits keep the same precision.
    case encrypted
    /// Encrypted under the key set's public key by anybody, as the inputs are.
    case publiclyEncrypted = "publicly-encrypted"

    /// Whether weights are ciphertexts.
    public var isEncrypted: Bool { self != .plain }
}

/// A model planned for batches of a known size, whose results are released raw: the layout, ring, primes and scales that
/// cost least.
///
/// ``InferencePlan`` is the other planner: one ciphertext a batch, whatever its size, with static bounds of the errors,
/// which flooded results need. This one may take several ciphertexts a batch, and has estimates of the errors alone, so
/// that it is not for flooded results.
public struct BatchPlan: Sendable {
    public private(set) var layout: BatchLayout
    public let protection: WeightProtection
    /// Its batch is a block's: the layout's ``BatchLayout/stride``.
    public let profile: CircuitProfile
    /// Blocks that the batch takes.
    public let blocks: Int
    /// What was estimated of this plan.
    public let cost: BatchCost
    /// The standard deviation that is expected of a score.
    public let deviation: Double
    private(set) var schedule: BatchSchedule

    /// What a score's deviation is kept below: an eighth of a thousandth, so that the largest error of some ten thousand
    /// scores stays below a thousandth.
    public static let deviation = 1e-3 / 8

    /// Plans a model for batches of `batch` records: of all layouts and rings, the one of least cost.
    /// - Throws: ``InferenceError/doesNotFit(reason:)``, ``InferenceError/batchOutOfRange(_:largest:)``.
    public init(_ model: InferenceModel, batch: Int, weights: WeightProtection = .plain) throws(InferenceError) {
        var best: BatchPlan?
        for plan in try BatchPlan.candidates(model, batch: batch, weights: weights)
        where plan.cost.total < best?.cost.total ?? .infinity { best = plan }
        guard let best else {
            throw .doesNotFit(reason: "its \(model.layers.count) layers are more than any ring's levels, or too wide")
        }
        self = best
    }

    /// The largest batch that is planned for.
    public static let largestBatch = 1 << 20

    /// No ring has the levels for more.
    static let mostDenseLayers = 16

    /// Of every layout and every way to split the primes the cheapest plan that is precise and secure.
    /// - Throws: ``InferenceError/batchOutOfRange(_:largest:)``.
    package static func candidates(
        _ model: InferenceModel, batch: Int, weights: WeightProtection
    ) throws(InferenceError) -> [BatchPlan] {
        guard (1...largestBatch).contains(batch) else {
            throw .batchOutOfRange(batch, largest: largestBatch)
        }
        let dense = model.layers.count { if case .dense = $0 { true } else { false } }
        guard dense <= mostDenseLayers else { return [] }
        let estimate = BatchEstimate(model)
        var plans: [BatchPlan] = []
        for logN in 12...15 {
            for layout in layouts(model, batch: batch, slots: 1 << (logN - 1)) {
                let bits = BatchSchedule.bits(
                    layout, logN: logN, weights, estimate, deviation: BatchPlan.deviation)
                for shortened in 0..<(1 << min(dense, 4)) {
                    let choices = (1...3).compactMap { digitPrimes in
                        BatchPlan(
                            model, layout, batch: batch, logN: logN, weights, estimate, bits, shortened, digitPrimes)
                    }
                    if let plan = choices.min(by: { $0.cost.total < $1.cost.total }) { plans.append(plan) }
                }
            }
        }
        return plans
    }

    private static func layouts(_ model: InferenceModel, batch: Int, slots: Int) -> [BatchLayout] {
        // Blocks smaller than the batch waste no slots; larger ones do.
        let stride = min(slots, Int.powerOfTwo(atLeast: batch))
        var layouts: [BatchLayout] = []
        var width = 1
        while width <= min(16, slots) {
            if slots / width >= stride || slots / width * 16 >= stride {
                for shift in 0...width.trailingZeroBitCount {
                    if let layout = BatchLayout(model, tile: width, babies: 1 << shift, slots: slots) {
                        layouts.append(layout)
                    }
                }
            }
            width *= 2
        }
        for ciphertexts in 1...8 {
            guard let layout = BatchLayout(model, copiesIn: ciphertexts, stride: stride, slots: slots) else { break }
            layouts.append(layout)
        }
        return layouts
    }

    private init?(
        _ model: InferenceModel, _ layout: BatchLayout, batch: Int, logN: Int, _ protection: WeightProtection,
        _ estimate: BatchEstimate, _ bits: BatchSchedule.Bits, _ shortened: Int, _ digitPrimes: Int
    ) {
        guard
            let schedule = BatchSchedule(
                layout, logN: logN, protection, estimate, bits: bits, shortened: shortened, digitPrimes: digitPrimes)
        else { return nil }
        self.layout = layout
        self.protection = protection
        self.schedule = schedule
        deviation = schedule.deviation
        blocks = (batch + layout.stride - 1) / layout.stride
        let degree = schedule.parameters.degree
        var keys: [EvaluationKeyID] = []
        if schedule.relinearizationLevel > 0 {
            keys.append(EvaluationKeyID(kind: .relinearization, level: schedule.relinearizationLevel))
        }
        for (turn, level) in schedule.turnLevels.sorted(by: { $0.key < $1.key }) {
            let element = GaloisAutomorphism.element(rotatingBy: turn * layout.stride, degree: degree)
            keys.append(EvaluationKeyID(kind: .galois, galois: UInt32(element), level: level))
        }
        profile = CircuitProfile(
            model: model.name, modelDigest: model.digest, parameters: schedule.parameters,
            scaleBits: schedule.inputBits, inputLevel: schedule.inputLevel, outputLevel: schedule.outputLevel,
            batch: layout.stride, evaluationKeys: keys)
        cost = BatchCost(layout, schedule, protection, blocks: blocks, keys: keys)
    }

    /// Which rotations the layers make, for telling layouts apart.
    package var turns: [Int] { schedule.turnLevels.keys.sorted() }

    /// What the server that computes on an encrypted model may know.
    func withoutWeights() -> BatchPlan {
        var plan = self
        plan.layout = layout.withoutWeights()
        plan.schedule = schedule.withoutWeights()
        return plan
    }

    /// - Throws: ``InferenceError/malformedModel(reason:)`` where this is another model's plan, or one for other weights.
    func require(_ protection: WeightProtection, of model: InferenceModel) throws(InferenceError) {
        guard profile.modelDigest == model.digest else {
            throw .malformedModel(reason: "the plan is another model's")
        }
        guard self.protection == protection else {
            throw .malformedModel(reason: "the plan is for \(self.protection.rawValue) weights")
        }
    }
}
