import Attestation
import HomomorphicEncryption
import SecretKeys
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a new key set shall be.
public struct RegistrationRequest: Sendable, Hashable {
    /// The client's own id of this request, 1 to 128 bytes: repeating it gives the same key set.
    public var requestID: String
    public var mode: ProtectionMode
    /// The registering principal itself, or one of its groups.
    public var owner: KeySetOwner
    public var parameters: EncryptionParameters
    public var evaluationKeys: [EvaluationKeyID]
    /// The circuit that asks for these parameters and keys, where one does.
    public var profile: CircuitProfile?
    public var policy: KeySetPolicy

    public init(
        requestID: String, mode: ProtectionMode, owner: KeySetOwner, parameters: EncryptionParameters,
        evaluationKeys: [EvaluationKeyID], profile: CircuitProfile?, policy: KeySetPolicy
    ) {
        self.requestID = requestID
        self.mode = mode
        self.owner = owner
        self.parameters = parameters
        self.evaluationKeys = evaluationKeys
        self.profile = profile
        self.policy = policy
    }

    /// Evaluation keys of one key set at most.
    static let maximumEvaluationKeys = 1024

    fileprivate var fingerprint: Digest {
        var canonical = CanonicalBytes()
        canonical.append("HKMS-registration-v1")
        for field in [mode.rawValue, owner.kind.rawValue, owner.issuer, owner.subject] { canonical.append(field) }
        canonical.append(parameters.digest)
        for key in evaluationKeys {
            for number in [Int(key.kind.rawValue), Int(key.galois), key.level, Int(key.generation)] {
                canonical.append(number)
            }
        }
        canonical.append(profile?.digest.bytes ?? [])
        canonical.append(policy.release.rawValue)
        canonical.append(policy.decryptAny ? 1 : 0)
        canonical.append(policy.decryptionBudget ?? -1)
        if let flooding = policy.flooding {
            for number in [flooding.precision, flooding.policy.errorBound, flooding.policy.step] {
                canonical.append(Int(bitPattern: UInt(number.bitPattern)))
            }
            for number in [flooding.policy.statisticalBits, flooding.policy.level, flooding.policy.scaleBits] {
                canonical.append(number)
            }
            canonical.append(flooding.policy.audience.rawValue)
        }
        return Digest(of: canonical.bytes)
    }
}

/// What a registration gave.
public struct RegistrationResult: Sendable {
    public let keySet: KeySetDescription
    /// False where the request id had been used for the same request before.
    public let isNew: Bool
    public let timings: StepTimings
}

extension KeyManager {
    /// Registers a key set: seed, sealed seed, public and evaluation keys, manifest. Whole or not at all;
    /// idempotent under the request id.
    public func register(
        _ request: RegistrationRequest, as requester: Requester
    ) async throws(KeyManagementError) -> RegistrationResult {
        try validate(request, requester)
        let registration = registrationID(request, requester)
        guard inFlight.withLock({ $0.insert(registration).inserted }) else { throw .registrationInProgress }
        defer { inFlight.withLock { _ = $0.remove(registration) } }

        let keySet = Self.newIdentifier("ks")
        let reservation = try await reserve(registration, for: request, keySet: keySet)
        switch reservation {
        case .complete(let existing):
            let description = try await show(existing, as: requester)
            return RegistrationResult(keySet: description, isNew: false, timings: StepTimings())
        case .ours(let stored):
            var timings = StepTimings()
            let manifest: SignedStatement<KeySetManifest>
            do {
                manifest = try await create(request, keySet: keySet, as: requester, timings: &timings)
            } catch {
                await abandon(stored, hasEnded: true)
                throw KeyManagementError(error)
            }
            do {
                let description = try await activate(manifest, registration: stored)
                return RegistrationResult(keySet: description, isNew: true, timings: timings)
            } catch {
                // A store may have committed and failed to say so: only where the row is known not to exist are the
                // objects nobody's.
                if let known = try? await rowExists(keySet), !known { await abandon(stored, hasEnded: true) }
                throw error
            }
        }
    }

