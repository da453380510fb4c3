import Attestation
import EncryptedInference
import KeyManagement
import Logging
import ServiceKit
import Synchronization

/// Which unit runs which model. Asks the units, and remembers their answers for a while.
final class UnitDirectory: Sendable {
    /// A model, or a circuit on integers, with the unit that runs it.
    struct Model: Sendable {
        let descriptor: any CircuitDescription
        let client: UnitClient

        /// As what predictions are made by.
        /// - Throws: the problem `not-a-model`.
        func network() throws -> ModelDescriptor {
            if let network = descriptor as? ModelDescriptor { return network }
            throw Problem(
                name: "not-a-model", title: "A circuit on integers", status: 422,
                detail: "\(descriptor.name) computes exact integers and predicts nothing.",
                fix: "GET /v1/circuits describes it; encrypt integerRecords and open a job.")
        }

        /// As what takes integers.
        /// - Throws: the problem `not-a-circuit`.
        func integerCircuit() throws -> IntegerCircuitDescriptor {
            if let circuit = descriptor as? IntegerCircuitDescriptor { return circuit }
            throw Problem(
                name: "not-a-circuit", title: "A model on real numbers", status: 422,
                detail: "\(descriptor.name) is a model and takes no integerRecords.",
                fix: "GET /v1/models describes it; give records.")
        }
    }

    private struct Known: Sendable {
        var models: [Model] = []
        var asked: ContinuousClock.Instant?
    }

    /// What was asked of a unit's planner.
    private struct Question: Hashable {
        let unit: String
        let model: Digest
        let request: PlanRequest
    }

    private let plans = Mutex<[Question: ModelDescriptor]>([:])
    private static let rememberedPlans = 256
    /// Searches for plans that one principal may have going on: a unit searches one at a time for all.
    private static let searchesPerPrincipal = 2
    private let searches = CallerLimit<Principal>(UnitDirectory.searchesPerPrincipal)

    /// Who a search is for, whatever groups and token.
    private struct Principal: Hashable {
        let issuer: String
        let subject: String
        let tenant: String
    }

    private let clients: [UnitClient]
    private let logger: Logger
    private let known = Mutex(Known())
    private static let lifetime = Duration.seconds(30)

    init(clients: [UnitClient], logger: Logger) {
        self.clients = clients
        self.logger = logger
    }

    /// Every model of every unit that answers; of two with one name, the first unit's.
    func models() async throws -> [Model] {
        let fresh = known.withLock { known in
            known.asked.map { ContinuousClock.now - $0 < Self.lifetime } == true ? known.models : nil
        }
        if let fresh { return fresh }
        var models: [Model] = []
        var failure: (any Error)?
        for (client, answer) in zip(clients, await ask()) {
            switch answer {
            case .success(let descriptors):
                for descriptor in descriptors
                where !models.contains(where: { $0.descriptor.name == descriptor.name }) {
                    models.append(Model(descriptor: descriptor, client: client))
                }
            case .failure(let error):
                logger.warning("evaluation unit gives no models", metadata: ["unit": "\(client.unit.name)"])
                failure = error
            }
        }
        if models.isEmpty, let failure { throw failure }
        // An incomplete answer is asked for again at once.
        let complete = failure == nil
        known.withLock { known in
            known.models = models
            known.asked = complete ? ContinuousClock.now : nil
        }
        return models
    }

    /// All units at once: one that does not answer holds nobody up but itself.
    private func ask() async -> [Result<[any CircuitDescription], any Error>] {
        await withTaskGroup(of: (Int, Result<[any CircuitDescription], any Error>).self) { group in
            for (index, client) in clients.enumerated() {
                group.addTask { [logger] in
                    do { return (index, .success(try await client.models(logger: logger))) } catch {
                        return (index, .failure(error))
                    }
                }
            }
            var answers: [Int: Result<[any CircuitDescription], any Error>] = [:]
            for await (index, answer) in group { answers[index] = answer }
            return clients.indices.map { answers[$0] ?? .success([]) }
        }
    }

    func model(named name: String) async throws -> Model {
        if let model = try await models().first(where: { $0.descriptor.name == name }) { return model }
        // It may have been added since.
        known.withLock { $0.asked = nil }
        if let model = try await models().first(where: { $0.descriptor.name == name }) { return model }
        throw Problem(
            name: "unknown-model", title: "Unknown model", status: 404,
            detail: "No evaluation unit runs a model named \(name.prefix(64)).",
            fix: "GET /v1/models and /v1/circuits list them; the operator adds one to a unit's configuration.")
    }

    /// A model planned for flooded results, by the unit that runs it.
    /// - Throws: `Problem`, `plans-throttled` where the requester has too many plans searched at a time.
    func model(named name: String, planned release: ReleaseRequest, as requester: Requester) async throws -> Model {
        let principal = Principal(
            issuer: requester.issuer, subject: requester.subject, tenant: requester.tenant)
        return try await model(named: name, planned: PlanRequest(release: release)) { [searches] ask in
            do {
                return try await searches.run(as: principal, ask)
            } catch is CallerLimit<Principal>.Reached {
                throw Problem(
                    name: "plans-throttled", title: "Too many release plans at a time", status: 429,
                    detail: "\(Self.searchesPerPrincipal) plans are being searched for you.",
                    fix: "Try again after the time that Retry-After names.", retryAfterSeconds: 2)
            }
        }
    }

    /// - Parameter limit: runs what asks the unit, where the answer is not remembered.
    private func model(
        named name: String, planned request: PlanRequest,
        within limit: (@Sendable () async throws -> ModelDescriptor) async throws -> ModelDescriptor
    ) async throws -> Model {
        let model = try await model(named: name)
        _ = try model.network()
        let question = Question(
            unit: model.client.unit.name, model: model.descriptor.profile.modelDigest, request: request)
        if let known = plans.withLock({ $0[question] }) { return Model(descriptor: known, client: model.client) }
        let descriptor = try await limit { try await model.client.plan(name, request) }
        guard descriptor.profile.modelDigest == model.descriptor.profile.modelDigest else {
            // Replaced since the list was asked for.
            known.withLock { $0.asked = nil }
            throw Problem(
                name: "model-changed", title: "The model was changed", status: 409,
                detail: "Model \(name.prefix(64)) is another one than a moment ago.", fix: "Ask again.")
        }
        plans.withLock { plans in
            // Any other goes: nobody can have all of them searched anew by asking for many.
            if plans.count >= Self.rememberedPlans, let other = plans.keys.randomElement() { plans[other] = nil }
            plans[question] = descriptor
        }
        return Model(descriptor: descriptor, client: model.client)
    }

    /// The model as a key set takes it: by the plan that its noise was made for, where its results are flooded.
    func model(named name: String, for manifest: KeySetManifest) async throws -> Model {
        // Another model than the key set's is refused where the two are compared.
        guard let request = PlanRequest(manifest), manifest.profile?.model == name else {
            return try await model(named: name)
        }
        // Taken up again, not searched.
        return try await model(named: name, planned: request) { try await $0() }
    }

    /// Has every unit drop the keys of some manifests; a unit that does not answer drops them when its cache is full.
    func forget(_ manifests: [Digest]) async {
        await withTaskGroup(of: Void.self) { group in
            for client in clients {
                group.addTask { for manifest in manifests { try? await client.forget(manifest) } }
            }
        }
    }
}
