import HomomorphicEncryption
import RLWE

/// A model's weights and biases as its owner encrypts them for one key set, so that the server that computes sees the
/// shape of the network and the scales that were chosen for it, and no weight.
public struct EncryptedWeights: Sendable {
    /// Tells the shape of the model and no weight.
    public let plan: BatchPlan
    /// Serialized ciphertexts in the order of the circuit.
    public let ciphertexts: [[UInt8]]

    /// What arrived from the owner; ``BatchModel/init(_:)`` checks it.
    public init(plan: BatchPlan, ciphertexts: [[UInt8]]) {
        self.plan = plan.withoutWeights()
        self.ciphertexts = ciphertexts
    }

    /// Encrypts a model.
    /// - Throws: ``InferenceError`` where the plan is another model's or one for weights in the clear, or ``HEError``.
    public init(_ model: InferenceModel, plan: BatchPlan, publicKey: PublicKey) throws {
        try plan.require(.encrypted, of: model)
        let context = publicKey.context
        guard context.parameterDigest == plan.profile.parameters.digest else { throw HEError.parameterMismatch }
        let encoder = try CKKSEncoder(context)
        var positions: [(values: [Double], scale: Double, level: Int)] = []
        var scale = plan.profile.scale
        for operation in plan.schedule.operations {
            switch operation {
            case .relinearize: break
            case .square: scale *= scale
            case .dense(let dense, let weightScale, let level, let dropped):
                for term in dense.sumTerms.joined() { positions.append((term.weights, weightScale, level)) }
                scale *= weightScale
                for bias in dense.biases { positions.append((bias, scale, level)) }
                for index in 1...max(dropped, 1) where index <= dropped {
                    scale /= Double(context.parameters.q[level - index])
                }
            }
        }
        let layout = plan.layout
        ciphertexts = try Parallelism.map(below: positions.count) { index throws(any Error) in
            let (values, scale, level) = positions[index]
            let plaintext = try encoder.encode(layout.slots(ofPositions: values), scale: scale, level: level)
            return try publicKey.encrypt(plaintext).serialized()
        }
        self.plan = plan.withoutWeights()
    }

    public var byteCount: Int { ciphertexts.reduce(0) { $0 + $1.count } }
}
