import Attestation
import EncryptedInference
import HomomorphicEncryption
import Hummingbird
import KeyManagement
import ServerKit
import ServiceKit

extension Gateway {
    func addModelRoutes(to group: RouterGroup<ServiceContext>) {
        group.get { [self] _, context in
            try await operate(.modelsList, context) { operation in
                try operation.permit()
                let networks = try await units.models().compactMap { $0.descriptor as? ModelDescriptor }
                return try Response.json(ModelList(models: networks.map { ModelInfo($0) }))
            }
        }
        group.post("{model}/predict") { [self] request, context in
            try await operate(.predict, context) { operation in
                try await predict(request, model: parameter("model", context), operation)
            }
        }
        group.refuseOtherMethods("", than: [.get])
        group.refuseOtherMethods("{model}/predict", than: [.post])
    }

    struct Prediction: Sendable {
        let response: PredictResponse
        let timings: StepTimings
    }

    private func predict(
        _ request: Request, model: String, _ operation: RequestedOperation
    ) async throws -> Response {
        let body = try await request.decodeJSON(PredictRequest.self, limit: configuration.bodyBytes)
        let records = body.records.map { Record($0) }
        guard (body.ephemeral ?? false) != (body.keySet != nil) else {
            throw Problem.badRequest(
                "either keySet or ephemeral: true is needed",
                fix: "Name a registered key set, or ask for an ephemeral one.")
        }
        let prediction: Prediction
        if let keySet = body.keySet {
            guard body.precision == nil, body.statisticalBits == nil else {
                throw Problem.badRequest(
                    "precision and statisticalBits are those of the key set",
                    fix: "Leave them out, or ask for an ephemeral key set.")
            }
            try await permit(operation, on: keySet, model: model)
            let manifest = try await manager.signedManifest(keySet, as: operation.requester)
            try requireRelease(body.release, manifest.body)
            prediction = try await predict(
                records, model: units.model(named: model, for: manifest.body), under: manifest, for: operation)
        } else {
            operation.note("mode", ProtectionMode.ephemeral.rawValue)
            try manager.requireOwnership(by: operation.requester.owner, for: operation.requester)
            try operation.permitNew(
                ownedBy: operation.requester.owner, model: model, decryptionsLeft: nil, audience: .owner)
            let release = try releaseRequest(
                AskedRelease(
                    release: body.release, precision: body.precision, statisticalBits: body.statisticalBits,
                    decryptions: Self.ephemeralDecryptions))
            prediction = try await predictEphemerally(records, model: model, release: release, for: operation)
        }
        operation.note("release", prediction.response.release)
        return try Response.json(prediction.response, timings: ServerTiming(prediction.timings))
    }

    /// Encrypt, evaluate, decrypt, under a registered key set.
    private func predict(
        _ records: [Record], model: UnitDirectory.Model, under manifest: SignedStatement<KeySetManifest>,
        for operation: RequestedOperation
    ) async throws -> Prediction {
        let (profile, keySet) = (model.descriptor.profile, manifest.body.keySet)
        let requester = operation.requester
        let slots = try model.network().slots(of: records)
        try requireKeys(manifest.body, for: profile)
        var timings = StepTimings()
        let encrypted = try await manager.encrypt(
            slots.map { EncryptionInput(real: $0) }, under: keySet, scaleBits: profile.scaleBits,
            level: profile.inputLevel, circuit: profile, as: requester)
        timings.merge(encrypted.timings)
        operation.note(encrypted.digests)
        let registered = model.client.unit.registered
        operation.note(model: profile.model, unit: registered.name)
        let job = try await manager.openJob(
            inputs: encrypted.digests, keySet: keySet, profile: profile, unit: registered, keepsOutputs: false,
            as: requester)
        operation.note("job", job.body.job)
        let outputs: [ReceivedCiphertext]
        do {
            // The job names the manifest that is current now; that one is announced.
            let current = try await manager.signedManifest(keySet, as: requester)
            let result = try await evaluate(
                job, encrypted.ciphertexts, model: model, under: current, timings: &timings
            ) { entry in
                try await manager.evaluationKey(entry.name, of: keySet, as: requester)
            }
            outputs = result.outputs.map { ReceivedCiphertext($0) }
            operation.note(outputs.map(\.digest))
            _ = try await manager.completeJob(
                job.body.job, receipt: result.receipt, outputs: result.outputs, unit: registered, profile: profile)
        } catch {
            await manager.failJob(job.body.job, reason: ErrorProblems.problem(for: error)?.name ?? "unit failed")
            throw error
        }
        let decrypted = try await manager.decrypt(
            outputs, of: keySet, count: profile.batch, allowsUnvouched: false, as: requester)
        timings.merge(decrypted.timings)
        return Prediction(
            response: try response(
                decrypted.vectors.map { $0.map(\.real) }, records: records.count, model: model, manifest: manifest.body,
                left: decrypted.decryptionsLeft, job: job.body.job, inputs: encrypted.ciphertexts,
                outputs: outputs.map(\.bytes)),
            timings: timings)
    }

