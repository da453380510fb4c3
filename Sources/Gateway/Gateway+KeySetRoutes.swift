import Attestation
import ComplexModule
import EncryptedInference
import HTTPTypes
import HomomorphicEncryption
import Hummingbird
import KeyManagement
import RLWE
import RealModule
import ServerKit
import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension Gateway {
    func addKeySetRoutes(to group: RouterGroup<ServiceContext>) {
        group.post { [self] request, context in
            let body = try await request.decodeJSON(RegisterRequest.self, limit: 1 << 20)
            let requester = try requester(context)
            let (registration, report) = try await registration(body, requester)
            let result = try await manager.register(registration, as: requester)
            var info = KeySetInfo(result.keySet)
            info.releaseReport = report
            return try Response.json(
                info, status: result.isNew ? .created : .ok, timings: ServerTiming(result.timings))
        }
        group.get { [self] _, context in
            try Response.json(
                KeySetList(keySets: try await manager.list(as: requester(context)).map { KeySetInfo($0) }))
        }
        group.get("{id}") { [self] _, context in
            try Response.json(
                KeySetInfo(try await manager.show(parameter("id", context), as: requester(context))))
        }
        group.delete("{id}") { [self] _, context in
            let destruction = try await manager.destroy(parameter("id", context), as: requester(context))
            await units.forget(destruction.manifests)
            return try Response.json(DestroyResponse(destruction))
        }
        group.get("{id}/manifest") { [self] _, context in
            let manifest = try await manager.signedManifest(parameter("id", context), as: requester(context))
            return Response.bytes(try manifest.serialized(), type: MediaType.envelope)
        }
        group.get("{id}/public-key") { [self] _, context in
            let key = try await manager.publicKey(parameter("id", context), as: requester(context))
            var response = Response.bytes(key, type: MediaType.octetStream)
            // Said where the key is served, because whoever uses it will want results back.
            response.headers[.notice] =
                "ciphertexts made with this key outside HKMS are for evaluation; only results with a unit's receipt are decrypted"
            return response
        }
        group.get("{id}/evaluation-keys") { [self] _, context in
            let info = KeySetInfo(try await manager.show(parameter("id", context), as: requester(context)))
            return try Response.json(EvaluationKeyList(evaluationKeys: info.objects.filter { $0.name != "public-key" }))
        }
        group.get("{id}/evaluation-keys/relinearization") { [self] _, context in
            try await evaluationKey("relinearization", context)
        }
        group.get("{id}/evaluation-keys/galois/{element}") { [self] _, context in
            guard let element = UInt32(try parameter("element", context)) else {
                throw Problem.badRequest("a Galois element is a number", fix: "GET .../evaluation-keys lists them.")
            }
            return try await evaluationKey("galois-\(element)", context)
        }
        group.post("{id}/encrypt") { [self] request, context in
            let body = try await request.decodeJSON(
                EncryptRequest.self, limit: configuration.bodyBytes, integerMembers: EncryptRequest.integerMembers)
            let result = try await encrypt(body, under: parameter("id", context), as: requester(context))
            let timings = ServerTiming(result.timings)
            guard request.headers[.accept]?.contains(MediaType.json) == true else {
                return Response.bytes(OctetBundle.encode(result.ciphertexts), type: MediaType.bundle, timings: timings)
            }
            let items = zip(result.digests, result.ciphertexts).map {
                EncryptResponse.Item(digest: $0.hex, ciphertext: Data($1).base64EncodedString())
            }
            return try Response.json(EncryptResponse(ciphertexts: items), timings: timings)
        }
        group.post("{id}/decrypt") { [self] request, context in
            let ciphertexts = try await bundle(request)
            var count: Int?
            if let text = request.uri.queryParameters["count"] {
                guard let number = Int(text), number >= 0 else {
                    throw Problem.badRequest("count is not a number", fix: "Give count=N, the slots to release.")
                }
                count = number
            }
            let complex = request.uri.queryParameters["complex"] == "true"
            let unsigned = request.uri.queryParameters["unsigned"] == "true"
            guard !(complex && unsigned) else {
                throw Problem.badRequest(
                    "complex and unsigned are of different schemes", fix: "Give the one of the key set's scheme.")
            }
            var expected: ReleaseNoise?
            if let text = request.uri.queryParameters["release"] {
                expected = ReleaseNoise(rawValue: String(text))
                guard expected != nil else {
                    throw Problem.badRequest(
                        "release is none of flooded, raw and exact", fix: "Leave it out, or set it.")
                }
            }
            let result = try await manager.decrypt(
                ciphertexts, of: parameter("id", context), count: count,
                form: complex ? .complex : unsigned ? .unsigned : .standard, expecting: expected,
                as: requester(context))
            let vectors = result.vectors.map { vector in
                EncryptRequest.Vector(
                    real: vector.map(\.real), imaginary: complex ? vector.map(\.imaginary) : nil)
            }
            return try Response.json(
                DecryptResponse(
                    release: result.release.rawValue, flooding: result.flooding.map { FloodingBody($0) },
                    decryptionsLeft: result.decryptionsLeft, vectors: vectors,
                    integers: result.integers.isEmpty ? nil : result.integers),
                timings: ServerTiming(result.timings))
        }
        group.refuseOtherMethods("", than: [.get, .post])
        group.refuseOtherMethods("{id}", than: [.get, .delete])
        for path: RouterPath in [
            "{id}/manifest", "{id}/public-key", "{id}/evaluation-keys", "{id}/evaluation-keys/relinearization",
            "{id}/evaluation-keys/galois/{element}",
        ] {
            group.refuseOtherMethods(path, than: [.get])
        }
        for path: RouterPath in ["{id}/encrypt", "{id}/decrypt"] { group.refuseOtherMethods(path, than: [.post]) }
    }

    private func evaluationKey(_ name: String, _ context: ServiceContext) async throws -> Response {
        Response.bytes(
            try await manager.evaluationKey(name, of: parameter("id", context), as: requester(context)),
            type: MediaType.octetStream)
    }

    /// The ciphertexts of a bundle.
    func bundle(_ request: Request) async throws -> [[UInt8]] {
        let body = try await request.collectBody(limit: configuration.bodyBytes)
        return try OctetBundle.decode(
            body, maximumCount: KeyManager.maximumVectors, maximumBytes: configuration.bodyBytes)
    }

    /// - Returns: also what was planned for flooded results, in words.
    private func registration(
        _ body: RegisterRequest, _ requester: Requester
    ) async throws -> (request: RegistrationRequest, report: String?) {
        guard let mode = ProtectionMode(rawValue: body.mode), mode != .ephemeral else {
            throw Problem.badRequest("mode is neither direct nor envelope", fix: "Set mode to direct or envelope.")
        }
        let owner =
            body.group.map { KeySetOwner(kind: .group, issuer: requester.issuer, subject: $0) } ?? requester.owner
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

    private func encrypt(
        _ body: EncryptRequest, under keySet: String, as requester: Requester
    ) async throws -> EncryptionResult {
        let kinds = [
            body.vectors != nil, body.integers != nil, body.records != nil, body.integerRecords != nil,
        ]
        guard kinds.filter({ $0 }).count == 1, body.vectors != nil || (body.model == nil) == (body.integers != nil)
        else {
            throw Problem.badRequest(
                "the body has neither vectors, nor model and records, nor integers, nor model and integerRecords",
                fix: "Give vectors, or model and records, or model and its packed vectors; under BFV integers, or "
                    + "model and integerRecords.")
        }
        if let integers = body.integers {
            return try await manager.encrypt(
                integers.map { body.unsigned == true ? .residues($0) : .integers($0) }, under: keySet,
                scaleBits: body.scaleBits, level: body.level, as: requester)
        }
        if let records = body.integerRecords {
            let circuit = try await units.model(named: body.model ?? "").integerCircuit()
            return try await manager.encrypt(
                circuit.slots(of: records).map { .integers($0) }, under: keySet, level: circuit.profile.inputLevel,
                circuit: circuit.profile, as: requester)
        }
        var inputs: [EncryptionInput] = []
        if let vectors = body.vectors {
            inputs = try vectors.map { vector in
                if let imaginary = vector.imaginary, imaginary.count != vector.real.count {
                    throw Problem.badRequest(
                        "a vector has \(vector.real.count) real and \(imaginary.count) imaginary parts",
                        fix: "Give as many imaginary parts as real ones, or none.")
                }
                return EncryptionInput(
                    vector.real.enumerated().map { Complex($1, vector.imaginary?[$0] ?? 0) })
            }
            if body.model == nil {
                return try await manager.encrypt(
                    inputs, under: keySet, scaleBits: body.scaleBits, level: body.level, as: requester)
            }
        }
        let manifest = try await manager.signedManifest(keySet, as: requester).body
        let descriptor = try await units.model(named: body.model ?? "", for: manifest).network()
        if let records = body.records {
            inputs = try descriptor.slots(of: records.map { Record($0) }).map { EncryptionInput(real: $0) }
        } else {
            try requireInputs(inputs, of: descriptor)
        }
        return try await manager.encrypt(
            inputs, under: keySet, scaleBits: descriptor.profile.scaleBits, level: descriptor.profile.inputLevel,
            circuit: descriptor.profile, as: requester)
    }

    /// Squares multiply errors by messages: the bound behind flooded results is for inputs within the model's ranges.
    private func requireInputs(_ inputs: [EncryptionInput], of descriptor: ModelDescriptor) throws {
        for (index, input) in inputs.enumerated() {
            if case .complex(let values) = input, values.allSatisfy({ $0.imaginary == 0 }),
                descriptor.holds(values.map(\.real))
            {
                continue
            }
            throw Problem(
                name: "vector-out-of-range", title: "The vectors are no inputs of the model", status: 422,
                detail: "Vector \(index + 1) has a value outside of the range of its feature, or is too long.",
                fix: "Give records instead of vectors, or correct it; GET /v1/models describes every field.")
        }
    }
}

extension HTTPField.Name {
    /// A word to whoever reads the object.
    static let notice = HTTPField.Name("HKMS-Notice")!
}

extension Record {
    init(_ body: RecordBody) { self.init(body.mapValues { $0.map { .number($0) } ?? .missing }) }
}

extension ParametersBody {
    init(_ parameters: EncryptionParameters) {
        self.init(
            scheme: parameters.scheme == .ckks ? "ckks" : "bfv", logN: parameters.logN, q: parameters.q,
            p: parameters.p, alpha: parameters.alpha, t: parameters.scheme == .bfv ? parameters.t : nil)
    }
}

extension KeySetInfo {
    init(_ description: KeySetDescription) {
        let manifest = description.manifest
        let objects = manifest.objects.map {
            Object(name: $0.name, galois: $0.galois, level: $0.level, bytes: $0.bytes, digest: $0.digest.hex)
        }
        self.init(
            id: manifest.keySet, state: description.state.rawValue, mode: manifest.sealing.mode.rawValue,
            tenant: manifest.tenant,
            owner: Owner(
                kind: manifest.owner.kind.rawValue, issuer: manifest.owner.issuer, subject: manifest.owner.subject),
            created: manifest.dates.created, activated: manifest.dates.activated, destroyed: description.destroyed,
            kms: KMS(
                provider: manifest.sealing.provider, key: manifest.sealing.keyName,
                keyVersion: manifest.sealing.keyVersion),
            suite: manifest.suite, generation: manifest.generation, parameters: ParametersBody(manifest.parameters),
            parameterDigest: manifest.parameterDigest.hex, manifestVersion: manifest.version,
            manifestDigest: description.manifestDigest.hex, model: manifest.profile?.model,
            release: manifest.policy.release.rawValue, flooding: manifest.policy.flooding.map { FloodingBody($0) },
            decryptAny: manifest.policy.decryptAny,
            exposed: description.exposed, tainted: description.tainted,
            counters: Counters(
                encryptions: description.counters.encryptions, decryptions: description.counters.decryptions,
                decryptionsLeft: description.counters.decryptionsLeft, failures: description.counters.failures),
            objects: objects,
            bytes: Sizes(
                publicKey: manifest.publicKey?.bytes ?? 0,
                evaluationKeys: manifest.objects.filter { $0.kind != .publicKey }.reduce(0) { $0 + $1.bytes },
                sealedSeed: description.sealedSeedBytes))
    }
}

extension DestroyResponse {
    init(_ destruction: Destruction) {
        let meaning: String
        switch destruction.erasure {
        case .tombstoned:
            meaning =
                "HKMS never uses this key set again and has removed its objects. Whoever kept a copy of the sealed "
                + "seed and may use the KMS key could still open it, until that key is destroyed."
        case .shredded: meaning = "The KMS key that sealed the seed is gone: nobody can open it again."
        }
        self.init(
            keySet: destruction.keySet, state: "destroyed", erasure: destruction.erasure.rawValue,
            date: destruction.date, meaning: meaning)
    }
}
