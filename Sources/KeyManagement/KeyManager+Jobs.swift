import Attestation
import HomomorphicEncryption
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// An evaluation unit as an operator registered it.
public struct RegisteredUnit: Sendable, Hashable {
    public let name: String
    /// Pinned: receipts and model descriptors are believed under this key alone.
    public let verificationKey: VerificationKey
    /// The principal who runs the unit: its own requests are not evaluated there, because a unit is trusted
    /// not to collude with a requester.
    public let `operator`: KeySetOwner?

    public init(name: String, verificationKey: VerificationKey, operator: KeySetOwner?) {
        self.name = name
        self.verificationKey = verificationKey
        self.operator = `operator`
    }
}

/// What is told of a job.
public struct JobSummary: Sendable, Hashable {
    public let job: String
    public let keySet: String
    public let model: String
    public let unit: String
    public let state: JobState
    public let failure: String?
    public let inputs: [Digest]
    public let outputs: [Digest]
    public let receipt: Digest?
    public let created: Date
    public let finished: Date?
}

extension KeyManager {
    /// Opens a job over ciphertexts that this service encrypted under the key set.
    /// - Parameter keepsOutputs: whether its outputs are stored for ``outputs(of:as:)``.
    /// - Returns: the description to send to the unit, signed by the gateway.
    public func openJob(
        inputs: [Digest], keySet: String, profile: CircuitProfile, unit: RegisteredUnit, keepsOutputs: Bool,
        as requester: Requester
    ) async throws(KeyManagementError) -> SignedStatement<JobDescription> {
        guard (1...Self.maximumVectors).contains(inputs.count) else {
            throw .invalidRequest(reason: "1 to \(Self.maximumVectors) inputs in one job")
        }
        guard unit.operator == nil || !requester.owners.contains(where: { $0 == unit.operator }) else {
            throw .unitIsRequester(unit: unit.name)
        }
        let row = try await activeRow(keySet, for: requester).row
        let manifest = try await manifest(row)
        guard manifest.body.parameters.digest == profile.parameters.digest else {
            throw .homomorphicEncryption(.parameterMismatch)
        }
        guard profile.resultCount(inputs: inputs.count) != nil else {
            throw .invalidRequest(
                reason: "\(profile.model) takes \(profile.operands ?? 1) ciphertexts at a time, in turn")
        }
        let isFlooded = manifest.body.policy.flooding != nil
        guard !isFlooded || manifest.body.profile?.digest == profile.digest else {
            throw .otherCircuit(keySet: keySet)
        }
        let isBound = isFlooded || profile.parameters.scheme.messages.boundsInputs
        for (index, input) in inputs.enumerated() {
            let id = CiphertextRow.id(keySet: keySet, digest: input)
            guard let known = try await records.read(CiphertextRow.self, id: id), known.row.job == nil else {
                throw .notVouched(input)
            }
            guard !isBound || known.row.isInput(index, of: profile) else { throw .notCircuitInput(input) }
        }
        let job = JobRow(
            job: Self.newIdentifier("job"), keySet: keySet, tenant: requester.tenant,
            requester: Requester.index(tenant: requester.tenant, owner: requester.owner), unit: unit.name,
            operator: unit.operator, model: profile.model, modelDigest: profile.modelDigest, profile: profile.digest,
            nonce: try Self.nonce(),
            manifest: row.manifest, inputs: inputs, outputs: [], keepsOutputs: keepsOutputs,
            receipt: nil, state: .open, failure: nil, created: clock(), finished: nil)
        try await records.apply([try records.insertion(job, id: job.job, index: job.requester)])
        return try sign(job)
    }

    static func nonce() throws(KeyManagementError) -> Digest {
        do {
            let random = try SecretBytes(randomCount: 32)
            return random.withUnsafeBytes { Digest(of: Array($0)) }
        } catch { throw .memory(error) }
    }