    /// The same with a key set that exists for this request only.
    private func predictEphemerally(
        _ records: [Record], model name: String, release: ReleaseRequest?, for operation: RequestedOperation
    ) async throws -> Prediction {
        let requester = operation.requester
        let (model, slots) = try await ephemeralModel(records, name, release, as: requester)
        let profile = model.descriptor.profile
        var policy = KeySetPolicy.raw()
        if release != nil {
            guard let flooding = try model.network().flooding else { throw Self.floodingNeedsModel }
            policy = .flooded(flooding)
        }
        var timings = StepTimings()
        let keySet = try await manager.makeEphemeralKeySet(
            for: profile, policy: policy, as: requester, timings: &timings)
        operation.note(registered: keySet.manifest.body)
        let inputs = try await keySet.encrypt(slots, profile: profile, timings: &timings)
        let digests = inputs.map { Digest(of: $0) }
        let registered = model.client.unit.registered
        operation.note(model: profile.model, unit: registered.name)
        operation.note(digests)
        let job = try keySet.openJob(inputs: digests, profile: profile, unit: registered)
        operation.note("job", job.body.job)
        do {
            let result = try await evaluate(
                job, inputs, model: model, under: keySet.manifest, timings: &timings
            ) { entry in
                guard let key = keySet.evaluationKeys.first(where: { $0.entry.digest == entry.digest }) else {
                    throw KeyManagementError.objectMissing(entry.name)
                }
                return key.bytes
            }
            let vectors = try await keySet.decrypt(
                result.outputs, receipt: result.receipt, job: job.body, profile: profile, unit: registered,
                timings: &timings)
            operation.note(result.outputs.map { Digest(of: $0) })
            try? await model.client.forget(keySet.manifest.digest)
            return Prediction(
                response: try response(
                    vectors, records: records.count, model: model, manifest: keySet.manifest.body, left: nil,
                    job: job.body.job, inputs: inputs, outputs: result.outputs),
                timings: timings)
        } catch {
            try? await model.client.forget(keySet.manifest.digest)
            throw error
        }
    }

    /// Decryptions that the noise of an ephemeral key set is made for, at least: few plans serve all requests.
    private static let ephemeralDecryptions = 16

    /// A model planned for as many decryptions as the records take: the key ends with them.
    private func ephemeralModel(
        _ records: [Record], _ name: String, _ release: ReleaseRequest?, as requester: Requester
    ) async throws -> (UnitDirectory.Model, slots: [[Double]]) {
        guard let release else {
            let model = try await units.model(named: name)
            return (model, try model.network().slots(of: records))
        }
        var budget = release.budget
        while true {
            let request = ReleaseRequest(
                precision: release.precision, statisticalBits: release.statisticalBits, budget: budget)
            let model = try await units.model(named: name, planned: request, as: requester)
            let slots = try model.network().slots(of: records)
            if slots.count <= budget { return (model, slots) }
            // Larger rings hold more records.
            while budget < slots.count { budget *= 2 }
        }
    }

    /// The key set must have what the circuit uses, at the level where it is used.
    func requireKeys(_ manifest: KeySetManifest, for profile: CircuitProfile) throws {
        func misfit(_ detail: String) -> Problem {
            Problem(
                name: "key-set-does-not-fit-model", title: "The key set does not fit the model", status: 409,
                detail: detail, fix: "Register a key set for model \(profile.model).")
        }
        guard manifest.parameters.digest == profile.parameters.digest else {
            throw misfit("The key set has other parameters than the model.")
        }
        guard manifest.policy.release == .raw || manifest.profile?.digest == profile.digest else {
            throw KeyManagementError.otherCircuit(keySet: manifest.keySet)
        }
        for key in profile.evaluationKeys {
            let kind: KeySetObject.Kind = key.kind == .galois ? .galois : .relinearization
            guard
                manifest.objects.contains(where: {
                    $0.kind == kind && $0.galois == key.galois && $0.level >= key.level
                })
            else {
                throw misfit(
                    "The key set lacks a \(kind.rawValue) key (Galois element \(key.galois), level \(key.level)).")
            }
        }
    }

    /// Announces the manifest and uploads the keys that the unit does not have yet.
    private func provideKeys(
        _ manifest: SignedStatement<KeySetManifest>, to client: UnitClient, timings: inout StepTimings,
        read: (KeySetObject) async throws -> [UInt8]
    ) async throws {
        let start = ContinuousClock.now
        let status = try await client.announce(manifest)
        // Each at most once, however often it is asked for.
        let needed = Set(status.need)
        for entry in manifest.body.objects where entry.kind != .publicKey && needed.contains(entry.digest.hex) {
            try await client.upload(try await read(entry), digest: entry.digest, manifest: manifest.digest)
        }
        timings.add("upload", ContinuousClock.now - start)
    }

