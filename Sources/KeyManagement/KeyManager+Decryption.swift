import Attestation
import ComplexModule
import HomomorphicEncryption
import Observability
import RealModule
import SecretKeys
import SecretMemory

/// A serialized ciphertext with the digest by which it is on record: computed once, because ciphertexts are large.
public struct ReceivedCiphertext: Sendable {
    public let bytes: [UInt8]
    public let digest: Digest

    public init(_ bytes: [UInt8]) {
        self.bytes = bytes
        digest = Digest(of: bytes)
    }
}

/// Decrypted vectors, with how they were released.
public struct DecryptionResult: Sendable {
    /// Approximate numbers; none under a BFV key set.
    public let vectors: [[Complex<Double>]]
    /// Exact integers; none under a CKKS key set.
    public let integers: [[Int64]]
    public let release: ReleaseNoise
    /// The noise that was added; nil for raw and exact results.
    public let flooding: FloodedRelease?
    /// nil where there is no limit.
    public let decryptionsLeft: Int?
    /// Something was decrypted that nobody vouches for: `decrypt.any`.
    public let exposes: Bool
    public let timings: StepTimings

    fileprivate init(
        _ vectors: DecryptedVectors, release: ReleaseNoise, flooding: FloodedRelease?, decryptionsLeft: Int?,
        exposes: Bool, timings: StepTimings
    ) {
        switch vectors {
        case .complex(let vectors): (self.vectors, integers) = (vectors, [])
        case .integers(let vectors): (self.vectors, integers) = ([], vectors)
        }
        self.release = release
        self.flooding = flooding
        self.decryptionsLeft = decryptionsLeft
        self.exposes = exposes
        self.timings = timings
    }
}

