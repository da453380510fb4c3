import Attestation
import EncryptedInference
import HomomorphicEncryption
import KeyManagement
import RLWE
import ServiceKit

/// What a registration asks for, as the key manager takes it: parameters and keys of a model, of a preset or its own.
extension Gateway {
    /// Asks the policy for a registration, by what its body says and the configuration fills in.
    func permitRegistration(
        _ body: RegisterRequest, _ operation: RequestedOperation
    ) async throws {
        let owner = owner(of: body, operation.requester)
        operation.note("mode", body.mode)
        try manager.requireOwnership(by: owner, for: operation.requester)
        if let preset = body.preset { operation.note("preset", preset) }
        var isFlooded = body.model != nil && body.release ?? "flooded" == ReleaseNoise.flooded.rawValue
        if isFlooded, let model = body.model {
            // Exact integers are not.
            isFlooded = try await units.model(named: model).descriptor.profile.parameters.scheme == .ckks
        }
        let asked = body.audience.flatMap { ReleaseAudience(rawValue: $0) }
        try operation.permitNew(
            ownedBy: owner, model: body.model,
            decryptionsLeft: body.decryptionBudget ?? (isFlooded ? configuration.release.budget : nil),
            audience: asked ?? (isFlooded ? configuration.release.audience : .owner))
    }

    private func owner(of body: RegisterRequest, _ requester: Requester) -> KeySetOwner {
        body.group.map { KeySetOwner(kind: .group, issuer: requester.issuer, subject: $0) } ?? requester.owner
    }

    /// - Returns: also what was planned for flooded results, in words.
    func registration(
        _ body: RegisterRequest, _ requester: Requester
    ) async throws -> (request: RegistrationRequest, report: String?) {
        guard let mode = ProtectionMode(rawValue: body.mode), mode != .ephemeral else {
            throw Problem.badRequest("mode is neither direct nor envelope", fix: "Set mode to direct or envelope.")
        }
        let owner = owner(of: body, requester)
        let decryptAny = body.decryptAny ?? false
        let asked = AskedRelease(
            release: body.release, precision: body.precision, statisticalBits: body.statisticalBits,
            decryptions: body.decryptionBudget, audience: body.audience)
        func unflooded(_ scheme: Scheme) -> KeySetPolicy {
            .unflooded(scheme, decryptAny: decryptAny, decryptionBudget: body.decryptionBudget)
        }
        guard [body.model != nil, body.preset != nil, body.parameters != nil].filter({ $0 }).count == 1 else {
            throw Problem.badRequest(
                "exactly one of model, preset and parameters is needed",
                fix: "Name the model that the keys are for, or a preset.")
        }
        if let name = body.model {
            let listed = try await units.model(named: name)
            var (profile, report) = (listed.descriptor.profile, String?.none)
            var policy = unflooded(profile.parameters.scheme)
            if let release = try releaseRequest(asked, scheme: profile.parameters.scheme) {
                // Who runs the unit would choose the noise that hides the key from them.
                let unit = listed.client.unit.registered
                if let runner = unit.operator, requester.owners.contains(runner) {
                    throw KeyManagementError.unitIsRequester(unit: unit.name)
                }
                let planned = try await units.model(named: name, planned: release, as: requester).network()
                guard let flooding = planned.flooding else { throw Self.floodingNeedsModel }
                profile = planned.profile
                policy = .flooded(flooding, decryptAny: decryptAny)
                report = planned.release?.report
            }
            let request = RegistrationRequest(
                requestID: body.requestId, mode: mode, owner: owner, parameters: profile.parameters,
                evaluationKeys: profile.evaluationKeys, profile: profile, policy: policy)
            return (request, report)
        }
        let parameters = try parameters(body)
        guard try releaseRequest(asked, scheme: parameters.scheme) == nil else { throw Self.floodingNeedsModel }
        let request = RegistrationRequest(
            requestID: body.requestId, mode: mode, owner: owner, parameters: parameters,
            evaluationKeys: try evaluationKeys(body, parameters), profile: nil, policy: unflooded(parameters.scheme))
        return (request, nil)
    }

    private func parameters(_ body: RegisterRequest) throws -> EncryptionParameters {
        if let name = body.preset {
            if let preset = ParameterPreset.named(name) { return preset.parameters }
            if let preset = BFVParameterPreset.named(name) { return preset.parameters }
            let names = ParameterPreset.all.map(\.name) + BFVParameterPreset.all.map(\.name)
            throw Problem(
                name: "unknown-preset", title: "Unknown preset", status: 422, detail: "There is no such preset.",
                fix: "Presets are \(names.joined(separator: ", ")).")
        }
        let schemes = Scheme.allCases.map { ($0, "\($0)") }
        guard let custom = body.parameters,
            let scheme = schemes.first(where: { $0.1 == custom.scheme.lowercased() })?.0
        else {
            throw Problem.badRequest("parameters.scheme is neither ckks nor bfv", fix: "Name one of the two.")
        }
        return try EncryptionParameters(
            scheme: scheme, logN: custom.logN, q: custom.q, p: custom.p, alpha: custom.alpha, t: custom.t ?? 0)
    }

    private func evaluationKeys(
        _ body: RegisterRequest, _ parameters: EncryptionParameters
    ) throws -> [EvaluationKeyID] {
        // One automorphism, of element 2N - 1, with another meaning in each scheme.
        if parameters.scheme == .ckks ? body.rowSwap != nil : body.conjugation != nil {
            throw KeyManagementError.otherScheme(keySet: parameters.scheme)
        }
        let level = parameters.maximumEvaluationKeyLevel
        guard level > 0 else {
            if body.relinearization == true || body.rotations?.isEmpty == false || body.conjugation == true
                || body.rowSwap == true
            {
                throw HEError.invalidParameters(reason: "parameters without special primes have no evaluation keys")
            }
            return []
        }
        var keys: [EvaluationKeyID] = []
        if body.relinearization ?? true { keys.append(EvaluationKeyID(kind: .relinearization, level: level)) }
        let rotations = body.rotations ?? []
        guard rotations.count <= 1024 else {
            throw Problem.badRequest("more than 1024 rotations", fix: "Ask for fewer.")
        }
        var elements = Set<Int>()
        for steps in rotations {
            guard steps.magnitude < parameters.rotationPeriod, steps != 0 else {
                throw Problem.badRequest(
                    "a rotation is by 0 or by \(parameters.rotationPeriod) slots or more",
                    fix: "Rotations are between 1 and \(parameters.rotationPeriod - 1), or negative.")
            }
            elements.insert(GaloisAutomorphism.element(rotatingBy: steps, degree: parameters.degree))
        }
        if body.conjugation ?? body.rowSwap ?? false { elements.insert(2 * parameters.degree - 1) }
        keys += elements.sorted().map { EvaluationKeyID(kind: .galois, galois: UInt32($0), level: level) }
        return keys
    }
}

extension RequestedOperation {
    /// A key set that the operation made, or found made.
    func note(registered manifest: KeySetManifest) {
        note(keySet: manifest.keySet, version: manifest.version)
        note("parameters", manifest.parameterDigest.hex)
        note("release", manifest.policy.release.rawValue)
        note("audience", manifest.policy.audience.rawValue)
    }
}
