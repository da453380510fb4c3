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
            let result = try await manager.register(try await registration(body, requester), as: requester)
            return try Response.json(
                KeySetInfo(result.keySet), status: result.isNew ? .created : .ok,
                timings: ServerTiming(result.timings))
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
            let result = try await manager.decrypt(
                ciphertexts, of: parameter("id", context), count: count,
                form: complex ? .complex : unsigned ? .unsigned : .standard, as: requester(context))
            let vectors = result.vectors.map { vector in
                EncryptRequest.Vector(
                    real: vector.map(\.real), imaginary: complex ? vector.map(\.imaginary) : nil)
            }
            return try Response.json(
                DecryptResponse(
                    release: result.release.rawValue, vectors: vectors,
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

    private func registration(_ body: RegisterRequest, _ requester: Requester) async throws -> RegistrationRequest {
        guard let mode = ProtectionMode(rawValue: body.mode), mode != .ephemeral else {
            throw Problem.badRequest("mode is neither direct nor envelope", fix: "Set mode to direct or envelope.")
        }
        let owner =
            body.group.map { KeySetOwner(kind: .group, issuer: requester.issuer, subject: $0) } ?? requester.owner
        func policy(_ scheme: Scheme) -> KeySetPolicy {
            KeySetPolicy(
                release: scheme.standardRelease, decryptAny: body.decryptAny ?? false,
                decryptionBudget: body.decryptionBudget)
        }
        guard [body.model != nil, body.preset != nil, body.parameters != nil].filter({ $0 }).count == 1 else {
            throw Problem.badRequest(
                "exactly one of model, preset and parameters is needed",
                fix: "Name the model that the keys are for, or a preset.")
        }
        if let name = body.model {
            let profile = try await units.model(named: name).descriptor.profile
            return RegistrationRequest(
                requestID: body.requestId, mode: mode, owner: owner, parameters: profile.parameters,
                evaluationKeys: profile.evaluationKeys, profile: profile, policy: policy(profile.parameters.scheme))
        }
        let parameters = try parameters(body)
        return RegistrationRequest(
            requestID: body.requestId, mode: mode, owner: owner, parameters: parameters,
            evaluationKeys: try evaluationKeys(body, parameters), profile: nil, policy: policy(parameters.scheme))
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
        guard kinds.filter({ $0 }).count == 1,
            (body.model != nil) == (body.records != nil || body.integerRecords != nil)
        else {
            throw Problem.badRequest(
                "the body has not exactly one of vectors, integers, or model with records or integerRecords",
                fix: "Give vectors, or model and records; under BFV integers, or model and integerRecords.")
        }
        if let integers = body.integers {
            return try await manager.encrypt(
                integers.map { body.unsigned == true ? .residues($0) : .integers($0) }, under: keySet,
                scaleBits: body.scaleBits, level: body.level, as: requester)
        }
        if let name = body.model, let records = body.integerRecords {
            let circuit = try await units.model(named: name).integerCircuit()
            return try await manager.encrypt(
                circuit.slots(of: records).map { .integers($0) }, under: keySet, level: circuit.profile.inputLevel,
                for: EncryptionPurpose(circuit.profile), as: requester)
        }
        if let vectors = body.vectors {
            let inputs = try vectors.map { vector in
                if let imaginary = vector.imaginary, imaginary.count != vector.real.count {
                    throw Problem.badRequest(
                        "a vector has \(vector.real.count) real and \(imaginary.count) imaginary parts",
                        fix: "Give as many imaginary parts as real ones, or none.")
                }
                return EncryptionInput(
                    vector.real.enumerated().map { Complex($1, vector.imaginary?[$0] ?? 0) })
            }
            return try await manager.encrypt(
                inputs, under: keySet, scaleBits: body.scaleBits, level: body.level, as: requester)
        }
        let descriptor = try await units.model(named: body.model ?? "").network()
        let slots = try descriptor.slots(of: (body.records ?? []).map { Record($0) })
        return try await manager.encrypt(
            slots.map { EncryptionInput(real: $0) }, under: keySet, scaleBits: descriptor.profile.scaleBits,
            level: descriptor.profile.inputLevel, as: requester)
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
            release: manifest.policy.release.rawValue, decryptAny: manifest.policy.decryptAny,
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