extension KeyManager {
    /// Decrypts ciphertexts that this service encrypted or that an open job's receipt covers, and releases them as the
    /// key set's policy says: results of its circuit, and what was encrypted for it, each under the bound of its own
    /// error. What nobody vouches for comes back raw, by `decrypt.any`, and exposes the key set.
    ///
    /// Everything that can be checked is checked before the seed is opened, and fails by name; after it
    /// there is one uniform error, which counts.
    /// - Parameters:
    ///   - count: slots of each ciphertext that are released; all where nil.
    ///   - form: what the values are asked for as.
    ///   - expected: refuses a key set of another release; nil for whatever it has.
    ///   - allowsUnvouched: whether an access policy lets the requester decrypt what nobody vouches for, where key set
    ///     and configuration grant it, too.
    public func decrypt(
        _ ciphertexts: [ReceivedCiphertext], of keySet: String, count: Int? = nil, form: ValueForm = .standard,
        expecting expected: ReleaseNoise? = nil, allowsUnvouched: Bool,
        as requester: Requester
    ) async throws(KeyManagementError) -> DecryptionResult {
        guard (1...Self.maximumVectors).contains(ciphertexts.count) else {
            throw .invalidRequest(reason: "1 to \(Self.maximumVectors) ciphertexts in one request")
        }
        let generation = secretKeys?.generation ?? 0
        let row = try await activeRow(keySet, for: requester).row
        let manifest = try await manifest(row).body
        let flooding = manifest.policy.flooding
        if let expected { try manifest.requireRelease(expected) }
        guard manifest.policy.audience == .owner || !row.tainted else { throw .keySetTainted(keySet) }
        var vouchers: [Voucher?] = []
        for ciphertext in ciphertexts {
            let voucher = try await voucher(for: ciphertext.digest, under: keySet, as: requester)
            guard
                voucher != nil
                    || allowsUnvouched && manifest.policy.decryptAny && row.owner == requester.owner
                        && configuration.decryptAnyOwners.contains(row.owner)
            else { throw .notVouched(ciphertext.digest) }
            vouchers.append(voucher)
        }
        let exposes = vouchers.contains { $0 == nil }
        guard !exposes || flooding == nil || vouchers.allSatisfy({ $0 == nil }) else {
            throw .invalidRequest(reason: "what nobody vouches for comes back raw: decrypt it in a request of its own")
        }
        let parsed: [Ciphertext]
        do {
            let context = try EncryptionContext.shared(manifest.parameters)
            guard (0...context.parameters.slotCount).contains(count ?? 0) else {
                throw HEError.tooManyValues(count: count ?? 0, slots: context.parameters.slotCount)
            }
            try context.messages().require(form)
            parsed = try await compute.run {
                try ciphertexts.map { received throws(HEError) in
                    try Ciphertext(serialized: received.bytes, context: context)
                }
            }
        } catch { throw KeyManagementError(error) }
        // One for each; none where all leave raw.
        var policies: [FloodingPolicy] = []
        if let flooding, !exposes {
            for (voucher, ciphertext) in zip(vouchers, parsed) {
                policies.append(try policy(flooding, manifest, voucher, ciphertext))
            }
        }
        let caller = try Self.caller(manifest.sealing.authority, requester)
        let (current, sealed) = try await currentSealedObjects(manifest)

        // The noise is for so many releases and no more.
        guard flooding == nil || row.budget != nil else { throw .metadataTampered(collection: KeySetRow.collection) }
        if let budget = row.budget, budget < ciphertexts.count { throw Self.exhausted() }

        var timings = StepTimings()
        let cacheName = caller == .service ? SecretKeyCache.Name(keySet: keySet, manifest: row.manifest) : nil
        let cached = cacheName.flatMap { secretKeys?.take($0) }
        var opened: SeedHolder?
        let asked = ContinuousClock.now
        if cached == nil {
            do {
                opened = try await timed("open", &timings) {
                    try await openCurrent(sealed, manifest: current, as: caller)
                }
            } catch let error as UniformFailure {
                throw await failure(error, keySet)
            } catch { throw KeyManagementError(error) }
        }

        // Debited before anything is released, and not given back; a KMS that is down costs nothing.
        let spent = ciphertexts.count
        let (released, isShared) = (policies, manifest.policy.audience == .shared)
        let release = policies.isEmpty ? manifest.parameters.scheme.unfloodedRelease : .flooded
        let debited = try await change(keySet) { row throws(KeyManagementError) in
            guard row.standing == .active else { throw .keySetNotActive(keySet, state: row.standing) }
            guard !isShared || !row.tainted else { throw .keySetTainted(keySet) }
            if let budget = row.budget {
                guard budget >= spent else { throw Self.exhausted() }
                row.budget = budget - spent
            }
            row.decryptions += spent
            row.exposed = row.exposed || exposes
            row.tainted = row.tainted || release == .raw
        }
        MetricCatalog.decryptions.increment(by: spent)

        do {
            let context = try EncryptionContext.shared(manifest.parameters)
            let key: SecretKeyHolder
            if let cached {
                key = cached
            } else {
                guard let seed = opened.take() else { throw UniformFailure() }
                key = try await timed("secretKeyFromSeed", &timings) {
                    try await compute.run { try KeySetMaterial(seed, context: context).secret }
                }
                if let cacheName { secretKeys?.keep(key, as: cacheName, opened: asked, generation: generation) }
            }
            let vectors = try await timed("decryption", &timings) {
                try await compute.run {
                    try context.messages().decrypt(
                        parsed, by: key, count: count, form: form, policies: released)
                }
            }
            if current.sealing.authority == .principal, current.sealing.provider != kms.current.name {
                await moveWithPrincipal(keySet, as: requester)
            }
            return DecryptionResult(
                vectors, release: release, flooding: released.isEmpty ? nil : flooding,
                decryptionsLeft: debited.budget, exposes: exposes, timings: timings)
        } catch {
            // A full pool, missing memory or a client that left say nothing of key or ciphertext, and must not
            // suspend anybody's key set.
            switch error {
            case is ComputeSaturated, is CancellationError, is SecretMemoryError: throw KeyManagementError(error)
            default: throw await failure(UniformFailure(), keySet)
            }
        }
    }

    /// Whether key set and configuration grant the requester `decrypt.any`.
    public func grantsUnvouched(_ access: KeySetAccess, to requester: Requester) -> Bool {
        access.manifest?.policy.decryptAny == true && access.owner == requester.owner
            && configuration.decryptAnyOwners.contains(access.owner)
    }

