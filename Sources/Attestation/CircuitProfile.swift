import HomomorphicEncryption

/// What a circuit asks of a key set: parameters, scale, levels, evaluation keys. It comes from the
/// model or the file of the circuit, not from the user.
public struct CircuitProfile: Sendable, Hashable, Codable {
    /// Ciphertexts that one job takes at most.
    public static let maximumInputs = 4096

    /// Name of the model.
    public var model: String
    /// Digest of the model's file.
    public var modelDigest: Digest
    public var parameters: EncryptionParameters
    /// log2 of the scale of fresh inputs; 0 in BFV, which has none.
    public var scaleBits: Int
    /// Level of fresh inputs.
    public var inputLevel: Int
    /// Level of results.
    public var outputLevel: Int
    /// Records that one evaluation takes.
    public var batch: Int
    public var evaluationKeys: [EvaluationKeyID]
    /// Ciphertexts that one evaluation takes; nil for one. A job lists them one after the other.
    public var operands: Int?

    /// Ciphertexts that one evaluation takes at most.
    public static let maximumOperands = 64

    public init(
        model: String, modelDigest: Digest, parameters: EncryptionParameters, scaleBits: Int, inputLevel: Int,
        outputLevel: Int, batch: Int, evaluationKeys: [EvaluationKeyID], operands: Int? = nil
    ) {
        self.model = model
        self.modelDigest = modelDigest
        self.parameters = parameters
        self.scaleBits = scaleBits
        self.inputLevel = inputLevel
        self.outputLevel = outputLevel
        self.batch = batch
        self.evaluationKeys = evaluationKeys
        self.operands = operands
    }

    /// Digest of a fixed encoding of every field: what receipts name.
    public var digest: Digest {
        var canonical = CanonicalBytes()
        canonical.append("HKMS-circuit-profile-v1")
        canonical.append(model)
        canonical.append(modelDigest.bytes)
        canonical.append(parameters.digest)
        for number in [scaleBits, inputLevel, outputLevel, batch, evaluationKeys.count] { canonical.append(number) }
        for key in evaluationKeys {
            canonical.append(Int(key.kind.rawValue))
            canonical.append(Int(key.galois))
            canonical.append(key.level)
            canonical.append(Int(key.generation))
        }
        // Behind the keys, whose count stands before them: with it or without, two profiles never have the same bytes.
        if let operands { canonical.append(operands) }
        return Digest(of: canonical.bytes)
    }

    /// The scale of fresh inputs.
    public var scale: Double { Double(sign: .plus, exponent: scaleBits, significand: 1) }

    /// The results that so many inputs of a job have.
    /// - Returns: nil where the inputs do not make whole evaluations.
    public func resultCount(inputs: Int) -> Int? {
        let (results, rest) = inputs.quotientAndRemainder(dividingBy: operands ?? 1)
        return rest == 0 ? results : nil
    }

    /// log2 of the scales that there are.
    private var scales: ClosedRange<Int> {
        switch parameters.scheme {
        case .ckks: 1...120
        case .bfv: 0...0
        }
    }

    /// - Throws: ``AttestationError/malformed(reason:)`` for numbers that do not go together.
    public func validate() throws(AttestationError) {
        let levels = 1...parameters.q.count
        guard levels.contains(inputLevel), levels.contains(outputLevel), outputLevel <= inputLevel,
            scales.contains(scaleBits), (1...parameters.slotCount).contains(batch), evaluationKeys.count <= 4096,
            Set(evaluationKeys).count == evaluationKeys.count, model.utf8.count <= 128,
            (1...Self.maximumOperands).contains(operands ?? 1)
        else { throw .malformed(reason: "the circuit profile's numbers do not go together") }
    }
}
