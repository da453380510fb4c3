import Attestation
import EncryptedInference
import HomomorphicEncryption
import ServiceKit

/// Why the unit refuses a request. The names are part of the API.
package enum UnitProblem: Error, Equatable {
    // Requests
    case malformedDigest
    case certificateOfAnother(gateway: String)

    // Manifests
    case unknownManifest(Digest)
    case manifestNotTrusted(AttestationError)
    case malformedManifest(reason: String)
    case manifestDigestMismatch(found: Digest)
    case manifestNotActive(KeySetState)
    case manifestNotForThisUnit(field: String)

    /// The key set's noise is planned for less error than the model's results have.
    case releaseBoundTooSmall

    // Plans
    case malformedPlanRequest
    case releasePlan(ReleasePlanError)
    case plannerBusy
    case planCacheTooSmall(needed: Int, capacity: Int)

    // Evaluation keys
    case keyNotInManifest(Digest)
    case keyDigestMismatch(found: Digest)
    case malformedKey(HEError)
    case keyContradictsManifest
    case noModelForParameters
    case keyCacheTooSmall(needed: Int, capacity: Int)
    case keyCacheBusy

    // Jobs
    case jobNotTrusted(AttestationError)
    case malformedJob(reason: String)
    case jobForAnotherUnit
    case jobExpired
    case jobNotYetValid
    case inputsMismatch
    case incompleteOperands(model: String, operands: Int)
    case jobKeySetMismatch
    case unknownModel(String)
    case modelDigestMismatch(String)
    case parametersMismatch
    case manifestLacksKeys([String])
    case missingKeys([String])
    case jobReplayed
    case jobMemoryFull
    case malformedCiphertext(index: Int, HEError)
    case unsuitableCiphertext(index: Int, reason: String)
}

extension UnitProblem: ProblemConvertible {
    package var problem: Problem {
        let facts = facts
        return Problem(
            name: facts.name, title: title, status: facts.status, detail: facts.detail, fix: facts.fix,
            retryAfterSeconds: facts.status == 503 ? 5 : nil)
    }

    private var title: String {
        switch self {
        case .malformedDigest, .malformedPlanRequest: "The request is not valid"
        case .certificateOfAnother: "The request is not authenticated"
        case .releasePlan: "The release cannot be planned"
        case .plannerBusy, .planCacheTooSmall: "No room for plans"
        case .unknownManifest, .manifestNotTrusted, .malformedManifest, .manifestDigestMismatch, .manifestNotActive,
            .manifestNotForThisUnit, .releaseBoundTooSmall:
            "The manifest is not accepted"
        case .keyNotInManifest, .keyDigestMismatch, .malformedKey, .keyContradictsManifest, .noModelForParameters:
            "The evaluation key is not accepted"
        case .keyCacheTooSmall, .keyCacheBusy: "No room for evaluation keys"
        default: "The job is not accepted"
        }
    }

    private typealias Facts = (name: String, status: Int, detail: String, fix: String)

