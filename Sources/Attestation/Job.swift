#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a gateway asks of an evaluation unit, signed by the gateway's request key.
public struct JobDescription: Statement, Hashable {
    public static let payloadType = "application/vnd.hkms.job.v1+json"

    public var job: String
    /// 32 random bytes in hex: the receipt must repeat them.
    public var nonce: Digest
    public var gateway: String
    /// The unit that is asked; another refuses.
    public var unit: String
    public var keySet: String
    /// The unit evaluates only under this manifest.
    public var manifest: Digest
    public var model: String
    public var modelDigest: Digest
    /// Digest of each input ciphertext, in order.
    public var inputs: [Digest]
    public var created: Date

    public init(
        job: String, nonce: Digest, gateway: String, unit: String, keySet: String, manifest: Digest, model: String,
        modelDigest: Digest, inputs: [Digest], created: Date
    ) {
        self.job = job
        self.nonce = nonce
        self.gateway = gateway
        self.unit = unit
        self.keySet = keySet
        self.manifest = manifest
        self.model = model
        self.modelDigest = modelDigest
        self.inputs = inputs
        self.created = created
    }
}

/// An evaluation unit's word that it evaluated a job: who vouches, not that it is true.
public struct Receipt: Statement, Hashable {
    public static let payloadType = "application/vnd.hkms.receipt.v1+json"

    public var job: String
    public var nonce: Digest
    public var keySet: String
    public var manifest: Digest
    public var modelDigest: Digest
    public var profile: Digest
    public var inputs: [Digest]
    public var outputs: [Digest]
    public var unit: String
    public var evaluated: Date

    public init(
        job: String, nonce: Digest, keySet: String, manifest: Digest, modelDigest: Digest, profile: Digest,
        inputs: [Digest], outputs: [Digest], unit: String, evaluated: Date
    ) {
        self.job = job
        self.nonce = nonce
        self.keySet = keySet
        self.manifest = manifest
        self.modelDigest = modelDigest
        self.profile = profile
        self.inputs = inputs
        self.outputs = outputs
        self.unit = unit
        self.evaluated = evaluated
    }

    /// Checks that this receipt answers `job`.
    /// - Parameter operands: ciphertexts that one evaluation of the circuit takes.
    /// - Throws: ``AttestationError/mismatch(field:)`` naming the first field that differs.
    public func validate(
        answering description: JobDescription, profile expected: Digest, operands: Int = 1
    ) throws(AttestationError) {
        func require(_ condition: Bool, _ field: String) throws(AttestationError) {
            if !condition { throw .mismatch(field: field) }
        }
        try require(job == description.job, "job")
        try require(nonce == description.nonce, "nonce")
        try require(unit == description.unit, "evaluation unit")
        try require(keySet == description.keySet, "key set")
        try require(manifest == description.manifest, "manifest")
        try require(modelDigest == description.modelDigest, "model")
        try require(profile == expected, "circuit profile")
        try require(inputs == description.inputs, "list of inputs")
        try require(!outputs.isEmpty && outputs.count * max(operands, 1) == inputs.count, "number of outputs")
    }
}
