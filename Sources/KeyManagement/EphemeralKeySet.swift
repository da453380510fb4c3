import Attestation
import ComplexModule
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory

/// A key set that lives for one request: registered, used and forgotten. Nothing of its seed is ever
/// stored; it is wiped with the last reference to this value.
public final class EphemeralKeySet: Sendable {
    public let manifest: SignedStatement<KeySetManifest>
    /// The evaluation keys, serialized, with their entries in the manifest.
    public let evaluationKeys: [(entry: KeySetObject, bytes: [UInt8])]
    private let publicKey: PublicKey
    private let material: KeySetMaterial
    private let manager: KeyManager
    private let requester: Requester

    fileprivate init(
        manifest: SignedStatement<KeySetManifest>, evaluationKeys: [(entry: KeySetObject, bytes: [UInt8])],
        publicKey: PublicKey, material: KeySetMaterial, manager: KeyManager, requester: Requester
    ) {
        self.manifest = manifest
        self.evaluationKeys = evaluationKeys
        self.publicKey = publicKey
        self.material = material
        self.manager = manager
        self.requester = requester
    }

    public var keySet: String { manifest.body.keySet }

    /// Encrypts real vectors at the profile's scale and level.
    public func encrypt(
        _ vectors: [[Double]], profile: CircuitProfile, timings: inout StepTimings
    ) async throws(KeyManagementError) -> [[UInt8]] {
        try KeyManager.requireRoom(for: vectors.count, level: profile.inputLevel, publicKey.context)
        do {
            let encoder = try CKKSEncoder(publicKey.context)
            let key = publicKey
            return try await manager.timed("sampleEncryption", &timings) {
                try await manager.compute.run {
                    try Parallelism.map(below: vectors.count) { index in
                        try key.encrypt(
                            encoder.encode(vectors[index], scale: profile.scale, level: profile.inputLevel)
                        ).serialized()
                    }
                }
            }
        } catch { throw KeyManagementError(error) }
    }

    /// The job over what this key set encrypted, signed; it is answered within the request and not kept.
    public func openJob(
        inputs: [Digest], profile: CircuitProfile, unit: RegisteredUnit
    ) throws(KeyManagementError) -> SignedStatement<JobDescription> {
        guard unit.operator == nil || !requester.owners.contains(where: { $0 == unit.operator }) else {
            throw .unitIsRequester(unit: unit.name)
        }
        let description = JobDescription(
            job: KeyManager.newIdentifier("job"), nonce: try KeyManager.nonce(),
            gateway: manager.configuration.gateway, unit: unit.name, keySet: keySet, manifest: manifest.digest,
            model: profile.model,
            modelDigest: profile.modelDigest, inputs: inputs, created: manager.clock())
        do {
            return try SignedStatement(description, by: manager.keys.requestKey)
        } catch { throw .statementRejected(error) }
    }

    /// Decrypts the outputs that a receipt covers, and releases them as the key set's policy says.
    public func decrypt(
        _ outputs: [[UInt8]], receipt envelope: [UInt8], job: JobDescription, profile: CircuitProfile,
        unit: RegisteredUnit, timings: inout StepTimings
    ) async throws(KeyManagementError) -> [[Double]] {
        let flooding = manifest.body.policy.flooding
        guard outputs.count <= flooding?.policy.budget ?? .max else { throw .budgetExhausted }
        do {
            let receipt = try SignedStatement<Receipt>(verifying: envelope, pinned: [unit.verificationKey])
            try receipt.body.validate(answering: job, profile: profile.digest)
            guard job.unit == unit.name else { throw AttestationError.mismatch(field: "evaluation unit") }
            guard receipt.body.outputs == outputs.map({ Digest(of: $0) }) else {
                throw AttestationError.mismatch(field: "list of outputs")
            }
        } catch let error as AttestationError {
            throw .receiptRejected(error)
        } catch { throw KeyManagementError(error) }
        let (key, context) = (material.secret, material.context)
        let parsed = try await manager.results(outputs, of: profile)
        do {
            if let flooding { for ciphertext in parsed { try flooding.policy.check(ciphertext) } }
        } catch { throw .homomorphicEncryption(error) }
        do {
            return try await manager.timed("decryption", &timings) {
                try await manager.compute.run {
                    if let flooding {
                        return try Parallelism.map(below: parsed.count) {
                            try key.release(parsed[$0], count: nil, policy: flooding.policy).real
                        }
                    }
                    let encoder = try CKKSEncoder(context)
                    return try Parallelism.map(below: parsed.count) {
                        try encoder.decodeReal(key.decryptRaw(parsed[$0]))
                    }
                }
            }
        } catch {
            // As in decrypt of a registered key set: what says nothing of key or ciphertext keeps its name.
            switch error {
            case is ComputeSaturated, is CancellationError, is SecretMemoryError: throw KeyManagementError(error)
            default: throw .decryptionFailed
            }
        }
    }
}

extension KeyManager {
    /// Makes a key set for one request, for a model's circuit.
    public func makeEphemeralKeySet(
        for profile: CircuitProfile, policy: KeySetPolicy, as requester: Requester, timings: inout StepTimings
    ) async throws(KeyManagementError) -> EphemeralKeySet {
        try requireOwnership(by: requester.owner, for: requester)
        do {
            try profile.validate()
            try policy.flooding?.validate(for: profile)
            let context = try EncryptionContext.shared(profile.parameters)
            let holder = SeedHolder(try await generateSeed())
            let material = try await timed("secretKey", &timings) {
                try await compute.run { try KeySetMaterial(holder, context: context) }
            }
            let publicKey = try await timed("keyCreation", &timings) {
                try await compute.run { try material.publicKey() }
            }
            var entries: [MadeObject] = []
            try await makeEvaluationKeys(profile.evaluationKeys, of: material, timings: &timings) { made, _ in
                entries += made
            }
            let serialized = publicKey.serialized()
            let publicEntry = KeySetObject(
                kind: .publicKey, galois: 0, level: context.maximumLevel, generation: 0, bytes: serialized.count,
                digest: Digest(of: serialized))
            let objects = [publicEntry] + entries.map(\.entry)
            let now = clock()
            let body = try material.manifest { manifestKey, commitment in
                KeySetManifest(
                    keySet: Self.newIdentifier("eph"), version: 1, installation: configuration.installation,
                    tenant: configuration.tenant, owner: requester.owner, parameters: profile.parameters,
                    parameterDigest: Digest(bytes: context.parameterDigest) ?? commitment, suite: 1, generation: 0,
                    origin: .derived,
                    sealing: .init(
                        mode: .ephemeral, provider: "none", keyName: "none", keyVersion: nil, epoch: 0,
                        sealedSeed: nil, sealedDataKey: nil),
                    commitment: commitment, objects: objects, state: .active,
                    dates: .init(created: now, activated: now),
                    policy: policy, profile: profile, manifestKey: manifestKey)
            }
            return EphemeralKeySet(
                manifest: try SignedStatement(body, by: keys.manifestKey), evaluationKeys: entries,
                publicKey: publicKey, material: material, manager: self, requester: requester)
        } catch { throw KeyManagementError(error) }
    }
}