    // A long list is easier to check than a clever one.
    private var facts: Facts {
        switch self {
        case .malformedDigest:
            (
                "malformed-digest", 400, "A digest in the path is not 64 lower-case hex digits.",
                "Write the SHA-256 digest in lower-case hex."
            )
        case .certificateOfAnother(let gateway):
            (
                "certificate-of-another", 401,
                "The request is signed by \(gateway), and the TLS certificate is not the one of \(gateway).",
                "Set gateways.certificateName in the unit's configuration to a name in the gateway's certificate."
            )
        case .unknownManifest(let digest):
            (
                "unknown-manifest", 404, "Manifest \(digest) is not known here, or is forgotten again.",
                "Send it with PUT /v1/manifests/{digest}, then the keys that the answer says are needed."
            )
        case .manifestNotTrusted(let error):
            (
                "manifest-not-trusted", 403, "The manifest is \(error).",
                "Name the tenant's manifest key under manifestKeys in this unit's configuration."
            )
        case .malformedManifest(let reason):
            (
                "malformed-manifest", 400, "The manifest cannot be used: \(reason).",
                "Send the manifest as it was signed."
            )
        case .manifestDigestMismatch(let found):
            (
                "manifest-digest-mismatch", 400, "The manifest in the body has the digest \(found).",
                "Put the SHA-256 digest of the envelope's payload into the path."
            )
        case .manifestNotActive(let state):
            (
                "manifest-not-active", 409, "The manifest says that the key set is \(state.rawValue).",
                "Send the manifest of an active key set."
            )
        case .manifestNotForThisUnit(let field):
            (
                "manifest-not-for-this-unit", 403, "The manifest is of another \(field) than this unit serves.",
                "Use a unit of the same \(field), or correct \(field) in this unit's configuration."
            )
        case .releaseBoundTooSmall:
            (
                "release-bound-too-small", 409,
                "The manifest's release policy is for a smaller error than this model's results have.",
                "Register a key set anew, with the bound that this unit signs."
            )
        case .malformedPlanRequest:
            (
                "malformed-plan-request", 400, "The body does not say what release is asked for.",
                "Send the JSON of docs/api.md."
            )
        case .releasePlan(let error): Self.facts(error)
        case .plannerBusy:
            (
                "planner-busy", 503,
                "This gateway asks for too many release plans at once, or models of other plans are being compiled.",
                "Try again after the time that Retry-After names."
            )
        case .planCacheTooSmall(let needed, let capacity):
            (
                "plan-cache-too-small", 507,
                "The model compiled for this release takes \(needed) bytes of memory; there are \(capacity).",
                "The operator raises limits.planCacheMiB in the unit's configuration."
            )
        case .keyNotInManifest(let digest):
            (
                "key-not-in-manifest", 404,
                "The manifest names no relinearization or Galois key with digest \(digest).",
                "Send the keys that GET /v1/manifests/{digest} lists under need."
            )
        case .keyDigestMismatch(let found):
            (
                "key-digest-mismatch", 400, "The body has the digest \(found), not the one in the path.",
                "Send the key's stored bytes unchanged."
            )
        case .malformedKey(let error):
            (
                "malformed-evaluation-key", 400, "The body is not an evaluation key: \(error).",
                "Send the key's stored bytes unchanged."
            )
        case .keyContradictsManifest:
            (
                "key-contradicts-manifest", 400,
                "The key is not of the kind, element, level or generation that the "
                    + "manifest says.", "Register the key set anew: its manifest describes a key that it does not have."
            )
        case .noModelForParameters:
            (
                "no-model-for-parameters", 409, "No model of this unit uses the key set's parameters.",
                "Use a unit that runs the model, or a key set made for a model of this one."
            )
        case .keyCacheTooSmall(let needed, let capacity):
            (
                "key-cache-too-small", 507,
                "The keys of this manifest take \(needed) bytes of memory; the cache has \(capacity).",
                "The operator raises limits.keyCacheMiB in the unit's configuration."
            )
        case .keyCacheBusy:
            (
                "key-cache-busy", 503, "All other keys in the cache are in use.",
                "Try again after the time that Retry-After names."
            )
        case .jobNotTrusted(let error):
            (
                "job-not-trusted", 403, "The job description is \(error).",
                "Sign job and request with one key, the gateway's requestKey in this unit's configuration."
            )
        case .malformedJob(let reason):
            (
                "malformed-job", 400, "The bundle does not begin with a job description: \(reason).",
                "Send a bundle of the job's envelope and its input ciphertexts, in this order."
            )
        case .jobForAnotherUnit:
            (
                "job-for-another-unit", 403, "The job was described for another evaluation unit.",
                "Send it to the unit that it names; check units.name in the gateway's configuration."
            )
        case .jobExpired:
            (
                "job-expired", 409, "The job was created more than \(JobEvaluator.lifetimeSeconds) seconds ago.",
                "Open a new job; if it was new, synchronize the clocks of both machines."
            )
        case .jobNotYetValid:
            (
                "job-not-yet-valid", 409, "The job was created in the future.",
                "Synchronize the clocks of both machines."
            )
        case .inputsMismatch:
            (
                "inputs-mismatch", 400, "The ciphertexts are not the ones that the job names, in its order.",
                "Send the ciphertexts whose digests stand in the job description, unchanged and in the same order."
            )
        case .incompleteOperands(let model, let operands):
            (
                "incomplete-operands", 409, "\(model.prefix(64)) takes \(operands) ciphertexts at a time.",
                "Send the operands of each evaluation one after the other."
            )
        case .jobKeySetMismatch:
            (
                "job-key-set-mismatch", 409, "The job and its manifest are of different key sets.",
                "Name the manifest of the key set that the inputs are encrypted under."
            )
        case .unknownModel(let name):
            (
                "unknown-model", 404, "This unit runs no model named \(name.prefix(64)).",
                "GET /v1/models lists the models; the operator adds one to the unit's configuration."
            )
        case .modelDigestMismatch(let name):
            (
                "model-digest-mismatch", 409, "Model \(name.prefix(64)) was changed since its description was read.",
                "Read GET /v1/models again and open a new job."
            )
        case .parametersMismatch:
            (
                "parameters-mismatch", 409, "The key set has other parameters than the model.",
                "Register a key set with the model's profile."
            )
        case .manifestLacksKeys(let names):
            (
                "manifest-lacks-evaluation-keys", 409, "The key set has no key for \(Self.list(names)).",
                "Register a key set with the model's profile."
            )
        case .missingKeys(let names):
            (
                "missing-evaluation-keys", 409, "Not here yet: \(Self.list(names)).",
                "Send the keys that GET /v1/manifests/{digest} lists under need, then the job again."
            )
        case .jobReplayed:
            (
                "job-replayed", 409, "A job with this nonce was accepted before.",
                "Open a new job; a job is evaluated once."
            )
        case .jobMemoryFull:
            (
                "job-memory-full", 503, "Too many jobs of the last minutes are remembered.",
                "Try again after the time that Retry-After names."
            )
        case .malformedCiphertext(let index, let error):
            (
                "malformed-ciphertext", 400, "Input \(index) cannot be read: \(error).",
                "Send ciphertexts in the format of docs/formats.md."
            )
        case .unsuitableCiphertext(let index, let reason):
            (
                "unsuitable-ciphertext", 409, "Input \(index): \(reason).",
                "Encrypt inputs at the level and scale of the model's profile."
            )
        }
    }

    private static func facts(_ error: ReleasePlanError) -> Facts {
        let detail = error.description.prefix(1).uppercased() + error.description.dropFirst() + "."
        return switch error {
        case .invalidRequest:
            ("invalid-release", 422, detail, "Correct precision, statistical bits or number of decryptions.")
        case .precisionOutOfReach:
            (
                "precision-out-of-reach", 422, detail,
                "Ask for a coarser precision, fewer decryptions or less statistical security."
            )
        case .tooDeep:
            ("model-too-deep-to-flood", 422, detail, "Use a model of fewer layers, or ask for release raw.")
        case .model: ("invalid-model", 409, detail, "Tell the owner of the model.")
        case .anotherCircuit:
            ("circuit-mismatch", 409, detail, "Register a key set anew: the model, or how it is planned, changed.")
        }
    }

    /// The first names of many.
    private static func list(_ names: [String]) -> String {
        let shown = names.prefix(16).joined(separator: ", ")
        return names.count > 16 ? shown + " and \(names.count - 16) more" : shown
    }
}
