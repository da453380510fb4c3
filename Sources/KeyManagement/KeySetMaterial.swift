import Attestation
import HomomorphicEncryption
import SecretKeys
import SecretMemory

/// A seed on its way through closures and tasks, which cannot carry noncopyable values. Wiped with its
/// last reference.
final class SeedHolder: Sendable {
    let seed: Seed
    init(_ seed: consuming Seed) { self.seed = seed }
}

/// A secret key on its way through closures and tasks. Wiped with its last reference.
final class SecretKeyHolder: Sendable {
    let key: SecretKey
    init(_ key: consuming SecretKey) { self.key = key }

    var byteCount: Int { key.byteCount }

    func decryptRaw(_ ciphertext: Ciphertext) throws -> CKKSPlaintext { try key.decryptRaw(ciphertext) }
    func decryptBFV(_ ciphertext: Ciphertext) throws -> BFVPlaintext { try key.decryptBFV(ciphertext) }
    func release(_ ciphertext: Ciphertext, count: Int?, policy: FloodingPolicy) throws -> ReleasedValues {
        try key.release(ciphertext, count: count, policy: policy)
    }
}

/// A public object of a key set, serialized, with its entry in the manifest.
typealias MadeObject = (entry: KeySetObject, bytes: [UInt8])

/// A seed and its secret key for the time of one operation: makes the public objects.
final class KeySetMaterial: Sendable {
    let context: EncryptionContext
    private let holder: SeedHolder
    let secret: SecretKeyHolder

    init(_ holder: SeedHolder, context: EncryptionContext) throws {
        self.context = context
        self.holder = holder
        secret = SecretKeyHolder(try holder.seed.secretKey(context))
    }

    func commitment() throws -> Digest {
        guard let digest = Digest(bytes: try holder.seed.commitment(context.parameterDigest)) else {
            throw KeyManagementError.internalFailure(reason: "a commitment has 32 bytes")
        }
        return digest
    }

    func publicKey() throws -> PublicKey { try holder.seed.publicKey(secret.key) }

    /// Evaluation keys as they are stored, in the order of their ids, made by the threads that are idle.
    func evaluationKeys(_ ids: [EvaluationKeyID]) throws -> [MadeObject] {
        try holder.seed.evaluationKeys(ids, secret.key) { key in
            let (id, bytes) = (key.id, key.serialized())
            return (
                KeySetObject(
                    kind: id.kind == .galois ? .galois : .relinearization, galois: id.galois, level: id.level,
                    generation: id.generation, bytes: bytes.count, digest: Digest(of: bytes)), bytes
            )
        }
    }

    /// A manifest with the seed's proof.
    func manifest(_ body: (borrowing SecretBytes, Digest) -> KeySetManifest) throws -> KeySetManifest {
        body(try holder.seed.manifestKey(context.parameterDigest), try commitment())
    }
}
