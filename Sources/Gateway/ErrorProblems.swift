import Attestation
import EncryptedInference
import HomomorphicEncryption
import KeyManagement
import ServiceKit

/// What callers are told of each error. One place, so that names stay stable: they are API.
enum ErrorProblems {
    @Sendable static func problem(for error: any Error) -> Problem? {
        switch error {
        case let error as KeyManagementError: problem(error)
        case let error as InferenceError: problem(error)
        case let error as HEError: problem(error)
        case let error as AttestationError: problem(error)
        default: nil
        }
    }

    static func problem(_ error: InferenceError) -> Problem {
        switch error {
        case .malformedModel, .doesNotFit, .malformedCircuit, .resultMayWrap:
            Problem(
                name: "invalid-model", title: "The model is not usable", status: 502, detail: error.description,
                fix: "Tell the operator of the evaluation unit.")
        default:
            Problem(
                name: "invalid-records", title: "The records do not fit the model", status: 422,
                detail: error.description, fix: "Correct the record; GET /v1/models describes every field.")
        }
    }

    static func problem(_ error: HEError) -> Problem {
        let name: String
        var status = 422
        switch error {
        case .notFinite: name = "value-not-finite"
        case .tooManyValues: name = "too-many-values"
        case .valueOutOfRange, .integerOutOfRange: name = "value-out-of-range"
        case .invalidScale, .scaleOverflow, .scaleMismatch: name = "scale-does-not-fit"
        case .insecureParameters: name = "insecure-parameters"
        case .invalidParameters, .specialModulusTooSmall: name = "invalid-parameters"
        case .plaintextModulusDoesNotBatch: name = "plaintext-modulus-does-not-batch"
        case .parameterMismatch: name = "other-parameters"
        case .invalidLevel, .levelMismatch, .noLevelsLeft, .keyLevelTooLow, .decryptionMayFail:
            name = "level-does-not-fit"
        case .malformedObject, .digestMismatch, .unexpectedObject, .unexpectedPolynomialCount:
            name = "malformed-object"
            status = 400
        case .unsupportedVersion: name = "unsupported-format-version"
        case .missingRelinearizationKey, .missingGaloisKey: name = "missing-evaluation-key"
        }
        return Problem(
            name: name, title: "The data does not fit the keys", status: status, detail: error.description,
            fix: "Compare the request with the key set's parameters (GET /v1/keysets/{id}).")
    }

    static func problem(_ error: AttestationError) -> Problem {
        Problem(
            name: "statement-rejected", title: "A signed statement is not believed", status: 502,
            detail: error.description,
            fix: "Check the pinned public keys in the configurations of gateway and evaluation unit.")
    }

    static func problem(_ error: KMSError) -> Problem {
        func make(
            _ name: String, _ status: Int, _ detail: String, _ fix: String, retry: Int? = nil
        ) -> Problem {
            Problem(
                name: name, title: "The trusted KMS cannot do this", status: status, detail: detail, fix: fix,
                retryAfterSeconds: retry)
        }
        switch error {
        case .unavailable(let reason):
            return make(
                "kms-unavailable", 503, "The trusted KMS does not answer: \(reason).",
                "Retry; the operator checks that the KMS runs and is unsealed.", retry: 5)
        case .throttled(let seconds):
            return make(
                "kms-throttled", 503, "The trusted KMS asks to come back later.", "Retry after the time given.",
                retry: seconds ?? 5)
        case .denied(let reason):
            return make(
                "kms-denied", 502, "The trusted KMS denied the gateway: \(reason).",
                "The operator checks the gateway's KMS credential and policy.")
        case .keyNotFound(let name):
            return make(
                "kms-key-not-found", 502, "The trusted KMS has no key named \(name).",
                "The operator restores the key, or corrects kms.key in the configuration. "
                    + "Without the key, the key sets that it sealed cannot be opened.")
        case .keyUnusable(let name, let reason):
            return make(
                "kms-key-unusable", 502, "The key \(name) of the trusted KMS may not be used: \(reason).",
                "The operator enables the key, or lowers its minimum version.")
        case .cannotOpen:
            return make(
                "sealed-seed-rejected", 409, "The trusted KMS does not open the sealed seed of this key set.",
                "It was altered or moved, or sealed under another key: restore the sealed seed from a backup.")
        case .notSupported(let operation):
            return make("kms-not-supported", 501, "This KMS does not do \(operation).", "Use another KMS for it.")
        case .invalidResponse(let reason):
            return make(
                "kms-invalid-response", 502, "The KMS's answer is not valid: \(reason).",
                "The operator checks that the address is that of the KMS.")
        case .memory(let error): return problem(error)
        }
    }

    private static func problem(_ error: any Error) -> Problem {
        Problem(
            name: "no-secret-memory", title: "No locked memory is left", status: 503, detail: "\(error)",
            fix: "Retry; the operator raises the limit of locked memory.", retryAfterSeconds: 1)
    }