    /// The same for ciphertexts whose digests nobody else needs, and nobody to ask beside key set and configuration.
    public func decrypt(
        _ ciphertexts: [[UInt8]], of keySet: String, count: Int? = nil, form: ValueForm = .standard,
        expecting expected: ReleaseNoise? = nil, as requester: Requester
    ) async throws(KeyManagementError) -> DecryptionResult {
        try await decrypt(
            ciphertexts.map { ReceivedCiphertext($0) }, of: keySet, count: count, form: form, expecting: expected,
            allowsUnvouched: true, as: requester)
    }

    private static func exhausted() -> KeyManagementError {
        MetricCatalog.budgetsExhausted.increment()
        return .budgetExhausted
    }

    /// Why a ciphertext is believed to be honest.
    private enum Voucher: Equatable {
        /// This service encrypted it.
        case encrypted
        /// The result of a job over the circuit of this digest.
        case result(circuit: Digest)
    }

    private func voucher(
        for digest: Digest, under keySet: String, as requester: Requester
    ) async throws(KeyManagementError) -> Voucher? {
        let id = CiphertextRow.id(keySet: keySet, digest: digest)
        guard let row = try await records.read(CiphertextRow.self, id: id)?.row, row.keySet == keySet else {
            return nil
        }
        guard let job = row.job else { return .encrypted }
        guard let jobRow = try await records.read(JobRow.self, id: job)?.row, jobRow.state == .evaluated,
            jobRow.keySet == keySet, jobRow.outputs.contains(digest)
        else { return nil }
        // Whoever opened the job: who runs the unit can make its result be anything, so that it tells the key.
        if let runner = jobRow.operator, requester.owners.contains(runner) { throw .unitIsRequester(unit: jobRow.unit) }
        return .result(circuit: jobRow.profile)
    }

    /// The noise for one ciphertext of a flooded key set, checked to go with it.
    private func policy(
        _ flooding: FloodedRelease, _ manifest: KeySetManifest, _ voucher: Voucher?, _ ciphertext: Ciphertext
    ) throws(KeyManagementError) -> FloodingPolicy {
        guard let profile = manifest.profile else { throw .objectTampered("manifest") }
        do {
            try flooding.validate(for: profile)
            var policy = flooding.policy
            switch voucher {
            case .result(let circuit):
                guard circuit == profile.digest else { throw KeyManagementError.otherCircuit(keySet: manifest.keySet) }
            case .encrypted, nil:
                policy = try flooding.inputPolicy(of: profile)
                guard policy.disturbance(logN: profile.parameters.logN) <= flooding.precision else {
                    throw KeyManagementError.precisionNotKept(precision: flooding.precision)
                }
            }
            try policy.check(ciphertext)
            return policy
        } catch { throw KeyManagementError(error) }
    }

    /// Counts a failure; at the limit that suspends the key set (``KeySetRow/standing``).
    /// - Returns: the uniform error, or why the failure could not be counted. The latter tells a requester nothing of
    ///   key or ciphertext: where this write fails, the debit before a release fails alike.
    private func failure(_: UniformFailure, _ keySet: String) async -> KeyManagementError {
        logger.error("decryption failed after the seed was opened", metadata: ["keySet": "\(keySet)"])
        MetricCatalog.decryptionFailures.increment()
        // In a task of its own: a requester who hangs up in time would have it not counted.
        let counting = Task {
            let row = try await change(keySet) { row throws(KeyManagementError) in row.failures += 1 }
            if row.standing != row.state {
                MetricCatalog.suspensions.increment()
                _ = try? await transition(keySet, to: row.standing)
            }
        }
        do {
            try await counting.value
            return .decryptionFailed
        } catch {
            logger.error("the failure could not be counted", metadata: ["keySet": "\(keySet)"])
            return KeyManagementError(error)
        }
    }
}

extension KeySetManifest {
    /// Refuses a key set that releases otherwise than the caller relies on.
    package func requireRelease(_ expected: ReleaseNoise) throws(KeyManagementError) {
        guard expected != policy.release else { return }
        guard parameters.scheme.messages.releases.contains(expected) else {
            throw .otherScheme(keySet: parameters.scheme)
        }
        throw expected == .flooded ? .keySetIsRaw(keySet) : .keySetIsFlooded(keySet)
    }
}
