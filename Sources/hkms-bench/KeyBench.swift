import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory

/// One key set, of a seed that everybody knows, and what is timed of its making; the same in all schemes.
final class KeyBench {
    let context: EncryptionContext
    let secret: SecretKey
    private(set) var keys = EvaluationKeySet()

    private let seed: Seed
    private var made: PublicKey?

    /// Rotation keys of ``Operation/keySet``.
    static let rotations = 12

    init(_ parameters: EncryptionParameters) throws {
        context = try EncryptionContext(parameters)
        // Key generation takes the same steps in every run.
        var bytes = try SecretBytes(count: Seed.byteCount)
        bytes.withUnsafeMutableBytes { $0.copyBytes(from: (0..<UInt8(Seed.byteCount))) }
        guard let seed = Seed(bytes) else { throw BenchmarkError.notPrepared }
        secret = try seed.secretKey(context)
        self.seed = seed
    }

    /// At the highest level, as all keys are here.
    var relinearizationID: EvaluationKeyID { EvaluationKeyID(kind: .relinearization, level: context.maximumLevel) }

    func rotationID(steps: Int) -> EvaluationKeyID {
        galoisID(GaloisAutomorphism.element(rotatingBy: steps, degree: context.degree))
    }

    /// Of BFV's rotation of the columns.
    var columnsID: EvaluationKeyID { galoisID(2 * context.degree - 1) }

    private func galoisID(_ element: Int) -> EvaluationKeyID {
        EvaluationKeyID(kind: .galois, galois: UInt32(element), level: context.maximumLevel)
    }

    /// Once; the result is dropped.
    /// - Parameter operation: one that makes keys.
    func perform(_ operation: Operation) throws {
        switch operation {
        case .secretKey: _ = try seed.secretKey(context)
        case .keyPair:
            let secret = try seed.secretKey(context)
            _ = try seed.publicKey(secret)
        case .relinearizationKey: _ = try seed.evaluationKey(relinearizationID, secret)
        case .rotationKey: _ = try seed.evaluationKey(rotationID(steps: 1), secret)
        case .keySet:
            let secret = try seed.secretKey(context)
            _ = try seed.publicKey(secret)
            let ids = [relinearizationID] + (0..<Self.rotations).map { rotationID(steps: $0 + 1) }
            _ = try seed.evaluationKeys(ids, secret)
        default: throw BenchmarkError.noOperation(operation.rawValue)
        }
    }

    func publicKey() throws -> PublicKey {
        let key = try made ?? seed.publicKey(secret)
        made = key
        return key
    }

    /// Makes an evaluation key for what follows.
    func need(_ id: EvaluationKeyID) throws {
        let known = id.kind == .relinearization ? keys.relinearization : keys.galois[id.galois]
        if known == nil { keys.insert(try seed.evaluationKey(id, secret)) }
    }
}
