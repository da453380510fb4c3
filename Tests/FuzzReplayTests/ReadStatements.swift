import Attestation
import AuditLog
import EncryptedInference
import SecretMemory
import ServiceKit

enum SignedBy {
    /// The key of RFC 8032, 7.1, test 1.
    static let key: SigningKey = {
        let hex = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
        do {
            let bytes = Digest.bytes(hex: hex) ?? []
            return try bytes.withUnsafeBytes { try SigningKey(seed: SecretBytes(copying: $0)) }
        } catch { fatalError("\(error)") }
    }()
}

func readEnvelope(_ bytes: [UInt8]) {
    guard
        let signed = try? SignedStatement<Receipt>(verifying: bytes, pinned: [SignedBy.key.verificationKey]),
        let written = try? signed.serialized()
    else { return }
    let read = try? SignedStatement<Receipt>(verifying: written, pinned: [SignedBy.key.verificationKey])
    precondition(read?.payload == signed.payload, "what was believed is believed again")
}

func readAuditLine(_ bytes: [UInt8]) {
    guard let line = try? AuditLine(parsing: bytes) else { return }
    precondition(line.serialized() == bytes, "one line has one form")
    precondition(bytes.dropLast().allSatisfy { (0x20...0x7E).contains($0) }, "a line is one line of printable ASCII")
}

/// A payload as it is read behind its signature: a signer whom others trust may still write nonsense.
func readStatement<Body: Statement>(_: Body.Type, _ payload: [UInt8], _ use: (Body) -> Void) {
    guard let body = try? APIJSON.decode(Body.self, from: payload) else { return }
    use(body)
    _ = try? APIJSON.encode(body)
}

func use(_ manifest: KeySetManifest) {
    _ = manifest.publicKey
    _ = manifest.objects.map(\.name)
    _ = manifest.profile?.digest
    try? manifest.profile?.validate()
    _ = manifest.parameters.maximumEvaluationKeyLevel
    if let profile = manifest.profile, let flooding = manifest.policy.flooding {
        try? flooding.validate(for: profile)
        _ = try? flooding.inputPolicy(of: profile)
    }
    _ = PlanRequest(manifest)
    if let key = try? SecretBytes(count: 32) { _ = manifest.isProved(by: key) }
}

/// A question to the planner. What costs a search is asked in its own tests; a profile is taken up again.
func readPlanRequest(_ bytes: [UInt8]) {
    guard let request = try? APIJSON.decode(PlanRequest.self, from: bytes), let profile = request.profile,
        let model = PlannedModel.model
    else { return }
    _ = try? InferencePlan(model, profile: profile, release: request.release)
}

enum PlannedModel {
    static let model = try? InferenceModel(
        parsing: Array(
            """
            {"format": "hkms.model.v1", "name": "line", "version": 1, "description": "",
             "inputs": [{"name": "a", "encoding": "binary"}, {"name": "b", "encoding": "binary"}],
             "layers": [{"type": "dense", "weights": [[0.5, -0.25]], "bias": [0.125]}],
             "output": {"name": "y", "threshold": 0.5, "labels": ["low", "high"]}}
            """.utf8))
}

func use(_ descriptor: ModelDescriptor) {
    guard (try? descriptor.validate()) != nil else { return }
    _ = descriptor.profile.digest
    var fields: [String: Record.Value] = [:]
    for input in descriptor.inputs {
        fields[input.name] = .number(input.categories?.first ?? input.valid?.first ?? input.minimum ?? 0)
    }
    _ = try? descriptor.slots(of: [Record(fields), Record(fields)])
    _ = descriptor.output.label(for: 0)
}

func use(_ descriptor: IntegerCircuitDescriptor) {
    guard (try? descriptor.validate()) != nil else { return }
    _ = descriptor.profile.digest
    let record = IntegerRecord(descriptor.columns.map { ($0.name, $0.minimum) }, uniquingKeysWith: { $1 })
    let slots = try? descriptor.slots(of: [record, record])
    let places = descriptor.results.map(\.slot)
    precondition((slots ?? []).allSatisfy { slots in places.allSatisfy(slots.indices.contains) }, "results have slots")
}
