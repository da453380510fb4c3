import Attestation
import HomomorphicEncryption

/// What a model owner tells about a model: everything but the weights. Signed by the evaluation unit.
public struct ModelDescriptor: Statement, Hashable {
    public static let payloadType = "application/vnd.hkms.model-descriptor.v1+json"

    public let name: String
    public let version: Int
    public let description: String
    public let inputs: [InputFeature]
    public let output: OutputDescription
    public let packing: Packing
    public let profile: CircuitProfile
    /// The evaluation unit that runs it.
    public let unit: String
    /// How results of this profile are flooded, with the bound that the unit vouches for; nil for raw results.
    public let release: PlannedRelease?

    /// A release plan as it travels.
    public struct PlannedRelease: Sendable, Hashable, Codable {
        public let request: ReleaseRequest
        public let policy: FloodingPolicy
        /// What a released score is off by at most, but with a chance of 2^-40 a result.
        public let accuracy: Double
        /// What was chosen and why, in lines of text.
        public let report: String
    }

    public init(_ compiled: CompiledModel, unit: String) {
        self.init(compiled.model, plan: compiled.plan, unit: unit)
    }

    public init(_ model: InferenceModel, plan: InferencePlan, unit: String) {
        name = model.name
        version = model.version
        description = model.description
        inputs = model.inputs
        output = model.output
        packing = plan.packing
        profile = plan.profile
        self.unit = unit
        release = plan.release.map {
            PlannedRelease(request: $0.request, policy: $0.policy, accuracy: $0.accuracy, report: $0.report)
        }
    }

    /// The rules for a key set of this profile; nil for raw results.
    public var flooding: FloodedRelease? {
        release.map { FloodedRelease(precision: $0.request.precision, policy: $0.policy) }
    }

    /// Checks what a gateway relies on; the signature says who wrote it, not that it makes sense.
    /// - Throws: ``InferenceError`` or ``AttestationError``.
    public func validate() throws {
        try profile.validate()
        for input in inputs { try input.validate() }
        try packing.validate(slots: profile.parameters.slotCount)
        let width = inputs.reduce(0) { $0 + $1.width }
        guard name == profile.model, packing.batch == profile.batch, width <= packing.period, output.labels.count == 2
        else { throw InferenceError.malformedModel(reason: "its description contradicts its profile") }
        guard profile.parameters.scheme == .ckks else {
            throw InferenceError.malformedModel(reason: "it is not a CKKS circuit")
        }
        guard let release, let flooding else { return }
        try flooding.validate(for: profile)
        let (request, policy) = (release.request, release.policy)
        guard policy.statisticalBits == request.statisticalBits, policy.budget == request.budget,
            policy.audience == request.audience, release.accuracy <= request.precision
        else { throw InferenceError.malformedModel(reason: "its release policy is not the one that was asked for") }
    }

    /// Encodes raw records into the slots of as many plaintexts as they need.
    /// - Throws: ``InferenceError`` naming the record and the field.
    public func slots(of records: [Record]) throws(InferenceError) -> [[Double]] {
        guard !records.isEmpty else { throw .noRecords }
        try profile.requireRoom(for: records.count)
        let encoded = try inputVectors(of: records)
        return stride(from: 0, to: encoded.count, by: packing.batch).map { start in
            packing.slots(encoded[start..<min(start + packing.batch, encoded.count)])
        }
    }

    /// Whether slots are within the ranges that records are checked for. The bounds behind a ``ReleasePlan`` are for
    /// such inputs alone: what is encrypted for flooded results by another way than ``slots(of:)`` must pass this.
    public func holds(_ slots: [Double]) -> Bool {
        let ranges = inputs.flatMap(\.range)
        guard slots.count <= packing.width * packing.batch else { return false }
        return slots.enumerated().allSatisfy { index, value in
            let input = index / packing.batch % packing.period
            return (input < ranges.count ? ranges[input] : 0...0).contains(value)
        }
    }

    /// The network inputs of each record.
    public func inputVectors(of records: [Record]) throws(InferenceError) -> [[Double]] {
        var encoded: [[Double]] = []
        for (index, record) in records.enumerated() { encoded.append(try record.encoded(by: inputs, index: index)) }
        return encoded
    }
}
