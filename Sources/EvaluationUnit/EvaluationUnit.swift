import Attestation
import EncryptedInference
import HomomorphicEncryption
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import Observability
import RLWE
import ServerKit
import ServiceKit
import ServiceLifecycle
import TransportSecurity

import enum Crypto.Curve25519

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The evaluation unit: computes models on ciphertexts for the gateways that its configuration pins, and
/// vouches for the results with signed receipts. It holds public and evaluation keys, never a secret one.
public final class EvaluationUnit: Sendable {
    private let configuration: UnitConfiguration
    private let cache: KeyCache
    private let pool: ComputePool
    private let evaluator: JobEvaluator
    private let plans: ReleasePlans
    private let routes: SignedRoutes
    private let modelList: UnitModelList
    private let requests = RequestsInFlight()
    private let logger: Logger

    /// Nonces of jobs and of requests that are remembered at a time.
    private static let rememberedNonces = 200_000

    /// Starts the threads for homomorphic arithmetic. They end with the ``application(server:onReady:)``, so
    /// that one must be run.
    /// - Parameter clock: the time of signatures, jobs and receipts.
    /// - Throws: `AttestationError` where the models' descriptions cannot be signed.
    public init(
        configuration: UnitConfiguration, logger: Logger, clock: @escaping @Sendable () -> Date = { Date() }
    ) throws {
        self.configuration = configuration
        self.logger = logger
        var gateways: [String: UnitConfiguration.Gateway] = [:]
        var publicKeys: [String: Curve25519.Signing.PublicKey] = [:]
        for gateway in configuration.gateways {
            let id = gateway.requestKey.id.value
            gateways[id] = gateway
            publicKeys[id] = try Curve25519.Signing.PublicKey(rawRepresentation: gateway.requestKey.bytes)
        }
        modelList = UnitModelList(
            descriptors: try configuration.models.map { model in
                let signed = try model.description(unit: configuration.name).signed(by: configuration.signingKey)
                return String(decoding: signed, as: UTF8.self)
            })
        routes = SignedRoutes(
            verifier: HTTPMessageSignatureVerifier(
                publicKeys: publicKeys, acceptedFrom: clock(),
                nonces: NonceCache(capacity: Self.rememberedNonces)),
            gateways: gateways, clock: clock)
        cache = KeyCache(capacity: configuration.limits.keyCacheBytes)
        pool = ComputePool(
            numberOfThreads: configuration.limits.threads, maximumQueued: configuration.limits.queued)
        Parallelism.width = max(Parallelism.width, configuration.limits.threads)
        plans = ReleasePlans(capacity: configuration.limits.planCacheBytes, pool: pool)
        evaluator = JobEvaluator(
            unit: configuration.name, signingKey: configuration.signingKey,
            models: Dictionary(
                configuration.models.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first }),
            plans: plans, cache: cache, nonces: JobNonces(capacity: Self.rememberedNonces), pool: pool, clock: clock)
    }

    /// Everything that a unit runs, to be run once and in this order. On graceful shutdown the requests in flight
    /// are finished first.
    /// - Parameter onReady: called with the port that was bound.
    /// - Throws: `TLSError` where the listener's certificate cannot be used.
    public func services(
        onReady: @escaping @Sendable (Int?) async -> Void = { _ in }
    ) throws -> [any Service] {
        // The gateways stream megabytes to it: one connection for each needs no streams within.
        let connections = try configuration.listen.connections(offersHTTP2: false, logger: logger)
        return connections.services
            + [
                application(server: connections.server, revocation: connections.revocation, onReady: onReady),
                requests.service(),
            ]
    }

    /// Has what this unit does read at every scrape.
    public func observe(in registry: PrometheusRegistry) {
        registry.observe(pool)
        registry.onScrape { [cache] registry in
            registry.set(MetricCatalog.keyCacheBytes, to: Double(cache.byteCount))
        }
    }

    /// The server alone.
    /// - Parameters:
    ///   - server: how connections are set up.
    ///   - revocation: what gateways' certificates are looked up in.
    ///   - onReady: called with the port that was bound.
    public func application(
        server: HTTPServerBuilder = .limitedHTTP1, revocation: RevocationLists? = nil,
        onReady: @escaping @Sendable (Int?) async -> Void = { _ in }
    ) -> some ApplicationProtocol {
        Application(
            router: router(revocation), server: server, configuration: configuration.listen.configuration,
            services: [PoolService(pool: pool)],
            onServerRunning: { channel in await onReady(channel.localAddress?.port) }, logger: logger)
    }

    private func router(_ revocation: RevocationLists?) -> Router<ServiceContext> {
        let router = Router(context: ServiceContext.self)
        router.add(middleware: requests.middleware)
        router.add(middleware: ObservabilityMiddleware())
        router.add(middleware: ProblemMiddleware(Self.problem(for:)))
        router.add(middleware: RevocationMiddleware(revocation))
        addHealthRoutes(to: router, revocation)
        let api = router.group("v1")
        routes.add("models", to: api, [.get: .init { [modelList] _ in try Response.json(modelList) }])
        addPlanRoute(to: api)
        addManifestRoutes(to: api)
        let bodyBytes = configuration.limits.bodyBytes
        routes.add(
            "evaluate", to: api,
            [
                .post: .init(limit: { _ in bodyBytes }) { [evaluator] request in
                    let answer = try await evaluator.evaluate(request.body, requestKey: request.signer)
                    return Response.bytes(answer.bundle, type: MediaType.bundle, timings: answer.timings)
                }
            ])
        return router
    }

    private func addHealthRoutes(to router: Router<ServiceContext>, _ revocation: RevocationLists?) {
        router.get("livez") { _, _ in try Response.json(["live": true]) }
        router.get("readyz") { [pool, requests] _, _ in
            var problems: [String] = []
            if requests.isDraining { problems.append("shutting down") }
            if pool.maximumQueued > 0, pool.load.waiting >= pool.maximumQueued {
                problems.append("all compute threads are busy and the queue is full")
            }
            problems += revocation?.problems(at: Date()) ?? []
            return try Response.json(
                Readiness(ready: problems.isEmpty, problems: problems),
                status: problems.isEmpty ? .ok : .serviceUnavailable)
        }
        for path: RouterPath in ["livez", "readyz"] { router.refuseOtherMethods(path, than: [.get]) }
    }

    /// Plans a model for flooded results; the signed description has the bound that this unit vouches for.
    private func addPlanRoute(to api: RouterGroup<ServiceContext>) {
        routes.add(
            "models/{model}/plan", to: api,
            [
                .post: .init(limit: { _ in 1 << 20 }) { [self] request in
                    let name = request.parameters.get("model") ?? ""
                    guard let model = (configuration.models.first { $0.name == name } as? CompiledModel)?.model else {
                        throw UnitProblem.unknownModel(name)
                    }
                    guard let question = try? APIJSON.decode(PlanRequest.self, from: request.body) else {
                        throw UnitProblem.malformedPlanRequest
                    }
                    let plan = try await plans.plan(model, question, for: request.signer.id.value)
                    let descriptor = ModelDescriptor(model, plan: plan, unit: configuration.name)
                    let signed = try SignedStatement(descriptor, by: configuration.signingKey)
                    return Response.bytes(try signed.serialized(), type: MediaType.envelope)
                }
            ])
    }

    private func addManifestRoutes(to api: RouterGroup<ServiceContext>) {
        let envelopeBytes = min(configuration.limits.bodyBytes, 2 * KeySetManifest.maximumPayloadBytes)
        routes.add(
            "manifests/{manifest}", to: api,
            [
                .put: .init(limit: { _ in envelopeBytes }) { [self] request in
                    let digest = try request.digest("manifest")
                    try cache.insert(try await manifest(request.body, digest: digest))
                    return try status(of: digest)
                },
                .get: .init { [self] request in try status(of: try request.digest("manifest")) },
                .delete: .init { [cache] request in
                    cache.remove(try request.digest("manifest"))
                    return Response(status: .noContent)
                },
            ])
        routes.add(
            "manifests/{manifest}/keys/{object}", to: api,
            [
                .put: .init(limit: { [self] in try entry($0).object.bytes }) { [self] request in
                    try await takeKey(request)
                    return Response(status: .noContent)
                }
            ])
    }

    private func status(of manifest: Digest) throws -> Response {
        let (have, need) = try cache.status(manifest)
        return try Response.json(UnitKeyStatus(have: have.map(\.hex), need: need.map(\.hex)))
    }

    private func manifest(_ envelope: [UInt8], digest: Digest) async throws -> HeldManifest {
        let statement = try statement(envelope, digest: digest)
        let models = configuration.models
        guard statement.body.policy.release == .flooded else { return try HeldManifest(statement, models: models) }
        // The bound of a large model takes a while, and gateways announce a manifest with every job.
        if let held = try? cache.manifest(digest) { return held }
        return try await pool.run { try HeldManifest(statement, models: models) }
    }

    private func statement(
        _ envelope: [UInt8], digest: Digest
    ) throws(UnitProblem) -> SignedStatement<KeySetManifest> {
        let statement: SignedStatement<KeySetManifest>
        do throws(AttestationError) {
            statement = try SignedStatement(verifying: envelope, pinned: configuration.manifestKeys)
        } catch {
            switch error {
            case .unknownSigner, .badSignature: throw .manifestNotTrusted(error)
            default: throw .malformedManifest(reason: "\(error)")
            }
        }
        guard statement.digest == digest else { throw .manifestDigestMismatch(found: statement.digest) }
        if let installation = configuration.installation, statement.body.installation != installation {
            throw .manifestNotForThisUnit(field: "installation")
        }
        if let tenant = configuration.tenant, statement.body.tenant != tenant {
            throw .manifestNotForThisUnit(field: "tenant")
        }
        return statement
    }

    /// What a manifest says of the key in the path.
    private func entry(
        _ parameters: Parameters
    ) throws(UnitProblem) -> (manifest: HeldManifest, object: KeySetObject, context: EncryptionContext) {
        let manifest = try cache.manifest(try parameters.digest("manifest"))
        let digest = try parameters.digest("object")
        guard let object = manifest.keys[digest] else { throw .keyNotInManifest(digest) }
        guard let context = manifest.context else { throw .noModelForParameters }
        return (manifest, object, context)
    }

    private func takeKey(_ request: SignedRequest) async throws {
        let (manifest, object, context) = try entry(request.parameters)
        guard request.bodyDigest == object.digest else {
            throw UnitProblem.keyDigestMismatch(found: request.bodyDigest)
        }
        if cache.contains(object.digest) { return }
        let body = request.body
        let key = try await pool.run {
            try Parallelism.occupying {
                do {
                    return try EvaluationKey(serialized: body, context: context)
                } catch let error as HEError { throw UnitProblem.malformedKey(error) }
            }
        }
        guard key.id == object.evaluationKeyID else { throw UnitProblem.keyContradictsManifest }
        try cache.insert(
            key, digest: object.digest, byteCount: object.memoryBytes(context), manifest: manifest.digest)
    }

    @Sendable private static func problem(for error: any Error) -> Problem? {
        (error as? any ProblemConvertible)?.problem
    }

    private struct Readiness: Encodable {
        let ready: Bool
        let problems: [String]
    }
}

/// Ends the compute threads when the server, which stops first, has answered its last request.
private struct PoolService: Service {
    let pool: ComputePool

    func run() async throws {
        try? await gracefulShutdown()
        await pool.shutdown()
    }
}
