import Attestation
import EncryptedInference
import Foundation
import HomomorphicEncryption
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// A key set made from a fixed seed for one model, with everything that a gateway would have of it.
struct KeySetFixture: Sendable {
    let model: CompiledModel
    let descriptor: ModelDescriptor
    let publicKey: PublicKey
    /// Serialized evaluation keys by digest.
    let keys: [Digest: [UInt8]]
    let manifest: KeySetManifest
    private let seedBytes: [UInt8]

    /// A model compiled for flooded results makes a flooded key set.
    /// - Parameter seedByte: 32 of it are the seed.
    init(_ model: CompiledModel, seedByte: UInt8 = 7, keySet: String = "ks-1") throws {
        self.model = model
        descriptor = ModelDescriptor(model, unit: "unit-1")
        seedBytes = [UInt8](repeating: seedByte, count: 32)
        let seed = try Self.seed(seedBytes)
        let secret = try seed.secretKey(model.context)
        publicKey = try seed.publicKey(secret)
        var objects = [
            Self.object(.publicKey, galois: 0, level: model.context.maximumLevel, publicKey.serialized())
        ]
        var keys: [Digest: [UInt8]] = [:]
        for id in model.plan.profile.evaluationKeys {
            let bytes = try seed.evaluationKey(id, secret).serialized()
            objects.append(
                Self.object(
                    id.kind == .galois ? .galois : .relinearization, galois: id.galois, level: id.level, bytes))
            keys[Digest(of: bytes)] = bytes
        }
        self.keys = keys
        manifest = try Self.manifest(keySet, model.context, objects, seed, descriptor)
    }

    private static func object(
        _ kind: KeySetObject.Kind, galois: UInt32, level: Int, _ bytes: [UInt8]
    ) -> KeySetObject {
        KeySetObject(
            kind: kind, galois: galois, level: level, generation: 0, bytes: bytes.count, digest: Digest(of: bytes))
    }

    private static func manifest(
        _ keySet: String, _ context: EncryptionContext, _ objects: [KeySetObject], _ seed: borrowing Seed,
        _ descriptor: ModelDescriptor
    ) throws -> KeySetManifest {
        let parameterDigest = try #require(Digest(bytes: context.parameterDigest))
        return KeySetManifest(
            keySet: keySet, version: 1, installation: "test", tenant: "default",
            owner: KeySetOwner(kind: .user, issuer: "static", subject: "alice"), parameters: context.parameters,
            parameterDigest: parameterDigest, suite: 1, generation: 0, origin: .derived,
            sealing: .init(
                mode: .ephemeral, provider: "none", keyName: "none", keyVersion: nil, epoch: 0, sealedSeed: nil,
                sealedDataKey: nil),
            commitment: try #require(Digest(bytes: try seed.commitment(context.parameterDigest))), objects: objects,
            state: .active, dates: .init(created: Date()),
            policy: descriptor.flooding.map { .flooded($0) } ?? .raw(),
            profile: descriptor.flooding == nil ? nil : descriptor.profile,
            manifestKey: try seed.manifestKey(context.parameterDigest))
    }

    private static func seed(_ bytes: [UInt8]) throws -> Seed {
        guard let seed = Seed(try SecretBytes(copying: bytes)) else { throw HEError.malformedObject(reason: "seed") }
        return seed
    }

    /// Serialized ciphertexts of as many batches as the records need.
    func encrypt(_ records: [Record]) throws -> [[UInt8]] {
        let profile = descriptor.profile
        return try descriptor.slots(of: records).map {
            try encrypt(slots: $0, scale: profile.scale, level: profile.inputLevel)
        }
    }

    func encrypt(slots: [Double], scale: Double, level: Int) throws -> [UInt8] {
        let plaintext = try CKKSEncoder(model.context).encode(slots, scale: scale, level: level)
        return try publicKey.encrypt(plaintext).serialized()
    }

    /// The scores of one output ciphertext.
    func decrypt(_ output: [UInt8], count: Int) throws -> [Double] {
        let secret = try Self.seed(seedBytes).secretKey(model.context)
        let ciphertext = try Ciphertext(serialized: output, context: model.context)
        let slots = try CKKSEncoder(model.context).decodeReal(secret.decryptRaw(ciphertext), count: count)
        return descriptor.packing.scores(slots, count: count)
    }

    func scoresInTheClear(_ records: [Record]) throws -> [Double] {
        model.model.evaluateInTheClear(try descriptor.inputVectors(of: records))
    }
}
