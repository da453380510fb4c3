import Attestation
import HomomorphicEncryption
import SecretKeys
import SecretMemory

/// The making of a key set: its seed, what seals it, its keys, its first manifest.
extension KeyManager {
    /// Makes and stores everything but the anchor row.
    func create(
        _ request: RegistrationRequest, keySet: String, as requester: Requester, timings: inout StepTimings
    ) async throws -> SignedStatement<KeySetManifest> {
        let context = try EncryptionContext.shared(request.parameters)
        let holder = SeedHolder(try await generateSeed())
        let sealing = try await timed("seal", &timings) {
            do {
                return try await seal(holder, request: request, keySet: keySet, as: requester)
            } catch let error as KMSError {
                throw Self.refusal(error, of: try Self.caller(kms.current.authority, requester))
            }
        }
        let material = try await timed("secretKey", &timings) {
            try await compute.run { try KeySetMaterial(holder, context: context) }
        }
        var entries: [KeySetObject] = []
        func put(_ made: [MadeObject], _ timings: inout StepTimings) async throws {
            for (entry, bytes) in made {
                try await timed("store", &timings) {
                    try await objects.put(bytes, at: objectKey(keySet, entry.name), onlyIfAbsent: false)
                }
                entries.append(entry)
            }
        }
        let publicKey = try await timed("keyCreation", &timings) {
            try await compute.run { try material.publicKey().serialized() }
        }
        let publicEntry = KeySetObject(
            kind: .publicKey, galois: 0, level: context.maximumLevel, generation: 0, bytes: publicKey.count,
            digest: Digest(of: publicKey))
        try await put([(publicEntry, publicKey)], &timings)
        try await makeEvaluationKeys(request.evaluationKeys, of: material, timings: &timings, put)
        let now = clock()
        let manifest = try material.manifest { manifestKey, commitment in
            KeySetManifest(
                keySet: keySet, version: 1, installation: configuration.installation, tenant: configuration.tenant,
                owner: request.owner, parameters: request.parameters,
                parameterDigest: Digest(bytes: context.parameterDigest) ?? commitment, suite: 1, generation: 0,
                origin: .derived, sealing: sealing, commitment: commitment, objects: entries, state: .active,
                dates: .init(created: now, activated: now), policy: request.policy, profile: request.profile,
                manifestKey: manifestKey)
        }
        let signed = try SignedStatement(manifest, by: keys.manifestKey)
        try await timed("store", &timings) { try await store(signed) }
        return signed
    }

    /// 256 bits of the system's generator, mixed with the KMS's where it has one.
    func generateSeed() async throws -> Seed {
        let kms = kms.current.kms
        let contribution = kms.capabilities.random ? try await kms.random(count: 32) : try SecretBytes(count: 0)
        return try Seed.generate(mixing: contribution)
    }

    private func seal(
        _ holder: SeedHolder, request: RegistrationRequest, keySet: String, as requester: Requester
    ) async throws -> KeySetManifest.Sealing {
        func context(_ object: SealingContext.Object) -> SealingContext {
            SealingContext(
                installation: configuration.installation, tenant: configuration.tenant, owner: request.owner,
                keySet: keySet, parameters: request.parameters, suite: 1, origin: .derived, object: object,
                mode: request.mode)
        }
        let configured = kms.current
        let authority = configured.authority
        let caller = try Self.caller(authority, requester)
        let key = try await sealingKey(at: configured, for: keySet, as: caller)
        var sealing = KeySetManifest.Sealing(
            mode: request.mode, provider: configured.name, keyName: key.value, keyVersion: nil, epoch: 1,
            sealedSeed: nil, sealedDataKey: nil, authority: authority)
        let sealedSeed: SealedObject
        if request.mode == .envelope {
            let dataKey = try await configured.kms.generateDataKey(under: key, context: context(.dataKey), as: caller)
            let sealedDataKey = try SealedObject(object: .dataKey, sealedBy: .kms, blob: dataKey.sealed).serialized()
            sealing.keyVersion = dataKey.sealed.keyVersion
            sealing.sealedDataKey = Digest(of: sealedDataKey)
            let blob = try holder.seed.withSecretBytes { seed in
                try EnvelopeEncryption.seal(seed, dataKey: dataKey.plaintext, context: context(.seed))
            }
            sealedSeed = try SealedObject(
                object: .seed, sealedBy: .dataKey, blob: KMSSealedBlob(bytes: blob, keyVersion: nil))
            try await objects.put(
                sealedDataKey, at: objectKey(keySet, Self.sealedDataKeyName), onlyIfAbsent: false)
        } else {
            let copy = try holder.seed.copyForSealing()
            let blob = try await configured.kms.seal(copy, under: key, context: context(.seed), as: caller)
            sealing.keyVersion = blob.keyVersion
            sealedSeed = try SealedObject(object: .seed, sealedBy: .kms, blob: blob)
        }
        let bytes = sealedSeed.serialized()
        sealing.sealedSeed = Digest(of: bytes)
        try await objects.put(bytes, at: objectKey(keySet, Self.sealedSeedName), onlyIfAbsent: false)
        try await requireNotRetired(sealing)
        return sealing
    }

    /// The key under which a key set is to be sealed at a KMS, made where it is the key set's or the principal's own.
    func sealingKey(
        at configured: ConfiguredKMS, for keySet: String, as caller: KMSCaller
    ) async throws -> KMSKeyName {
        switch configured.placement {
        case .shared: return configured.key
        case .perPrincipal: return try await configured.kms.principalKey(of: caller)
        case .perKeySet:
            guard let own = KMSKeyName("\(configured.key)-\(keySet)") else {
                throw KeyManagementError.kms(
                    .notSupported(operation: "keys named after \(configured.key) and a key set: choose a shorter name"))
            }
            try await configured.kms.createKey(own)
            return own
        }
    }

    // MARK: Evaluation keys

    /// Memory of the keys that are made together, 8 bytes a residue, but for one that takes more alone: a set of them may
    /// be larger than memory, and one alone leaves threads without work.
    private static let chunkBytes = 64 << 20

    /// Makes evaluation keys, as many together as have room, and hands them on in the order of their ids while the next
    /// ones are made.
    ///
    /// Nothing of it goes on when it has thrown: neither the making of keys nor `take`.
    func makeEvaluationKeys(
        _ ids: [EvaluationKeyID], of material: KeySetMaterial, timings: inout StepTimings,
        _ take: ([MadeObject], inout StepTimings) async throws -> Void
    ) async throws {
        var made: [MadeObject] = []
        for chunk in Self.chunks(of: ids, material.context) {
            async let next = makeChunk(chunk, of: material)
            try await take(made, &timings)
            let duration: Duration
            (made, duration) = try await next
            timings.add("keyCreation", duration)
        }
        try await take(made, &timings)
    }

    private func makeChunk(
        _ ids: [EvaluationKeyID], of material: KeySetMaterial
    ) async throws -> ([MadeObject], Duration) {
        let start = ContinuousClock.now
        let made = try await compute.run { try material.evaluationKeys(ids) }
        return (made, ContinuousClock.now - start)
    }

    private static func chunks(of ids: [EvaluationKeyID], _ context: EncryptionContext) -> [[EvaluationKeyID]] {
        var chunks: [[EvaluationKeyID]] = []
        var room = 0
        for id in ids {
            let parameters = context.parameters
            let bytes = parameters.digitCount(level: id.level) * (id.level + parameters.p.count) * context.degree * 8
            if room < bytes {
                chunks.append([])
                room = chunkBytes
            }
            chunks[chunks.count - 1].append(id)
            room -= bytes
        }
        return chunks
    }
}
