import Attestation
import EncryptedInference
import HomomorphicEncryption
import Observability
import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Checks jobs, has their circuits computed, and signs receipts.
struct JobEvaluator: Sendable {
    /// How old a job may be, in seconds.
    static let lifetimeSeconds = 600
    /// By how many seconds the gateway's clock may be ahead.
    static let clockSkewSeconds = 60
    /// Inputs of one job.
    static let maximumInputs = CircuitProfile.maximumInputs

    let unit: String
    let signingKey: SigningKey
    /// By name.
    let models: [String: any Circuit]
    let plans: ReleasePlans
    let cache: KeyCache
    let nonces: JobNonces
    let pool: ComputePool
    let clock: @Sendable () -> Date

    struct Answer: Sendable {
        /// Receipt and outputs.
        let bundle: [UInt8]
        let timings: ServerTiming
    }

    /// Evaluates what `bundle` asks for.
    /// - Parameters:
    ///   - bundle: an octet bundle of the job's envelope and its inputs.
    ///   - requestKey: the key that signed the request: the job must be by the same gateway.
    /// - Throws: ``UnitProblem``, `OctetBundleError` or `ComputePoolError`; for all else the unit is to blame.
    func evaluate(_ bundle: [UInt8], requestKey: VerificationKey) async throws -> Answer {
        let strings = try OctetBundle.decode(
            bundle, maximumCount: 1 + Self.maximumInputs, maximumBytes: bundle.count)
        guard let envelope = strings.first else { throw UnitProblem.malformedJob(reason: "the bundle is empty") }
        let inputs = Array(strings.dropFirst())
        let job = try Self.verified(envelope, by: requestKey)
        guard job.unit == unit else { throw UnitProblem.jobForAnotherUnit }
        let now = clock()
        guard now.timeIntervalSince(job.created) <= Double(Self.lifetimeSeconds) else { throw UnitProblem.jobExpired }
        guard job.created.timeIntervalSince(now) <= Double(Self.clockSkewSeconds) else {
            throw UnitProblem.jobNotYetValid
        }
        guard !inputs.isEmpty, job.inputs.count == inputs.count, job.inputs == inputs.map({ Digest(of: $0) }) else {
            throw UnitProblem.inputsMismatch
        }
        let manifest = try cache.manifest(job.manifest)
        guard job.keySet == manifest.body.keySet else { throw UnitProblem.jobKeySetMismatch }
        guard let known = models[job.model] else { throw UnitProblem.unknownModel(job.model) }
        guard job.modelDigest == known.digest else { throw UnitProblem.modelDigestMismatch(job.model) }
        let isFlooded = manifest.body.policy.release == .flooded
        guard let profile = isFlooded ? manifest.plan?.profile : known.profile, profile.modelDigest == known.digest,
            profile.parameters.digest == manifest.body.parameterDigest.bytes
        else { throw UnitProblem.parametersMismatch }
        guard profile.resultCount(inputs: inputs.count) != nil else {
            throw UnitProblem.incompleteOperands(model: job.model, operands: profile.operands ?? 1)
        }
        let objects = try manifest.keys(for: profile)
        var model = known
        if isFlooded, let plan = manifest.plan, let network = known as? CompiledModel {
            model = try await plans.compiled(network.model, by: plan)
        }
        let circuit = model
        return try await cache.withKeys(objects, of: manifest.digest) { keys in
            try nonces.take(job.nonce, until: job.created + Double(Self.lifetimeSeconds + 1), now: now)
            do {
                return try await run(job, model: circuit, keys: keys, inputs: inputs)
            } catch {
                // Nothing was answered, so that the job may come again: after a refusal, or where the pool is full.
                nonces.giveBack(job.nonce)
                throw error
            }
        }
    }

    private static func verified(_ envelope: [UInt8], by key: VerificationKey) throws -> JobDescription {
        do throws(AttestationError) {
            return try SignedStatement<JobDescription>(verifying: envelope, pinned: [key]).body
        } catch {
            switch error {
            case .unknownSigner, .badSignature: throw UnitProblem.jobNotTrusted(error)
            default: throw UnitProblem.malformedJob(reason: "\(error)")
            }
        }
    }

    private func run(
        _ job: JobDescription, model: any Circuit, keys: EvaluationKeySet, inputs: [[UInt8]]
    ) async throws -> Answer {
        let start = ContinuousClock.now
        // All are checked before any is computed on.
        let ciphertexts = try await pool.map(inputs) { index, bytes in
            let ciphertext: Ciphertext
            do throws(HEError) {
                ciphertext = try Ciphertext(serialized: bytes, context: model.context)
            } catch {
                switch error {
                case .malformedObject, .unsupportedVersion, .digestMismatch, .unexpectedObject:
                    throw UnitProblem.malformedCiphertext(index: index, error)
                // A ciphertext, but of other parameters.
                default: throw UnitProblem.unsuitableCiphertext(index: index, reason: "\(error)")
                }
            }
            do throws(InferenceError) {
                try model.validate(ciphertext)
            } catch { throw UnitProblem.unsuitableCiphertext(index: index, reason: "\(error)") }
            return ciphertext
        }
        let operands = model.profile.operands ?? 1
        let evaluations = stride(from: 0, to: ciphertexts.count, by: operands).map {
            Array(ciphertexts[$0..<$0 + operands])
        }
        let outputs = try await Spans.within("evaluation") {
            try await pool.map(evaluations) { _, inputs in
                let output = try model.evaluate(inputs, keys: keys).serialized()
                return (bytes: output, digest: Digest(of: output))
            }
        }
        var timings = ServerTiming()
        let duration = ContinuousClock.now - start
        timings.append("prediction", duration)
        MetricCatalog.stageDuration.record(duration, "prediction")
        let receipt = try SignedStatement(
            Receipt(
                job: job.job, nonce: job.nonce, keySet: job.keySet, manifest: job.manifest,
                modelDigest: job.modelDigest, profile: model.profile.digest, inputs: job.inputs,
                outputs: outputs.map(\.digest), unit: unit, evaluated: clock()),
            by: signingKey)
        return Answer(bundle: OctetBundle.encode([try receipt.serialized()] + outputs.map(\.bytes)), timings: timings)
    }
}
