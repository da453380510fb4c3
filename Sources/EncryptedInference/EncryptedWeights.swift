import HomomorphicEncryption
import RLWE

/// A model's weights and biases as its owner encrypts them for one key set, so that the server that computes sees the
/// shape of the network and the scales that were chosen for it, and no weight.
public struct EncryptedWeights: Sendable {
    /// Tells the shape of the model and no weight.
    public let plan: BatchPlan
    /// Serialized ciphertexts in the order of the circuit: seeded ones where the plan is for weights that were encrypted
    /// under the secret key.
    public let ciphertexts: [[UInt8]]

    /// What arrived from the owner; ``BatchModel/init(_:)`` checks it.
    public init(plan: BatchPlan, ciphertexts: [[UInt8]]) {
        self.plan = plan.withoutWeights()
        self.ciphertexts = ciphertexts
    }

    /// Encrypts a model under a public key.
    /// - Throws: ``InferenceError`` where the plan is another model's or is not one for
    ///   ``WeightProtection/publiclyEncrypted`` weights, or ``HEError``.
    public init(_ model: InferenceModel, plan: BatchPlan, publicKey: PublicKey) throws {
        try self.init(model, plan, .publiclyEncrypted, publicKey.context) {
            try publicKey.encrypt($0).serialized()
        }
    }

    /// Encrypts a model under a secret key, which this module has none of.
    /// - Parameter encrypt: encrypts under the key; several threads may call it at a time.
    /// - Throws: ``InferenceError`` where the plan is another model's or is not one for ``WeightProtection/encrypted``
    ///   weights, ``HEError``, or what `encrypt` throws.
    public init(
        _ model: InferenceModel, plan: BatchPlan, context: EncryptionContext,
        encrypt: (CKKSPlaintext) throws -> SeededCiphertext
    ) throws {
        try self.init(model, plan, .encrypted, context) { try encrypt($0).serialized() }
    }

    private init(
        _ model: InferenceModel, _ plan: BatchPlan, _ protection: WeightProtection, _ context: EncryptionContext,
        encrypt: (CKKSPlaintext) throws -> [UInt8]
    ) throws {
        try plan.require(protection, of: model)
        guard context.parameterDigest == plan.profile.parameters.digest else { throw HEError.parameterMismatch }
        let encoder = try CKKSEncoder(context)
        var positions: [(values: [Double], scale: Double, level: Int)] = []
        var scale = plan.profile.scale
        for operation in plan.schedule.operations {
            switch operation {
            case .relinearize: break
            case .square: scale *= scale
            case .dense(let dense):
                let layer = dense.layer
                for term in layer.sumTerms.joined() { positions.append((term.weights, dense.weightScale, dense.level)) }
                scale *= dense.weightScale
                for bias in layer.biases { positions.append((bias, scale, dense.level)) }
                for prime in dense.droppedPrimes(of: context.parameters) { scale /= Double(prime) }
            }
        }
        let layout = plan.layout
        ciphertexts = try Parallelism.map(below: positions.count) { index throws(any Error) in
            let (values, scale, level) = positions[index]
            return try encrypt(encoder.encode(layout.slots(ofPositions: values), scale: scale, level: level))
        }
        self.plan = plan.withoutWeights()
    }

    public var byteCount: Int { ciphertexts.reduce(0) { $0 + $1.count } }
}
