import Attestation
import EncryptedInference
import KeyManagement
import ServiceKit

/// Reads what units sign of their models and circuits: each once, however often it is sent, and on the compute threads,
/// for the check of a circuit on integers builds the tables of its ring.
final class DescriptionReader: Sendable {
    private struct Question: Hashable {
        let envelope: Digest
        let key: VerificationKey
    }

    private let compute: PoolCompute
    private let read = RememberedResults<Question, Result<any CircuitDescription, any Error>>(1024)

    init(compute: PoolCompute) { self.compute = compute }

    /// The description, verified and valid.
    /// - Throws: what `CircuitDescriptions.read` throws, `ComputeSaturated`.
    func description(_ envelope: [UInt8], pinned key: VerificationKey) async throws -> any CircuitDescription {
        let compute = compute
        return try await read.value(for: Question(envelope: Digest(of: envelope), key: key)) {
            try await compute.run { Result { try CircuitDescriptions.read(envelope, pinned: [key]) } }
        }.get()
    }
}
