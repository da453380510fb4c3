import Attestation
import EncryptedInference
import HomomorphicEncryption

/// A verified manifest with what this unit makes of it.
package struct HeldManifest: Sendable {
    package let digest: Digest
    package let body: KeySetManifest
    /// The plan that its results are flooded by; nil for raw results, and where the model is not here.
    package let plan: InferencePlan?
    /// The parameters' context; nil where no model here uses them.
    package let context: EncryptionContext?
    /// Its relinearization and Galois keys by digest.
    package let keys: [Digest: KeySetObject]
    /// Those that models here compute with, in the manifest's order.
    package let needed: [KeySetObject]
    /// Estimate of the bytes that it takes in memory, without keys.
    package let byteCount: Int

    /// - Parameter statement: its signature has been verified.
    /// - Throws: ``UnitProblem`` where it is not active or contradicts itself.
    package init(_ statement: SignedStatement<KeySetManifest>, models: [any Circuit]) throws(UnitProblem) {
        let body = statement.body
        guard body.state == .active else { throw .manifestNotActive(body.state) }
        guard body.parameters.digest == body.parameterDigest.bytes else {
            throw .malformedManifest(reason: "its parameters do not have the digest that it names")
        }
        plan = try Self.plan(body, models)
        let profiles: [CircuitProfile]
        let context: EncryptionContext?
        if body.policy.release == .flooded {
            profiles = plan.map { [$0.profile] } ?? []
            do throws(HEError) {
                context = try plan.map { plan throws(HEError) in try EncryptionContext.shared(plan.profile.parameters) }
            } catch { throw .malformedManifest(reason: "\(error)") }
        } else {
            let matching = models.filter { $0.context.parameterDigest == body.parameterDigest.bytes }
            profiles = matching.map(\.profile)
            context = matching.first?.context
        }
        var keys: [Digest: KeySetObject] = [:]
        for object in body.objects {
            guard let id = object.evaluationKeyID else { continue }
            guard keys.updateValue(object, forKey: object.digest) == nil else {
                throw .malformedManifest(reason: "two of its objects have one digest")
            }
            // Only then is the size limit of an upload, and the memory that it takes, known to be right.
            if let context {
                do throws(HEError) {
                    try id.validate(for: context)
                } catch { throw .malformedManifest(reason: "\(object.name): \(error)") }
                guard object.bytes == EvaluationKey.serializedByteCount(id, context: context) else {
                    throw .malformedManifest(reason: "\(object.name) has another length than such a key has")
                }
            }
        }
        var needed: Set<Digest> = []
        for profile in profiles {
            for id in profile.evaluationKeys {
                if let object = Self.object(for: id, in: body.objects) { needed.insert(object.digest) }
            }
        }
        digest = statement.digest
        self.body = body
        self.context = context
        self.keys = keys
        self.needed = body.objects.filter { needed.contains($0.digest) }
        // JSON of digests in hex, decoded twice: objects and dictionary.
        byteCount = 4 * statement.payload.count
    }

    /// The plan behind a manifest whose results are flooded. B is computed anew from the model's weights: this unit
    /// vouches for no result that leaves with less noise than its model's error needs.
    private static func plan(
        _ body: KeySetManifest, _ models: [any Circuit]
    ) throws(UnitProblem) -> InferencePlan? {
        guard let flooding = body.policy.flooding, let request = PlanRequest(body) else { return nil }
        guard let profile = body.profile, profile.parameters.digest == body.parameterDigest.bytes else {
            throw .malformedManifest(reason: "its results are flooded, but not those of a circuit of its parameters")
        }
        do throws(AttestationError) {
            try profile.validate()
            try flooding.validate(for: profile)
        } catch { throw .malformedManifest(reason: "\(error)") }
        guard let model = models.first(where: { $0.digest == profile.modelDigest }) as? CompiledModel else {
            return nil
        }
        let plan: InferencePlan
        do throws(ReleasePlanError) {
            plan = try InferencePlan(model.model, profile: profile, release: request.release)
        } catch { throw .releasePlan(error) }
        // Logarithms of another machine may differ in their last bit.
        guard let own = plan.release?.policy, flooding.policy.errorBound >= own.errorBound * (1 - 0x1p-40) else {
            throw .releaseBoundTooSmall
        }
        return plan
    }

    /// The keys that a circuit computes with. They depend on manifest and circuit alone, not on what else
    /// is here, because results must be the same bytes on every unit.
    /// - Throws: ``UnitProblem/manifestLacksKeys(_:)``.
    package func keys(for profile: CircuitProfile) throws(UnitProblem) -> [KeySetObject] {
        var chosen: [KeySetObject] = []
        var lacking: [String] = []
        for id in profile.evaluationKeys {
            if let object = Self.object(for: id, in: body.objects) {
                chosen.append(object)
            } else {
                lacking.append(id.kind == .galois ? "galois-\(id.galois)" : "relinearization")
            }
        }
        guard lacking.isEmpty else { throw .manifestLacksKeys(lacking) }
        return chosen
    }

    /// The object of lowest sufficient level, of the newest generation.
    private static func object(for id: EvaluationKeyID, in objects: [KeySetObject]) -> KeySetObject? {
        objects.filter { object in
            guard let candidate = object.evaluationKeyID else { return false }
            return candidate.kind == id.kind && candidate.galois == id.galois && candidate.level >= id.level
        }.min { ($0.level, $1.generation, $0.digest.hex) < ($1.level, $0.generation, $1.digest.hex) }
    }
}

extension KeySetObject {
    /// nil for what no circuit computes with: public keys and switching keys.
    var evaluationKeyID: EvaluationKeyID? {
        let kind: EvaluationKeyKind
        switch self.kind {
        case .relinearization: kind = .relinearization
        case .galois: kind = .galois
        case .publicKey, .switching: return nil
        }
        return EvaluationKeyID(kind: kind, galois: galois, level: level, generation: generation)
    }

    /// Bytes that the parsed key takes: both halves, 8 bytes a residue.
    package func memoryBytes(_ context: EncryptionContext) -> Int {
        let rows = level + context.parameters.p.count
        return 2 * context.parameters.digitCount(level: level) * rows * context.degree * 8
    }
}