    // A long list is easier to check than a clever one.
    static func problem(_ error: KeyManagementError) -> Problem {
        switch error {
        case .invalidRequest(let reason):
            return Problem(
                name: "invalid-request", title: "The request is not valid", status: 400, detail: reason,
                fix: "Correct the request.")
        case .rewrapStopped(let reason, let fix):
            return Problem(
                name: "rewrap-stopped", title: "The job does not go on", status: 409,
                detail: reason.prefix(1).uppercased() + reason.dropFirst() + ".", fix: fix)
        case .unknownKeySet(let id):
            return Problem(
                name: "unknown-key-set", title: "Unknown key set", status: 404,
                detail: "There is no key set \(id) that this principal may use.",
                fix: "GET /v1/keysets lists yours; one of another principal looks as if it were not there.")
        case .keySetDestroyed(let id):
            return Problem(
                name: "key-set-destroyed", title: "The key set is destroyed", status: 410,
                detail: "Key set \(id) was destroyed and is never used again.", fix: "Register a new key set.")
        case .keySetNotActive(let id, let state):
            return Problem(
                name: "key-set-not-active", title: "The key set is not active", status: 409,
                detail: "Key set \(id) is \(state.rawValue).",
                fix: "Repeated failures after its seed was opened suspend a key set, and this version does not take "
                    + "that back: register a new key set, and have the operator look for what alters stored objects.")
        case .requestIDReused:
            return Problem(
                name: "request-id-reused", title: "The request id was used before", status: 409,
                detail: "This request id stands for another registration.", fix: "Use a new request id.")
        case .registrationInProgress:
            return Problem(
                name: "registration-in-progress", title: "The registration is under way", status: 409,
                detail: "A registration with this request id is not finished yet.",
                fix: "Repeat the same request after a moment.", retryAfterSeconds: 2)
        case .unknownJob(let id):
            return Problem(
                name: "unknown-job", title: "Unknown job", status: 404,
                detail: "There is no job \(id) of this principal.", fix: "GET /v1/jobs lists yours.")
        case .jobNotOpen(let id, let state):
            return Problem(
                name: "job-not-open", title: "The job is not open", status: 409, detail: "Job \(id) is \(state).",
                fix: "A job takes one receipt: open a new job.")
        case .jobKeepsNoResults(let id):
            return Problem(
                name: "job-keeps-no-results", title: "The job keeps no results", status: 409,
                detail: "Job \(id) belongs to a prediction, whose answer carried its results.",
                fix: "Predict again, or open a job with POST /v1/jobs, which keeps its results.")
        case .otherScheme(let scheme):
            return Problem(
                name: "other-scheme", title: "The key set is of another scheme", status: 409,
                detail: scheme == .bfv
                    ? "This key set is BFV: it takes and gives exact integers, and has neither scales nor complex numbers."
                    : "This key set is CKKS: it takes and gives real or complex numbers, and no exact integers.",
                fix: scheme == .bfv
                    ? "Give integers, or model and integerRecords; or use a CKKS key set."
                    : "Give vectors, or model and records; or use a BFV key set.")
        case .unitIsRequester(let unit):
            return Problem(
                name: "unit-is-requester", title: "Unit and requester must differ", status: 403,
                detail: "Evaluation unit \(unit) is run by this principal, whose results it cannot vouch for.",
                fix: "Have another principal make the request, or another unit evaluate it.")
        case .notVouched(let digest):
            return Problem(
                name: "ciphertext-not-vouched", title: "Nobody vouches for this ciphertext", status: 403,
                detail: "Ciphertext \(digest.hex) was neither encrypted by this service under this key set "
                    + "nor is it the result of one of its jobs.",
                fix: "Decrypt what POST .../encrypt or a job returned, unaltered. What was encrypted elsewhere comes "
                    + "back through a job.")
        case .decryptAnyNotGranted:
            return Problem(
                name: "decrypt-any-not-granted", title: "Decryption of any ciphertext is not granted", status: 403,
                detail: "decrypt.any is equal to handing over the secret key, and is off.",
                fix: "The operator names the owner under decryptAny.owners, knowing this.")
        case .budgetExhausted:
            return Problem(
                name: "budget-exhausted", title: "The decryption budget is used up", status: 403,
                detail: "This key set has no decryptions left.", fix: "Register a new key set.")
        case .keySetIsRaw(let id):
            return Problem(
                name: "key-set-is-raw", title: "The key set's results are raw", status: 409,
                detail: "Key set \(id) was registered with release raw, which it has for ever.",
                fix: "Register a key set without release, whose results are flooded.")
        case .keySetIsFlooded(let id):
            return Problem(
                name: "key-set-is-flooded", title: "The key set's results are flooded", status: 409,
                detail: "Key set \(id) releases nothing raw.", fix: "Register a key set with release raw.")
        case .keySetTainted(let id):
            return Problem(
                name: "key-set-tainted", title: "Nothing of the key set is shared any more", status: 403,
                detail: "Results of key set \(id) were released raw; others may not see any.",
                fix: "Register a new key set.")
        case .otherCircuit(let id):
            return Problem(
                name: "key-set-does-not-fit-model", title: "The key set does not fit the model", status: 409,
                detail: "Key set \(id) was not made for this circuit.",
                fix: "Register a key set for this model.")
        case .notCircuitInput(let digest):
            return Problem(
                name: "not-a-model-input", title: "The ciphertext is no input of the model", status: 409,
                detail: "Ciphertext \(digest.hex) was not encrypted as this input of the model or circuit, so that the "
                    + "noise may not hide its result's error, or an exact result may not fit.",
                fix: "Encrypt records, or vectors with the model's name: both are checked against its ranges. Send "
                    + "ciphertexts in the order in which they came.")
        case .precisionNotKept(let precision):
            return Problem(
                name: "precision-not-kept", title: "The noise is larger than the precision", status: 409,
                detail: "What was encrypted and not computed on cannot be released within \(precision) here.",
                fix: "Decrypt results of the model, or register a key set with a coarser precision.")
        case .objectTampered(let name):
            return Problem(
                name: "object-tampered", title: "A stored object was altered", status: 500,
                detail: "\(name) is not what the manifest names.",
                fix: "The operator restores it from a backup; the store altered, swapped or rolled it back.")
        case .objectMissing(let name):
            return Problem(
                name: "object-missing", title: "A stored object is missing", status: 404,
                detail: "\(name) is not in the object store.", fix: "Check the name; the operator checks the store.")
        case .metadataTampered(let collection):
            return Problem(
                name: "metadata-tampered", title: "A metadata row was altered", status: 500,
                detail: "A row of \(collection) was not written by this installation.",
                fix: "The operator restores the metadata store from a backup.")
        case .receiptRejected(let error):
            return Problem(
                name: "receipt-rejected", title: "The evaluation unit's receipt is not believed", status: 502,
                detail: error.description, fix: "The operator checks the unit and its pinned public key.")
        case .statementRejected(let error): return problem(error)
        case .homomorphicEncryption(let error): return problem(error)
        case .unknownKMS(let name):
            return Problem(
                name: "kms-not-configured", title: "The KMS of this key set is not configured", status: 502,
                detail: "Its seed is sealed by the KMS \(name), which this gateway's configuration does not name.",
                fix: "The operator adds it under otherKMS, or migrates the key sets before it is taken away.")
        case .kmsCredentialMissing:
            return Problem(
                name: "kms-token-required", title: "The KMS asks for your own credential", status: 403,
                detail: "The seed is sealed under a key of the principal's own, which the gateway cannot use alone.",
                fix: "Send HKMS-KMS-Token with a JWT for the KMS; the CLI takes --kms-token-file.")
        case .kmsCredentialRefused(let reason):
            return Problem(
                name: "kms-token-refused", title: "The KMS refuses your own credential", status: 403,
                detail: "The KMS did not let the holder of HKMS-KMS-Token use the key: \(reason).",
                fix: "Send a token of your own for the KMS's audience that has not expired.")
        case .kms(let error): return problem(error)
        case .objectStore(let error):
            return Problem(
                name: "object-store-unavailable", title: "The object store failed", status: 503,
                detail: error.description,
                fix: "The operator checks that the store has room and can be written to.", retryAfterSeconds: 5)
        case .metadataStore(let error):
            return Problem(
                name: "metadata-store-unavailable", title: "The metadata store failed", status: 503,
                detail: error.description, fix: "The operator checks that the store has room and can be written to.",
                retryAfterSeconds: 5)
        case .memory(let error): return problem(error)
        case .busy:
            return Problem(
                name: "busy", title: "Too much to compute", status: 503,
                detail: "The queue for homomorphic encryption is full.", fix: "Retry after a moment.",
                retryAfterSeconds: 1)
        case .decryptionFailed:
            return Problem(
                name: "decryption-failed", title: "Decryption failed", status: 500,
                detail: "The ciphertexts could not be decrypted.",
                fix: "Check the key set's state: repeated failures suspend it.")
        case .internalFailure(let reason):
            return Problem(
                name: "internal-error", title: "Something went wrong inside", status: 500, detail: reason,
                fix: "Give the request id to the operator, who finds more in the log.")
        }
    }
}

extension Gateway {
    /// The problem that a flow's error becomes, for tools that call flows without HTTP.
    public static func problem(for error: KeyManagementError) -> Problem { ErrorProblems.problem(error) }
}
