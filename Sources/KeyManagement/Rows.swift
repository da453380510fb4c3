import Attestation

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The anchor of a key set: which manifest is the current one, its state, and its counters.
struct KeySetRow: AuthenticatedRow {
    static let collection = "keysets"

    var keySet: String
    var tenant: String
    var owner: KeySetOwner
    var manifestVersion: Int
    var manifest: Digest
    var state: KeySetState
    var created: Date
    var destroyed: Date?
    /// When it was seen that nothing is left that opens the seed.
    var shredded: Date?
    /// Where a seal of it was about to be made: storage may have one that no manifest ever named.
    var attempted: [SealingPlace]?
    /// Of all these places, those whose key or versions this installation has itself destroyed.
    var gone: [SealingPlace]?
    /// Keys of its own that were seen at their KMS and are about to be destroyed.
    var destroying: [SealingPlace]?
    /// The job that sealed it anew last.
    var rewrapJob: String?
    var encryptions = 0
    var decryptions = 0
    /// Decryptions left; nil for no limit.
    var budget: Int?
    /// Uniform errors after the seed was opened; at 16 the key set is suspended.
    var failures = 0
    /// A ciphertext that nobody vouched for was decrypted: revocation means nothing any more.
    var exposed = false
    /// Results are released raw, or one was: nothing of it is for others, for ever.
    var tainted = false

    /// The state that counts: too many failures suspend from the write on that counted the last of them, also where the
    /// manifest that says so could not be stored.
    var standing: KeySetState { state == .active && failures >= KeyManager.failureLimit ? .suspended : state }
}

/// One registration by a client's request id.
struct RegistrationRow: AuthenticatedRow {
    static let collection = "registrations"

    /// Also the row's index, so that what was broken off is found again: `creating` until nothing of it is left.
    enum Status: String, Codable {
        case creating
        case complete
        /// Broken off; what it left is removed.
        case abandoned
    }
    var keySet: String
    /// Digest of what was asked: the same id for something else is an error.
    var fingerprint: Digest
    /// The process that is at it.
    var instance: String
    var status: Status
    var started: Date
}

/// A ciphertext that may be decrypted.
struct CiphertextRow: AuthenticatedRow {
    static let collection = "ciphertexts"

    var keySet: String
    /// The job that it is the result of; nil for one that this service encrypted.
    var job: String?
    /// Digest of the circuit profile that it was encrypted for, values within the circuit's ranges.
    var circuit: Digest?
    /// Which of the circuit's operands it is, where there are several.
    var operand: Int?

    /// A result.
    init(keySet: String, job: String) {
        self.keySet = keySet
        self.job = job
    }

    /// Input `index` of a circuit, where it is for one: circuits take their operands in turn.
    init(keySet: String, _ index: Int, of circuit: CircuitProfile?) {
        self.keySet = keySet
        self.circuit = circuit?.digest
        operand = circuit?.operands.map { index % $0 }
    }

    func isInput(_ index: Int, of profile: CircuitProfile) -> Bool {
        circuit == profile.digest && operand == profile.operands.map { index % $0 }
    }

    static func id(keySet: String, digest: Digest) -> String { "\(keySet).\(digest.hex)" }
}

/// A job: inputs that this service encrypted, to be evaluated by a registered unit.
struct JobRow: AuthenticatedRow {
    static let collection = "jobs"

    var job: String
    var keySet: String
    var tenant: String
    var requester: String
    var unit: String
    /// Who runs the unit: its results are not for them. Absent where nobody is configured.
    var `operator`: KeySetOwner?
    var model: String
    var modelDigest: Digest
    var profile: Digest
    var nonce: Digest
    var manifest: Digest
    var inputs: [Digest]
    var outputs: [Digest]
    /// Whether the outputs are stored for the requester to fetch.
    var keepsOutputs: Bool
    var receipt: Digest?
    var state: JobState
    var failure: String?
    var created: Date
    var finished: Date?
}

/// One of ``Anchors``.
struct AnchorRow: AuthenticatedRow {
    static let collection = "anchors"

    var text: String
}

/// Where a job stands.
public enum JobState: String, Sendable, Codable {
    /// Waits for its receipt.
    case open
    /// Its one receipt has come; results may be decrypted.
    case evaluated
    case failed
}

/// Rows of every collection, for those who hold any bytes against their readers.
package enum StoredRow {
    private static let rows: [any AuthenticatedRow.Type] = [
        KeySetRow.self, RegistrationRow.self, CiphertextRow.self, JobRow.self, AnchorRow.self,
        RewrapJobRow.self,
    ]

    package static let collections = rows.map { $0.collection }

    /// Reads a row as it is read behind its authentication, and writes it again.
    /// - Returns: nil for what is no row of this collection.
    package static func rewritten(_ json: [UInt8], collection: String) -> [UInt8]? {
        rows.first { $0.collection == collection }?.init(json: json)?.json
    }
}
