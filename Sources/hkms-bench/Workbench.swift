import Foundation
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory

/// One key set and the operands of every operation, each made when it is first needed.
final class Workbench {
    private let context: EncryptionContext
    private let encoder: CKKSEncoder
    private let evaluator: CKKSEvaluator
    private let scale: Double
    private let values: [Double]
    private let factors: [Double]
    private let seed: Seed
    private let secret: SecretKey
    private let relinearizationID: EvaluationKeyID
    private let rotationID: EvaluationKeyID

    private var publicKey: PublicKey?
    private var keys = EvaluationKeySet()
    private var plaintext: CKKSPlaintext?
    private var left: Ciphertext?
    private var right: Ciphertext?

    init(_ parameters: EncryptionParameters, scaleBits: Int) throws {
        context = try EncryptionContext(parameters)
        encoder = try CKKSEncoder(context)
        evaluator = CKKSEvaluator(context)
        scale = Double(sign: .plus, exponent: scaleBits, significand: 1)
        values = Self.operand(count: encoder.slotCount, step: 7919)
        factors = Self.operand(count: encoder.slotCount, step: 5077)
        // A seed that everybody knows: key generation takes the same steps in every run.
        var bytes = try SecretBytes(count: Seed.byteCount)
        bytes.withUnsafeMutableBytes { $0.copyBytes(from: (0..<UInt8(Seed.byteCount))) }
        guard let seed = Seed(bytes) else { throw BenchmarkError.notPrepared }
        secret = try seed.secretKey(context)
        self.seed = seed
        let level = context.maximumLevel
        relinearizationID = EvaluationKeyID(kind: .relinearization, level: level)
        rotationID = EvaluationKeyID(
            kind: .galois, galois: UInt32(GaloisAutomorphism.element(rotatingBy: 1, degree: context.degree)),
            level: level)
    }

    /// Values between -1 and 1 without a pattern that a transform would notice.
    private static func operand(count: Int, step: Int) -> [Double] {
        (0..<count).map { index in
            let residue = (index * index + index * step + 17) % 8191
            return Double(residue - 4095) / 4096
        }
    }

    // MARK: Timing

    /// Makes what the operation takes for granted.
    func prepare(_ operation: Operation) throws {
        switch operation {
        case .secretKey, .keyPair, .relinearizationKey, .rotationKey, .encode: break
        case .encrypt:
            _ = try madePublicKey()
            _ = try madePlaintext()
        case .plainMultiply:
            _ = try madeCiphertexts()
            _ = try madePlaintext()
        case .decrypt, .decryptDecode, .add: _ = try madeCiphertexts()
        case .multiply:
            _ = try madeCiphertexts()
            try makeKey(relinearizationID)
        case .rotate:
            _ = try madeCiphertexts()
            try makeKey(rotationID)
        }
    }

    /// Once; the result is dropped.
    func perform(_ operation: Operation) throws {
        switch operation {
        case .secretKey: _ = try seed.secretKey(context)
        case .keyPair:
            let secret = try seed.secretKey(context)
            _ = try seed.publicKey(secret)
        case .relinearizationKey: _ = try seed.evaluationKey(relinearizationID, secret)
        case .rotationKey: _ = try seed.evaluationKey(rotationID, secret)
        case .encode: _ = try encoder.encode(values, scale: scale)
        case .encrypt: _ = try made(publicKey).encrypt(made(plaintext))
        case .decrypt: _ = try secret.decryptRaw(made(left))
        case .decryptDecode: _ = try encoder.decodeReal(secret.decryptRaw(made(left)))
        case .add: _ = try evaluator.add(made(left), made(right))
        case .plainMultiply: _ = try evaluator.rescale(evaluator.multiply(made(left), made(plaintext)))
        case .multiply: _ = try evaluator.rescale(evaluator.multiply(made(left), made(right), keys: keys))
        case .rotate: _ = try evaluator.rotate(made(left), by: 1, keys: keys)
        }
    }

    /// Milliseconds of each repetition: at least one, fewer than `count` once `seconds` are over.
    func sample(_ operation: Operation, count: Int, seconds: Double?) throws -> [Double] {
        let clock = ContinuousClock()
        let begin = clock.now
        var result: [Double] = []
        result.reserveCapacity(count)
        for _ in 0..<count {
            let start = clock.now
            try perform(operation)
            let end = clock.now
            result.append(((end - start) / .nanoseconds(1)).rounded() / 1e6)
            if let seconds, end - begin > .seconds(seconds) { break }
        }
        return result
    }

    // MARK: What the times stand for

    struct Check: Encodable {
        /// Largest absolute errors of slots, for values between -1 and 1.
        let encrypted, sum, plainProduct, product, rotated: Double
        /// Of the values times 1 and rescaled, until no level is left.
        let lastLevel: Double
    }

    func check() throws -> Check {
        for operation in Operation.allCases { try prepare(operation) }
        let (left, right) = try madeCiphertexts()
        func error(_ ciphertext: Ciphertext, _ expected: (Int) -> Double) throws -> Double {
            let found = try encoder.decodeReal(secret.decryptRaw(ciphertext))
            return found.indices.reduce(0) { max($0, (found[$1] - expected($1)).magnitude) }
        }
        let slots = encoder.slotCount
        return Check(
            encrypted: try error(left) { values[$0] },
            sum: try error(evaluator.add(left, right)) { values[$0] + factors[$0] },
            plainProduct: try error(evaluator.rescale(evaluator.multiply(left, made(plaintext)))) {
                values[$0] * values[$0]
            },
            product: try error(evaluator.rescale(evaluator.multiply(left, right, keys: keys))) {
                values[$0] * factors[$0]
            },
            rotated: try error(evaluator.rotate(left, by: 1, keys: keys)) { values[($0 + 1) % slots] },
            lastLevel: try error(lowered(left)) { values[$0] })
    }

    struct Sizes: Encodable {
        let publicKey, relinearizationKey, rotationKey, freshCiphertext, lastLevelCiphertext: Int
    }

    /// Bytes as serialized.
    func sizes() throws -> Sizes {
        try prepare(.multiply)
        try prepare(.rotate)
        let fresh = try madeCiphertexts().0
        return Sizes(
            publicKey: try madePublicKey().serialized().count,
            relinearizationKey: try made(keys.relinearization).serialized().count,
            rotationKey: try made(keys.galois[rotationID.galois]).serialized().count,
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

    private func made<Value>(_ value: Value?) throws -> Value {
        guard let value else { throw BenchmarkError.notPrepared }
        return value
    }

    private func madePublicKey() throws -> PublicKey {
        let key = try publicKey ?? seed.publicKey(secret)
        publicKey = key
        return key
    }

    private func madePlaintext() throws -> CKKSPlaintext {
        let made = try plaintext ?? encoder.encode(values, scale: scale)
        plaintext = made
        return made
    }

    private func madeCiphertexts() throws -> (Ciphertext, Ciphertext) {
        if let left, let right { return (left, right) }
        let key = try madePublicKey()
        let first = try key.encrypt(madePlaintext())
        let second = try key.encrypt(encoder.encode(factors, scale: scale))
        left = first
        right = second
        return (first, second)
    }

    private func makeKey(_ id: EvaluationKeyID) throws {
        let known = id.kind == .relinearization ? keys.relinearization : keys.galois[id.galois]
        if known == nil { keys.insert(try seed.evaluationKey(id, secret)) }
    }
}