    /// The first of two gates for a key set that is to be made: it is for the requester or a group of theirs, in the
    /// tenant that is served here.
    /// - Throws: `invalidRequest`.
    public func requireOwnership(by owner: KeySetOwner, for requester: Requester) throws(KeyManagementError) {
        guard requester.isOf(configuration.tenant) else {
            throw .invalidRequest(reason: "this gateway does not serve the tenant of this principal")
        }
        guard requester.owners.contains(owner) else {
            throw .invalidRequest(reason: "a key set is owned by the one who registers it or by one of its groups")
        }
    }

    private func validate(_ request: RegistrationRequest, _ requester: Requester) throws(KeyManagementError) {
        guard (1...128).contains(request.requestID.utf8.count) else {
            throw .invalidRequest(reason: "the request id has 1 to 128 bytes")
        }
        try requireOwnership(by: request.owner, for: requester)
        guard request.mode != .ephemeral else {
            throw .invalidRequest(reason: "an ephemeral key set exists within one prediction and is not registered")
        }
        let capabilities = kms.current.kms.capabilities
        guard capabilities.contextBinding != .none else {
            // docs/threat-model.md: a sealed seed that opens in any context could be moved to another owner.
            throw .kms(.notSupported(operation: "binding a sealed secret to its context"))
        }
        guard capabilities.sealing == .secrets || request.mode == .envelope else {
            throw .invalidRequest(
                reason: "the trusted KMS of this installation seals data keys alone: register with mode envelope")
        }
        if kms.current.placement == .perPrincipal {
            guard request.owner.kind == .user else {
                throw .invalidRequest(
                    reason: "seeds of this installation are sealed under keys of single principals: "
                        + "register for yourself, not for a group")
            }
            guard requester.kmsCredential != nil else { throw .kmsCredentialMissing }
        }
        guard request.parameters.security == .classical128 else {
            throw .invalidRequest(reason: "parameters below 128-bit security are for tests, not for key sets")
        }
        let releases = request.parameters.scheme.messages.releases
        guard releases.contains(request.policy.release) else {
            let names = releases.map(\.rawValue).joined(separator: " or ")
            throw .invalidRequest(reason: "results of this scheme are released \(names)")
        }
        if let flooding = request.policy.flooding { try validate(flooding, request) }
        if let budget = request.policy.decryptionBudget, budget < 0 {
            throw .invalidRequest(reason: "a decryption budget is not negative")
        }
        if request.policy.decryptAny, !configuration.decryptAnyOwners.contains(request.owner) {
            throw .decryptAnyNotGranted
        }
        guard request.evaluationKeys.count <= RegistrationRequest.maximumEvaluationKeys,
            Set(
                request.evaluationKeys.map {
                    [$0.kind.rawValue, UInt16(truncatingIfNeeded: $0.galois), UInt16($0.galois >> 16)]
                }
            )
            .count == request.evaluationKeys.count
        else { throw .invalidRequest(reason: "one evaluation key of each kind and Galois element, at most 1024") }
        do {
            let context = try EncryptionContext.shared(request.parameters)
            // A plaintext modulus that does not batch has no vectors.
            _ = try context.messages()
            for key in request.evaluationKeys {
                guard key.kind != .switching else {
                    throw KeyManagementError.invalidRequest(reason: "switching keys come with rotation")
                }
                try key.validate(for: context)
            }
        } catch { throw KeyManagementError(error) }
    }

