import HomomorphicEncryption
import RLWE
import SecretKeys

/// CKKS: values between -1 and 1 at one scale.
final class CKKSWorkbench: Workbench {
    let bench: KeyBench
    private let encoder: CKKSEncoder
    private let evaluator: CKKSEvaluator
    private let scale: Double
    private let values: [Double]
    private let factors: [Double]
    private var plaintext: CKKSPlaintext?
    private var left: Ciphertext?
    private var right: Ciphertext?

    init(_ parameters: EncryptionParameters, scaleBits: Int) throws {
        bench = try KeyBench(parameters)
        encoder = try CKKSEncoder(bench.context)
        evaluator = CKKSEvaluator(bench.context)
        scale = Double(sign: .plus, exponent: scaleBits, significand: 1)
        values = Self.operand(count: encoder.slotCount, step: 7919)
        factors = Self.operand(count: encoder.slotCount, step: 5077)
    }

    /// Values between -1 and 1 without a pattern that a transform would notice.
    private static func operand(count: Int, step: Int) -> [Double] {
        (0..<count).map { index in
            let residue = (index * index + index * step + 17) % 8191
            return Double(residue - 4095) / 4096
        }
    }

    // MARK: Timing

    var operations: [Operation] { Operation.allCases.filter { $0 != .rotateColumns } }

    func perform(_ operation: Operation) throws {
        switch operation {
        case .secretKey, .keyPair, .relinearizationKey, .rotationKey, .keySet: try bench.perform(operation)
        case .encode: _ = try encoder.encode(values, scale: scale)
        case .encrypt: _ = try bench.publicKey().encrypt(made(plaintext))
        case .encryptBatch:
            let (key, plaintext) = (try bench.publicKey(), try made(plaintext))
            try encryptBatch { try key.encrypt(plaintext) }
        case .decrypt: _ = try bench.secret.decryptRaw(made(left))
        case .decryptDecode: _ = try encoder.decodeReal(bench.secret.decryptRaw(made(left)))
        case .add: _ = try evaluator.add(made(left), made(right))
        case .plainMultiply: _ = try evaluator.rescale(evaluator.multiply(made(left), made(plaintext)))
        case .multiply: _ = try evaluator.rescale(evaluator.multiply(made(left), made(right), keys: bench.keys))
        case .rotate: _ = try evaluator.rotate(made(left), by: 1, keys: bench.keys)
        case .rotateColumns: throw BenchmarkError.noOperation(operation.rawValue)
        }
    }

    // MARK: What the times stand for

    private struct Check: Encodable {
        /// Largest absolute errors of slots, for values between -1 and 1.
        let encrypted, sum, plainProduct, product, rotated: Double
        /// Of the values times 1 and rescaled, until no level is left.
        let lastLevel: Double
    }

    func check() throws -> any Encodable {
        for operation in operations { try prepare(operation) }
        let (left, right) = try madeCiphertexts()
        func error(_ ciphertext: Ciphertext, _ expected: (Int) -> Double) throws -> Double {
            let found = try encoder.decodeReal(bench.secret.decryptRaw(ciphertext))
            return found.indices.reduce(0) { max($0, (found[$1] - expected($1)).magnitude) }
        }
        let slots = encoder.slotCount
        return Check(
            encrypted: try error(left) { values[$0] },
            sum: try error(evaluator.add(left, right)) { values[$0] + factors[$0] },
            plainProduct: try error(evaluator.rescale(evaluator.multiply(left, made(plaintext)))) {
                values[$0] * values[$0]
            },
            product: try error(evaluator.rescale(evaluator.multiply(left, right, keys: bench.keys))) {
                values[$0] * factors[$0]
            },
            rotated: try error(evaluator.rotate(left, by: 1, keys: bench.keys)) { values[($0 + 1) % slots] },
            lastLevel: try error(lowered(left)) { values[$0] })
    }

    private struct Sizes: Encodable {
        let publicKey, relinearizationKey, rotationKey, freshCiphertext, lastLevelCiphertext: Int
    }

    func sizes() throws -> any Encodable {
        try prepare(.multiply)
        try prepare(.rotate)
        let fresh = try madeCiphertexts().0
        return Sizes(
            publicKey: try bench.publicKey().serialized().count,
            relinearizationKey: try made(bench.keys.relinearization).serialized().count,
            rotationKey: try made(bench.keys.galois[bench.rotationID(steps: 1).galois]).serialized().count,
            freshCiphertext: fresh.serialized().count,
            lastLevelCiphertext: try lowered(fresh).serialized().count)
    }

    /// Multiplied by 1 and rescaled, as often as the chain allows.
    private func lowered(_ ciphertext: Ciphertext) throws -> Ciphertext {
        let ones = [Double](repeating: 1, count: encoder.slotCount)
        var result = ciphertext
        while result.level > 1 {
            let one = try encoder.encode(ones, scale: scale, level: result.level)
            result = try evaluator.rescale(evaluator.multiply(result, one))
        }
        return result
    }

    // MARK: Operands

    func madePlaintext() throws -> CKKSPlaintext {
        let made = try plaintext ?? encoder.encode(values, scale: scale)
        plaintext = made
        return made
    }

    func madeCiphertexts() throws -> (Ciphertext, Ciphertext) {
        if let left, let right { return (left, right) }
        let key = try bench.publicKey()
        let first = try key.encrypt(madePlaintext())
        let second = try key.encrypt(encoder.encode(factors, scale: scale))
        left = first
        right = second
        return (first, second)
    }
}
