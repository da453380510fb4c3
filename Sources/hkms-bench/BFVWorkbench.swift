import HomomorphicEncryption
import RLWE
import SecretKeys

/// BFV: integers of the whole range modulo t.
final class BFVWorkbench: Workbench {
    let bench: KeyBench
    private let encoder: BFVEncoder
    private let evaluator: BFVEvaluator
    private let values: [Int64]
    private let factors: [Int64]
    private var plaintext: BFVPlaintext?
    private var left: Ciphertext?
    private var right: Ciphertext?

    /// - Throws: ``HEError/decryptionMayFail(noiseBits:limitBits:)`` where a product of two fresh ciphertexts could not
    ///   be decrypted but for a probability of 2^-128.
    init(_ parameters: EncryptionParameters) throws {
        bench = try KeyBench(parameters)
        try BFVCircuitProfile([.multiply]).check(bench.context)
        encoder = try BFVEncoder(bench.context)
        evaluator = try BFVEvaluator(bench.context)
        values = Self.operand(encoder, step: 7919)
        factors = Self.operand(encoder, step: 5077)
    }

    /// Signed numbers modulo t without a pattern that a transform would notice.
    private static func operand(_ encoder: BFVEncoder, step: Int) -> [Int64] {
        (0..<encoder.slotCount).map { index in
            Int64((index * index + index * step + 17) % Int(encoder.modulus)) + encoder.signedRange.lowerBound
        }
    }

    // MARK: Timing

    var operations: [Operation] { Operation.allCases }

    func perform(_ operation: Operation) throws {
        switch operation {
        case .secretKey, .keyPair, .relinearizationKey, .rotationKey, .keySet: try bench.perform(operation)
        case .encode: _ = try encoder.encode(values)
        case .encrypt: _ = try bench.publicKey().encrypt(made(plaintext))
        case .encryptBatch:
            let (key, plaintext) = (try bench.publicKey(), try made(plaintext))
            try encryptBatch { try key.encrypt(plaintext) }
        case .decrypt: _ = try bench.secret.decryptBFV(made(left))
        case .decryptDecode: _ = try encoder.decode(bench.secret.decryptBFV(made(left)))
        case .add: _ = try evaluator.add(made(left), made(right))
        case .plainMultiply: _ = try evaluator.multiply(made(left), made(plaintext))
        case .multiply: _ = try evaluator.multiply(made(left), made(right), keys: bench.keys)
        case .rotate: _ = try evaluator.rotateRows(made(left), by: 1, keys: bench.keys)
        case .rotateColumns: _ = try evaluator.rotateColumns(made(left), keys: bench.keys)
        }
    }

    // MARK: What the times stand for

    private struct Check: Encodable {
        /// Slots that are not what plain integers give.
        let encrypted, sum, plainProduct, product, rotated, columnsRotated: Int
    }

    func check() throws -> any Encodable {
        for operation in operations { try prepare(operation) }
        let (left, right) = try madeCiphertexts()
        let (t, half) = (Int64(encoder.modulus), encoder.signedRange.upperBound)
        func wrong(_ ciphertext: Ciphertext, _ expected: (Int) -> Int64) throws -> Int {
            let found = try encoder.decode(bench.secret.decryptBFV(ciphertext))
            return found.indices.count { index in
                // The signed number modulo t; products of two such are below 2^63 for the t of benchmarks.
                let residue = (expected(index) % t + t) % t
                return found[index] != (residue > half ? residue - t : residue)
            }
        }
        let columns = encoder.columnCount
        return Check(
            encrypted: try wrong(left) { values[$0] },
            sum: try wrong(evaluator.add(left, right)) { values[$0] + factors[$0] },
            plainProduct: try wrong(evaluator.multiply(left, made(plaintext))) { values[$0] * values[$0] },
            product: try wrong(evaluator.multiply(left, right, keys: bench.keys)) { values[$0] * factors[$0] },
            rotated: try wrong(evaluator.rotateRows(left, by: 1, keys: bench.keys)) {
                values[$0 / columns * columns + ($0 + 1) % columns]
            },
            columnsRotated: try wrong(evaluator.rotateColumns(left, keys: bench.keys)) {
                values[($0 + columns) % (2 * columns)]
            })
    }

    private struct Sizes: Encodable {
        let publicKey, relinearizationKey, rotationKey, freshCiphertext: Int
    }

    func sizes() throws -> any Encodable {
        try prepare(.multiply)
        try prepare(.rotate)
        return Sizes(
            publicKey: try bench.publicKey().serialized().count,
            relinearizationKey: try made(bench.keys.relinearization).serialized().count,
            rotationKey: try made(bench.keys.galois[bench.rotationID(steps: 1).galois]).serialized().count,
            freshCiphertext: try madeCiphertexts().0.serialized().count)
    }

    // MARK: Operands

    func madePlaintext() throws -> BFVPlaintext {
        let made = try plaintext ?? encoder.encode(values)
        plaintext = made
        return made
    }

    func madeCiphertexts() throws -> (Ciphertext, Ciphertext) {
        if let left, let right { return (left, right) }
        let key = try bench.publicKey()
        let first = try key.encrypt(madePlaintext())
        let second = try key.encrypt(encoder.encode(factors))
        left = first
        right = second
        return (first, second)
    }
}
