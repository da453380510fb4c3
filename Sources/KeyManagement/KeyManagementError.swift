import Attestation
import HomomorphicEncryption
import SecretMemory

/// Every way in which a flow refuses or fails. No case carries a secret.
public enum KeyManagementError: Error, Sendable, Equatable {
    // The request
    case invalidRequest(reason: String)
    /// There is none, or it is somebody else's: the answer does not tell which.
    case unknownKeySet(String)
    case keySetDestroyed(String)
    case keySetNotActive(String, state: KeySetState)
    /// The same request id was used before for something else.
    case requestIDReused
    case registrationInProgress
    case unknownJob(String)
    case jobNotOpen(String, state: String)
    /// The job's results went out with the answer that asked for them, and were not stored.
    case jobKeepsNoResults(String)
    /// The key set is for the numbers of another scheme than the request's.
    case otherScheme(keySet: Scheme)
    /// The requester runs the evaluation unit that would vouch for the result.
    case unitIsRequester(unit: String)

    // What is not decrypted
    /// Neither encrypted by this service nor the result of an open job of this key set.
    case notVouched(Digest)
    case decryptAnyNotGranted
    case budgetExhausted

    // Release
    /// Flooded results were asked of a key set whose results are raw.
    case keySetIsRaw(String)
    /// Raw results were asked of a key set whose results are flooded.
    case keySetIsFlooded(String)
    /// Something of it was released raw: nothing of it is for others any more.
    case keySetTainted(String)
    /// The circuit is not the one that the key set's noise was planned for.
    case otherCircuit(keySet: String)
    /// Encrypted here, but not as an input of the circuit that the key set's noise was planned for.
    case notCircuitInput(Digest)
    /// What hides this ciphertext's error moves it by more than the key set's precision.
    case precisionNotKept(precision: Double)

    // Things that do not hold together
    /// What the object store returned is not what the manifest names.
    case objectTampered(String)
    case objectMissing(String)
    /// A row of the metadata store that this installation did not write.
    case metadataTampered(collection: String)
    case receiptRejected(AttestationError)
    case statementRejected(AttestationError)
    case homomorphicEncryption(HEError)

    // The trusted KMSs
    /// A manifest names a KMS that the configuration does not.
    case unknownKMS(String)
    /// The key set is sealed under a key of the principal's own, and the request brings no credential for the KMS.
    case kmsCredentialMissing
    /// The KMS does not let the holder of the request's credential use the key.
    case kmsCredentialRefused(reason: String)
    /// A job that seals key sets anew does not go on.
    case rewrapStopped(reason: String, fix: String)

    // The systems around
    case kms(KMSError)
    case objectStore(ObjectStoreError)
    case metadataStore(MetadataStoreError)
    case memory(SecretMemoryError)

    /// Too much waits for the compute pool.
    case busy

    /// The one error after a seed was opened: no detail tells what failed.
    case decryptionFailed
    case internalFailure(reason: String)
}

extension KeyManagementError {
    init(_ error: any Error) {
        switch error {
        case let error as KeyManagementError: self = error
        case let error as KMSError: self = .kms(error)
        case let error as ObjectStoreError: self = .objectStore(error)
        case let error as MetadataStoreError: self = .metadataStore(error)
        case let error as HEError: self = .homomorphicEncryption(error)
        case let error as SecretMemoryError: self = .memory(error)
        case let error as AttestationError: self = .statementRejected(error)
        case is ComputeSaturated: self = .busy
        case is CancellationError: self = .internalFailure(reason: "the request was cancelled")
        default: self = .internalFailure(reason: "\(type(of: error))")
        }
    }
}