    /// Has the unit evaluate, with the keys that it lacks provided before; the time is the unit's own.
    /// - Parameter read: gives the bytes of one evaluation key.
    func evaluate(
        _ job: SignedStatement<JobDescription>, _ inputs: [[UInt8]], model: UnitDirectory.Model,
        under manifest: SignedStatement<KeySetManifest>, timings: inout StepTimings,
        read: (KeySetObject) async throws -> [UInt8]
    ) async throws -> (receipt: [UInt8], outputs: [[UInt8]]) {
        for _ in 0..<Self.evaluationAttempts - 1 {
            try await provideKeys(manifest, to: model.client, timings: &timings, read: read)
            do {
                return try await evaluate(job, inputs, model: model, timings: &timings)
            } catch is UnitLacksKeys {
                // Other key sets needed the room of the unit's cache in the meantime.
            }
        }
        try await provideKeys(manifest, to: model.client, timings: &timings, read: read)
        do {
            return try await evaluate(job, inputs, model: model, timings: &timings)
        } catch let error as UnitLacksKeys { throw error.problem }
    }

    private static let evaluationAttempts = 3

    private func evaluate(
        _ job: SignedStatement<JobDescription>, _ inputs: [[UInt8]], model: UnitDirectory.Model,
        timings: inout StepTimings
    ) async throws -> (receipt: [UInt8], outputs: [[UInt8]]) {
        let profile = model.descriptor.profile
        let context = try EncryptionContext.shared(profile.parameters)
        let size = Ciphertext.serializedByteCount(polynomials: 2, level: profile.outputLevel, context: context)
        let start = ContinuousClock.now
        let count = profile.resultCount(inputs: inputs.count) ?? inputs.count
        let result = try await model.client.evaluate(job, inputs: inputs, outputLimit: count * size)
        let measured = result.timings.entries.first { $0.name == "prediction" }
        timings.add(
            "prediction", measured.map { .nanoseconds(Int64($0.milliseconds * 1e6)) } ?? (ContinuousClock.now - start))
        return (result.receipt, result.outputs)
    }

    private func response(
        _ vectors: [[Double]], records: Int, model: UnitDirectory.Model, manifest: KeySetManifest,
        left: Int?, job: String, inputs: [[UInt8]], outputs: [[UInt8]]
    ) throws -> PredictResponse {
        let descriptor = try model.network()
        var scores: [Double] = []
        for vector in vectors {
            scores += descriptor.packing.scores(vector, count: min(descriptor.packing.batch, records - scores.count))
        }
        return PredictResponse(
            model: descriptor.name, keySet: manifest.keySet, unit: descriptor.unit, job: job,
            release: manifest.policy.release.rawValue, flooding: manifest.policy.flooding.map { FloodingBody($0) },
            decryptionsLeft: left, batches: inputs.count,
            predictions: scores.map { .init(score: $0, label: descriptor.output.label(for: $0)) },
            bytes: .init(
                publicKey: manifest.publicKey?.bytes ?? 0,
                evaluationKeys: manifest.objects.filter { $0.kind != .publicKey }.reduce(0) { $0 + $1.bytes },
                encryptedSamples: inputs.reduce(0) { $0 + $1.count },
                encryptedPredictions: outputs.reduce(0) { $0 + $1.count }))
    }
}

extension CircuitProfile {
    /// As they are told to callers.
    var evaluationKeyNames: [String] {
        evaluationKeys.map { $0.kind == .galois ? "galois-\($0.galois)" : "relinearization" }
    }
}

extension ModelInfo {
    init(_ descriptor: ModelDescriptor) {
        let profile = descriptor.profile
        self.init(
            name: descriptor.name, version: descriptor.version, description: descriptor.description,
            unit: descriptor.unit, digest: profile.modelDigest.hex,
            inputs: descriptor.inputs.map { input in
                .init(
                    name: input.name, encoding: input.encoding.rawValue,
                    range: input.encoding == .scaled
                        ? input.valid ?? [input.minimum ?? 0, input.maximum ?? 1] : nil,
                    categories: input.encoding == .binary ? [0, 1] : input.categories,
                    mayBeMissing: input.missing ?? false)
            },
            output: descriptor.output.name, threshold: descriptor.output.threshold, labels: descriptor.output.labels,
            target: descriptor.output.target.map { .init(column: $0.column, positiveAbove: $0.positiveAbove) },
            batch: profile.batch, depth: profile.inputLevel - profile.outputLevel,
            parameters: ParametersBody(profile.parameters), scaleBits: profile.scaleBits,
            evaluationKeys: profile.evaluationKeyNames)
    }
}