    func sign(_ job: JobRow) throws(KeyManagementError) -> SignedStatement<JobDescription> {
        let description = JobDescription(
            job: job.job, nonce: job.nonce, gateway: configuration.gateway, unit: job.unit, keySet: job.keySet,
            manifest: job.manifest, model: job.model, modelDigest: job.modelDigest, inputs: job.inputs,
            created: job.created)
        do {
            return try SignedStatement(description, by: keys.requestKey)
        } catch { throw .statementRejected(error) }
    }

    /// Takes a job's one receipt; from then on its outputs may be decrypted. Repeating it with the same outputs is no
    /// error: the answer to the first may have got lost.
    /// - Parameter outputs: the ciphertexts that came with the receipt.
    public func completeJob(
        _ job: String, receipt envelope: [UInt8], outputs: [[UInt8]], unit: RegisteredUnit, profile: CircuitProfile
    ) async throws(KeyManagementError) -> JobSummary {
        guard var stored = try await records.read(JobRow.self, id: job) else { throw .unknownJob(job) }
        guard stored.row.state != .failed else { throw .jobNotOpen(job, state: stored.row.state.rawValue) }
        guard !isAbandoned(stored.row) else { throw .jobNotOpen(job, state: "too old") }
        // Nothing is stored under a key set whose objects were removed.
        let keySet = stored.row.keySet
        guard try await records.read(KeySetRow.self, id: keySet)?.row.state != .destroyed else {
            throw .keySetDestroyed(keySet)
        }
        let receipt: SignedStatement<Receipt>
        do {
            receipt = try SignedStatement(verifying: envelope, pinned: [unit.verificationKey])
            try receipt.body.validate(
                answering: try sign(stored.row).body, profile: stored.row.profile, operands: profile.operands ?? 1)
            guard stored.row.unit == unit.name else { throw AttestationError.mismatch(field: "evaluation unit") }
            guard receipt.body.outputs == outputs.map({ Digest(of: $0) }) else {
                throw AttestationError.mismatch(field: "list of outputs")
            }
        } catch let error as AttestationError {
            throw .receiptRejected(error)
        } catch { throw KeyManagementError(error) }
        guard stored.row.state == .open else { return try answered(stored.row, by: receipt.body) }
        _ = try await results(outputs, of: profile)
        if stored.row.keepsOutputs {
            for (digest, output) in zip(receipt.body.outputs, outputs) {
                do {
                    let key = try outputKey(job, digest, keySet: stored.row.keySet)
                    try await objects.put(output, at: key, onlyIfAbsent: false)
                } catch { throw KeyManagementError(error) }
            }
        }
        var row = stored.row
        row.outputs = receipt.body.outputs
        row.receipt = receipt.digest
        row.state = .evaluated
        row.finished = clock()
        stored.row = row
        for attempt in 1... {
            var changes = [try records.update(stored)]
            for output in Set(row.outputs) {
                // An output that equals an input is on record already.
                let id = CiphertextRow.id(keySet: row.keySet, digest: output)
                if try await records.read(CiphertextRow.self, id: id) != nil { continue }
                changes.append(
                    try records.insertion(CiphertextRow(keySet: row.keySet, job: job), id: id, index: row.keySet))
            }
            do {
                try await records.apply(changes)
                break
            } catch .metadataStore(.conflict) {
                guard let winner = try await records.read(JobRow.self, id: job)?.row else { throw .unknownJob(job) }
                // Another job over the same inputs has the same outputs, and may have put them on record just now.
                if winner.state == .open, attempt < 4 { continue }
                return try answered(winner, by: receipt.body)
            }
        }
        return summary(row)
    }

    /// A job that is no longer open, to one who brings a receipt for it: only its own outputs change nothing.
    private func answered(_ row: JobRow, by receipt: Receipt) throws(KeyManagementError) -> JobSummary {
        guard row.state == .evaluated, row.outputs == receipt.outputs else {
            throw .jobNotOpen(row.job, state: row.state.rawValue)
        }
        return summary(row)
    }