    private func validate(
        _ flooding: FloodedRelease, _ request: RegistrationRequest
    ) throws(KeyManagementError) {
        guard let profile = request.profile, profile.parameters.digest == request.parameters.digest else {
            throw .invalidRequest(reason: "flooded release is planned for a circuit: there is none of these parameters")
        }
        guard
            flooding.policy.statisticalBits >= FloodingPolicy.defaultStatisticalBits
                || flooding.policy.audience == .owner && request.owner.kind != .group
        else {
            throw .invalidRequest(
                reason: "results that others see have a statistical security of at least "
                    + "\(FloodingPolicy.defaultStatisticalBits) bits")
        }
        guard flooding.policy.audience == .owner || !request.policy.decryptAny else {
            throw .invalidRequest(reason: "a key set whose results are shared decrypts no unvouched ciphertext")
        }
        do {
            try profile.validate()
            try flooding.policy.validate()
            try flooding.validate(for: profile)
        } catch let error as AttestationError {
            throw .invalidRequest(reason: error.description)
        } catch { throw KeyManagementError(error) }
    }

    private func registrationID(_ request: RegistrationRequest, _ requester: Requester) -> String {
        var canonical = CanonicalBytes()
        for field in [requester.tenant, requester.issuer, requester.subject, request.requestID] {
            canonical.append(field)
        }
        return Digest(of: canonical.bytes).hex
    }

    private enum Reservation {
        case ours(Stored<RegistrationRow>)
        case complete(String)
    }

    /// Takes the request id for this attempt, or finds what an earlier one made.
    ///
    /// Each attempt has a key set id of its own, so that nothing of a broken one can be taken for a part
    /// of the next.
    private func reserve(
        _ registration: String, for request: RegistrationRequest, keySet: String
    ) async throws(KeyManagementError) -> Reservation {
        let row = RegistrationRow(
            keySet: keySet, fingerprint: request.fingerprint, instance: instance, status: .creating, started: clock())
        do {
            if let existing = try await records.read(RegistrationRow.self, id: registration) {
                guard existing.row.fingerprint == row.fingerprint else { throw KeyManagementError.requestIDReused }
                if existing.row.status == .complete { return .complete(existing.row.keySet) }
                guard
                    existing.row.instance == instance || existing.row.status == .abandoned || isAbandoned(existing.row)
                else { throw KeyManagementError.registrationInProgress }
                var stored = try await markAbandoned(existing)
                // While the row still names them.
                try await removeLeftovers(of: stored.row.keySet)
                stored.row = row
                stored.index = row.status.rawValue
                try await records.apply([try records.update(stored)])
                return .ours(Stored(id: registration, index: stored.index, version: stored.version + 1, row: row))
            }
            try await records.apply([try records.insertion(row, id: registration, index: row.status.rawValue)])
            return .ours(Stored(id: registration, index: row.status.rawValue, version: 1, row: row))
        } catch {
            if case KeyManagementError.metadataStore(.conflict) = error { throw .registrationInProgress }
            throw KeyManagementError(error)
        }
    }

    /// Makes the key set exist: anchor row and finished registration in one transaction.
    private func activate(
        _ manifest: SignedStatement<KeySetManifest>, registration: Stored<RegistrationRow>
    ) async throws(KeyManagementError) -> KeySetDescription {
        let body = manifest.body
        let row = KeySetRow(
            keySet: body.keySet, tenant: body.tenant, owner: body.owner, manifestVersion: 1, manifest: manifest.digest,
            state: .active, created: body.dates.created, budget: body.policy.decryptionBudget,
            tainted: body.policy.release == .raw)
        var finished = registration
        finished.row.status = .complete
        finished.index = finished.row.status.rawValue
        let index = Requester.index(tenant: body.tenant, owner: body.owner)
        try await records.apply([
            try records.insertion(row, id: body.keySet, index: index),
            try records.update(finished),
        ])
        manifests.withLock { $0[manifest.digest] = manifest }
        return try await description(row, manifest: manifest)
    }

