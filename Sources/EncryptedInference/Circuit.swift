import Attestation
import HomomorphicEncryption

/// What an evaluation unit computes on ciphertexts, whatever the scheme: it can be asked for by name, checked and run.
public protocol Circuit: Sendable {
    var profile: CircuitProfile { get }
    var context: EncryptionContext { get }

    /// Checks one input before any work is done on it.
    /// - Throws: ``InferenceError/unexpectedInput(reason:)``.
    func validate(_ input: Ciphertext) throws(InferenceError)

    /// Runs the circuit once. Deterministic: the same inputs and keys give the same bytes on every machine.
    /// - Parameter inputs: as many as `profile.operands` says.
    func evaluate(_ inputs: [Ciphertext], keys: EvaluationKeySet) throws -> Ciphertext

    /// What the unit of this name tells of it.
    func description(unit: String) -> any CircuitDescription
}

extension Circuit {
    /// The name that it is asked for by.
    public var name: String { profile.model }
    /// SHA-256 of its file.
    public var digest: Digest { profile.modelDigest }
}

/// What an owner tells about a circuit: everything but what is the owner's own, such as weights. Signed by the
/// evaluation unit.
public protocol CircuitDescription: Statement {
    var name: String { get }
    var version: Int { get }
    /// The evaluation unit that runs it.
    var unit: String { get }
    var profile: CircuitProfile { get }

    /// Checks what a gateway relies on; the signature says who wrote it, not that it makes sense.
    func validate() throws
}

extension CircuitDescription {
    /// The envelope of this description.
    public func signed(by key: SigningKey) throws(AttestationError) -> [UInt8] {
        try SignedStatement(self, by: key).serialized()
    }
}

/// The descriptions that there are, one type for each kind of circuit.
public enum CircuitDescriptions {
    private static let types: [any CircuitDescription.Type] = [ModelDescriptor.self, IntegerCircuitDescriptor.self]

    /// Reads a signed description of whatever kind and validates it.
    /// - Throws: ``AttestationError``, or what ``CircuitDescription/validate()`` throws.
    public static func read(
        _ envelope: [UInt8], pinned: [VerificationKey]
    ) throws -> any CircuitDescription {
        var refusal: any Error = AttestationError.malformed(reason: "no kind of description")
        for type in types {
            do { return try read(type, envelope, pinned) } catch let error as AttestationError {
                guard case .unexpectedType = error else { throw error }
                refusal = error
            }
        }
        throw refusal
    }

    private static func read<Description: CircuitDescription>(
        _: Description.Type, _ envelope: [UInt8], _ pinned: [VerificationKey]
    ) throws -> any CircuitDescription {
        let body = try SignedStatement<Description>(verifying: envelope, pinned: pinned).body
        try body.validate()
        return body
    }
}

/// Files of circuits, of every format.
public enum CircuitFile {
    /// Longest file that is read, in bytes.
    public static let maximumBytes = InferenceModel.maximumFileBytes

    /// Reads a file of any format that there is, and makes it ready to run.
    /// - Throws: ``InferenceError``, or ``HEError`` where a weight does not fit the scale.
    public static func compile(parsing bytes: [UInt8]) throws -> any Circuit {
        if IntegerCircuit.isFormat(of: bytes) { return try CompiledIntegerCircuit(IntegerCircuit(parsing: bytes)) }
        return try CompiledModel(InferenceModel(parsing: bytes))
    }
}

extension CompiledModel: Circuit {
    public var profile: CircuitProfile { plan.profile }

    public func evaluate(_ inputs: [Ciphertext], keys: EvaluationKeySet) throws -> Ciphertext {
        guard inputs.count == 1 else { throw InferenceError.unexpectedInput(reason: "a model takes one ciphertext") }
        return try evaluate(inputs[0], keys: keys)
    }

    public func description(unit: String) -> any CircuitDescription { ModelDescriptor(self, unit: unit) }
}

extension ModelDescriptor: CircuitDescription {}