    /// The results of a circuit, parsed. They have two polynomials at the circuit's output level: what has not was
    /// not made by it.
    func results(
        _ outputs: [[UInt8]], of profile: CircuitProfile
    ) async throws(KeyManagementError) -> [Ciphertext] {
        do {
            let context = try EncryptionContext.shared(profile.parameters)
            return try await compute.run {
                try outputs.map { output throws(HEError) in
                    let ciphertext = try Ciphertext(serialized: output, context: context)
                    guard ciphertext.polynomials.count == 2 else {
                        throw .unexpectedPolynomialCount(ciphertext.polynomials.count, expected: "2")
                    }
                    guard ciphertext.level == profile.outputLevel else {
                        throw .invalidLevel(ciphertext.level, maximum: profile.outputLevel)
                    }
                    return ciphertext
                }
            }
        } catch { throw KeyManagementError(error) }
    }

    /// The outputs of a job that kept them, checked against its receipt.
    public func outputs(of job: String, as requester: Requester) async throws(KeyManagementError) -> [[UInt8]] {
        let row = try await jobRow(job, as: requester)
        let summary = summary(row)
        guard summary.state == .evaluated else { throw .jobNotOpen(job, state: summary.state.rawValue) }
        guard row.keepsOutputs else { throw .jobKeepsNoResults(job) }
        let manifest = try await manifest(try await activeRow(summary.keySet, for: requester).row).body
        do {
            let context = try EncryptionContext.shared(manifest.parameters)
            let limit = Ciphertext.serializedByteCount(polynomials: 3, level: context.maximumLevel, context: context)
            var outputs: [[UInt8]] = []
            for digest in summary.outputs {
                let bytes = try await read(try outputKey(job, digest, keySet: summary.keySet), limit: limit)
                guard Digest(of: bytes) == digest else { throw KeyManagementError.objectTampered("output of \(job)") }
                outputs.append(bytes)
            }
            return outputs
        } catch { throw KeyManagementError(error) }
    }

    /// Among the key set's objects, so that destroying it removes them. Named by content: of two receipts that come at
    /// once, the one that is not taken must not overwrite the results of the other.
    private func outputKey(_ job: String, _ output: Digest, keySet: String) throws(KeyManagementError) -> ObjectKey {
        try objectKey(keySet, "jobs/\(job)/output-\(output.hex)")
    }

    /// Ends a job that will have no receipt.
    public func failJob(_ job: String, reason: String) async {
        guard var stored = try? await records.read(JobRow.self, id: job), stored.row.state == .open else { return }
        stored.row.state = .failed
        stored.row.failure = String(reason.prefix(200))
        stored.row.finished = clock()
        guard let update = try? records.update(stored) else { return }
        try? await records.apply([update])
    }

    public func job(_ job: String, as requester: Requester) async throws(KeyManagementError) -> JobSummary {
        summary(try await jobRow(job, as: requester))
    }

    private func jobRow(_ job: String, as requester: Requester) async throws(KeyManagementError) -> JobRow {
        guard Self.isIdentifier(job), let row = try await records.read(JobRow.self, id: job)?.row,
            row.requester == Requester.index(tenant: requester.tenant, owner: requester.owner)
        else { throw .unknownJob(String(job.prefix(64))) }
        return row
    }

    /// The requester's own jobs, oldest first.
    public func jobs(as requester: Requester) async throws(KeyManagementError) -> [JobSummary] {
        let index = Requester.index(tenant: requester.tenant, owner: requester.owner)
        return try await records.list(JobRow.self, index: index).map { summary($0.row) }
            .sorted { ($0.created, $0.job) < ($1.created, $1.job) }
    }

    /// A gateway that died took its open jobs with it: after an hour they take no receipt.
    private func isAbandoned(_ row: JobRow) -> Bool {
        row.state == .open && clock().timeIntervalSince(row.created) > 3600
    }

    private func summary(_ row: JobRow) -> JobSummary {
        let abandoned = isAbandoned(row)
        return JobSummary(
            job: row.job, keySet: row.keySet, model: row.model, unit: row.unit,
            state: abandoned ? .failed : row.state, failure: abandoned ? "abandoned" : row.failure,
            inputs: row.inputs, outputs: row.outputs, receipt: row.receipt, created: row.created,
            finished: row.finished)
    }
}