    /// A server of the KMS that lags behind seals, and opens, under a version that is being destroyed.
    /// Asked when the seal is stored, where a job that retires versions sees it if this does not see the job.
    func requireNotRetired(_ sealing: KeySetManifest.Sealing) async throws(KeyManagementError) {
        guard let version = sealing.keyVersion,
            let retired = try await records.read(RewrapJobRow.self, id: RewrapJobRow.id)?.row.retired,
            retired.provider == sealing.provider, retired.keyName == sealing.keyName,
            let stays = retired.keyVersion, version < stays
        else { return }
        throw .kms(
            .unavailable(
                reason: "it sealed under version \(version) of \(sealing.keyName), of which those below \(stays) are "
                    + "destroyed: a server of it lags behind; try again. Where the key was made anew instead, "
                    + "choose one of another name"))
    }

    /// Frees the request id of an attempt that failed and removes what it stored. What the stores do not let it remove
    /// now is found again: the row keeps its index until nothing is left.
    /// - Parameter hasEnded: whether this is the attempt itself, so that nothing is written after it.
    /// - Returns: whether nothing is left.
    @discardableResult
    private func abandon(_ registration: Stored<RegistrationRow>, hasEnded: Bool) async -> Bool {
        let marked = try? await markAbandoned(registration)
        guard marked != nil || hasEnded, (try? await removeLeftovers(of: registration.row.keySet)) != nil, var marked
        else { return false }
        marked.index = RegistrationRow.Status.abandoned.rawValue
        return (try? await records.apply([records.update(marked)])) != nil
    }

    /// First the row, so that the attempt cannot finish while its objects go.
    private func markAbandoned(
        _ registration: Stored<RegistrationRow>
    ) async throws(KeyManagementError) -> Stored<RegistrationRow> {
        if registration.row.status == .abandoned { return registration }
        var marked = registration
        marked.row.status = .abandoned
        try await records.apply([try records.update(marked)])
        return Stored(id: marked.id, index: marked.index, version: marked.version + 1, row: marked.row)
    }

    /// Another process may still be at it; after ten minutes it is not. One that started in the future was dated by a
    /// clock that has stepped since.
    private func isAbandoned(_ row: RegistrationRow) -> Bool {
        clock().timeIntervalSince(row.started).magnitude > 600
    }

    /// Removes what registrations left that a crash broke off. Their request ids are free again.
    ///
    /// The row stays, with a higher version: an attempt that is only slow finds it changed and fails, however late
    /// it comes.
    /// - Returns: how many there were.
    @discardableResult
    public func removeAbandonedRegistrations() async throws(KeyManagementError) -> Int {
        var count = 0
        let index = RegistrationRow.Status.creating.rawValue
        for stored in try await records.list(RegistrationRow.self, index: index)
        where stored.row.status == .abandoned || isAbandoned(stored.row) {
            if await abandon(stored, hasEnded: false) { count += 1 }
        }
        return count
    }

    /// Removes what an attempt stored, but no key set that came of it after all: its row may have been rolled back.
    private func removeLeftovers(of keySet: String) async throws(KeyManagementError) {
        guard try await !rowExists(keySet) else { return }
        let hadManifest: Bool
        do {
            hadManifest = try await !objects.list(prefix: "keysets/\(keySet)/manifest-").isEmpty
        } catch { throw .objectStore(error) }
        try await removeObjects(of: keySet)
        // A metadata store that was rolled back knows no row of a key set that existed: its key stays then.
        guard !hadManifest else { return }
        guard kms.current.placement == .perKeySet, let key = KMSKeyName("\(kms.current.key)-\(keySet)") else { return }
        do { try await kms.current.kms.destroyKey(key) } catch .keyNotFound {} catch { throw .kms(error) }
    }

    private func rowExists(_ keySet: String) async throws(KeyManagementError) -> Bool {
        try await records.read(KeySetRow.self, id: keySet) != nil
    }

    private func removeObjects(of keySet: String) async throws(KeyManagementError) {
        do {
            for key in try await objects.list(prefix: "keysets/\(keySet)/") { try await objects.delete(key) }
        } catch { throw .objectStore(error) }
    }
}
