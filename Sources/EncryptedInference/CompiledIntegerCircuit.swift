import Attestation
import HomomorphicEncryption

/// A circuit on integers ready to run on ciphertexts: weights encoded into plaintexts, once.
public final class CompiledIntegerCircuit: Circuit {
    public let circuit: IntegerCircuit
    public let plan: IntegerPlan
    public let profile: CircuitProfile
    public let context: EncryptionContext
    private let weights: BFVPlaintext?
    private let bias: BFVPlaintext?

    /// - Throws: ``InferenceError``, or `HEError` for a plaintext modulus of the file that does not batch.
    public init(_ circuit: IntegerCircuit) throws {
        self.circuit = circuit
        plan = try IntegerPlan(
            circuit.operation, columns: circuit.columns, records: circuit.records, modulus: circuit.plaintextModulus)
        context = try EncryptionContext.shared(plan.parameters)
        // Once more, of the whole: nothing is evaluated that could be decrypted wrongly.
        try plan.noise.check(context)
        let operands = circuit.operation.operands
        profile = CircuitProfile(
            model: circuit.name, modelDigest: circuit.digest, parameters: plan.parameters, scaleBits: 0,
            inputLevel: plan.inputLevel, outputLevel: plan.outputLevel, batch: circuit.records,
            evaluationKeys: plan.evaluationKeys, operands: operands == 1 ? nil : operands)
        let encoder = try BFVEncoder(context)
        let layout = plan.layout
        switch circuit.operation {
        case .sums: (weights, bias) = (nil, nil)
        case .weighted(let numbers, let constant):
            weights = try encoder.encode(numbers.flatMap { [Int64](repeating: $0, count: layout.block) })
            bias = try encoder.encode([Int64](repeating: constant, count: layout.block))
        }
    }

    public func validate(_ input: Ciphertext) throws(InferenceError) {
        guard input.context.parameterDigest == context.parameterDigest else {
            throw .unexpectedInput(reason: "it is encrypted under other parameters than the circuit's")
        }
        guard input.level == plan.inputLevel, input.polynomials.count == 2 else {
            throw .unexpectedInput(reason: "it is not at the circuit's input level \(plan.inputLevel)")
        }
    }

    public func evaluate(_ inputs: [Ciphertext], keys: EvaluationKeySet) throws -> Ciphertext {
        let operands = profile.operands ?? 1
        guard inputs.count == operands else {
            throw InferenceError.unexpectedInput(reason: "the circuit takes \(operands) ciphertexts at a time")
        }
        for input in inputs { try validate(input) }
        let evaluator = try BFVEvaluator(context)
        var value = inputs[0]
        for step in plan.steps {
            switch step {
            case .multiply: value = try evaluator.multiply(value, inputs[1], keys: keys)
            case .multiplyWeights: if let weights { value = try evaluator.multiply(value, weights) }
            case .addBias: if let bias { value = try evaluator.add(value, bias) }
            case .fold(let columns):
                value = try evaluator.add(value, evaluator.rotateRows(value, by: columns, keys: keys))
            case .foldRows: value = try evaluator.add(value, evaluator.rotateColumns(value, keys: keys))
            case .dropLevel(let level): value = try evaluator.dropLevel(value, to: level)
            }
        }
        return value
    }

    public func description(unit: String) -> any CircuitDescription { IntegerCircuitDescriptor(self, unit: unit) }
}
