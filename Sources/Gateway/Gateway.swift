import AccessPolicy
import AsyncHTTPClient
import Attestation
import AuditLog
import EncryptedInference
import HTTPTypes
import Hummingbird
import KeyManagement
import Logging
import NIOCore
import Observability
import RLWE
import ServerKit
import ServiceKit
import ServiceLifecycle
import TransportSecurity

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The gateway: HTTP API over the flows of KeyManagement, encoding and decoding for models, and the
/// conversation with evaluation units.
///
/// Routes stand in `Gateway+KeySetRoutes.swift` and its siblings.
public final class Gateway: Sendable {
    let configuration: GatewayConfiguration
    let manager: KeyManager
    let authenticator: any Authenticator
    let units: UnitDirectory
    let jobs: JobRunner
    let policy: PolicyStore
    let audit: AuditTrail
    let clock: @Sendable () -> Date
    let problems = ProblemMiddleware(ErrorProblems.problem(for:))
    private let anchors: Anchors
    private let pool: ComputePool
    private let transports: [UnitTransport]
    let requests = RequestsInFlight()
    let readiness = SharedReadiness()
    private let kms: KMSDirectory
    let logger: Logger

    /// - Parameters:
    ///   - kms: ready to use, with the keys of the configuration.
    ///   - keys: the installation's opened keys.
    ///   - policy: is asked for every operation.
    ///   - audit: has every operation before it is answered; closed at the end of ``services(onReady:)``.
    ///   - clock: the time of signatures, jobs and manifests.
    /// - Throws: `TLSError` where a certificate for an evaluation unit cannot be used.
    public init(
        configuration: GatewayConfiguration, kms: KMSDirectory, keys: InstallationKeys,
        objects: any ObjectStore, metadata: any MetadataStore, authenticator: any Authenticator, policy: PolicyStore,
        audit: AuditTrail, logger: Logger,
        clock: @escaping @Sendable () -> Date = { Date() }
    ) throws(TLSError) {
        self.configuration = configuration
        self.authenticator = authenticator
        self.policy = policy
        self.audit = audit
        self.clock = clock
        self.logger = logger
        anchors = Anchors(metadata: metadata, keys: keys)
        self.kms = kms
        let pool = ComputePool(numberOfThreads: configuration.threads, maximumQueued: configuration.queued)
        Parallelism.width = max(Parallelism.width, configuration.threads)
        self.pool = pool
        var transports: [UnitTransport] = []
        for unit in configuration.units { transports.append(try UnitTransport(unit, logger: logger)) }
        self.transports = transports
        manager = KeyManager(
            configuration: .init(
                installation: configuration.installation, gateway: configuration.gateway, tenant: configuration.tenant,
                decryptAnyOwners: configuration.decryptAnyOwners,
                pinnedManifestKeys: configuration.pinnedManifestKeys, secretKeyCaching: configuration.secretKeyCaching),
            keys: keys, kms: kms, objects: objects, metadata: metadata, compute: PoolCompute(pool: pool),
            logger: logger, clock: clock)
        let descriptions = DescriptionReader(compute: PoolCompute(pool: pool))
        units = UnitDirectory(
            clients: transports.map {
                UnitClient(
                    unit: $0.unit, http: $0.http, key: keys.requestKey, descriptions: descriptions, clock: clock)
            }, logger: logger)
        jobs = JobRunner(limit: configuration.jobs)
    }

    /// Everything that a gateway runs, to be run once and in this order. On graceful shutdown the requests in flight
    /// are finished first.
    /// - Parameter onReady: called with the port that was bound.
    /// - Throws: `TLSError` where the listener's certificate cannot be used.
    public func services(
        onReady: @escaping @Sendable (Int?) async -> Void = { _ in }
    ) throws -> [any Service] {
        var logger = logger
        logger[metadataKey: "component"] = "gateway"
        let connections = try configuration.listen.connections(offersHTTP2: true, logger: logger)
        let application = Application(
            router: router(connections.revocation), server: connections.server,
            configuration: configuration.listen.configuration,
            services: [ShutdownService { [self] in await shutdown() }],
            onServerRunning: { channel in await onReady(channel.localAddress?.port) }, logger: logger)
        // What stands first stops last: the log takes what the requests in flight end with.
        return [auditService, PolicyReloadService(policy: policy, audit: audit, logger: logger)]
            + connections.services + transports.flatMap(\.services) + [application, requests.service()]
    }

    /// Has what this gateway does read at every scrape.
    public func observe(in registry: PrometheusRegistry) {
        registry.observe(pool)
        registry.onScrape { [jobs, audit] registry in
            registry.set(MetricCatalog.jobsRunning, to: Double(jobs.running))
            registry.set(MetricCatalog.auditSequence, to: Double(audit.head.sequence))
            let isAvailable = (try? await audit.checkHealth()) != nil
            registry.set(MetricCatalog.auditAvailable, to: isAvailable ? 1 : 0)
            for sink in audit.sinks {
                registry.set(MetricCatalog.auditSinkWaiting, to: Double(sink.waiting), sink.name)
                registry.set(MetricCatalog.auditSinkDropped, to: Double(sink.dropped), sink.name)
            }
        }
    }

    /// Clears away what an earlier process left unfinished, and puts the start on record; before the server takes
    /// requests.
    /// - Throws: `KeyManagementError`, `AuditError`.
    public func recover() async throws {
        try await audit.append(
            AuditRecord(
                caller: nil, action: "gateway.start", parameters: ["policy": policy.digest], decision: .allowed,
                rule: "allowed by the operator"))
        try await auditService.begin()
        let count = try await manager.removeAbandonedRegistrations()
        if count > 0 { logger.notice("removed registrations that were broken off", metadata: ["count": "\(count)"]) }
    }

    private var auditService: AuditService {
        AuditService(audit: audit, anchors: anchors, gateway: configuration.gateway, logger: logger)
    }

    /// Every route. `/v1` needs a bearer token or a client certificate.
    /// - Parameter revocation: what clients' certificates are looked up in.
    public func router(_ revocation: RevocationLists? = nil) -> Router<ServiceContext> {
        let router = Router(context: ServiceContext.self)
        router.add(middleware: requests.middleware)
        router.add(middleware: ObservabilityMiddleware())
        router.add(middleware: problems)
        router.get("livez") { _, _ in try Response.json(["live": true]) }
        router.get("readyz") { [self] _, _ in
            let readiness = await readiness.answer { [self] in await examine(revocation) }
            return try Response.json(readiness, status: readiness.ready ? .ok : .serviceUnavailable)
        }
        let api = router.group("v1").add(middleware: FailedAuthentications(audit: audit))
            .add(middleware: RevocationMiddleware(revocation))
            .add(
                middleware: BearerMiddleware(
                    authenticator: authenticator,
                    takesKMSTokens: kms.all.contains { $0.placement == .perPrincipal }))
        addKeySetRoutes(to: api.group("keysets"))
        addModelRoutes(to: api.group("models"))
        addCircuitRoutes(to: api.group("circuits"))
        addJobRoutes(to: api.group("jobs"))
        for path: RouterPath in ["livez", "readyz"] { router.refuseOtherMethods(path, than: [.get]) }
        return router
    }

    /// Lets jobs end, then frees what the gateway holds.
    public func shutdown() async {
        await jobs.finish(within: .seconds(20))
        await pool.shutdown()
        for transport in transports { try? await transport.http.shutdown() }
        await authenticator.shutdown()
        await kms.shutdown()
    }

    func parameter(_ name: String, _ context: ServiceContext) throws -> String {
        guard let value = context.parameters.get(name), value.utf8.count <= 128 else {
            throw Problem.badRequest("the path lacks \(name)", fix: "Check the path.")
        }
        return value
    }
}

/// Runs HE arithmetic on the gateway's pool.
struct PoolCompute: ComputeExecutor {
    let pool: ComputePool

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        do {
            return try await pool.run { try Parallelism.occupying(body) }
        } catch is ComputePoolError {
            throw ComputeSaturated()
        }
    }
}

/// Calls `body` when the servers beside it have stopped.
private struct ShutdownService: Service {
    let body: @Sendable () async -> Void

    func run() async throws {
        try? await gracefulShutdown()
        await body()
    }
}

extension HTTPField.Name {
    /// The caller's own credential for the trusted KMS, where key sets are sealed under keys of single principals.
    static let kmsToken = HTTPField.Name("HKMS-KMS-Token")!
}

/// Authenticates `Authorization: Bearer`, and the client's certificate where there is no such field.
struct BearerMiddleware: RouterMiddleware {
    typealias Context = ServiceContext
    let authenticator: any Authenticator
    /// Whether seeds are sealed under principals' own keys: for others nobody's credential is kept.
    let takesKMSTokens: Bool

    static let unauthenticated = Problem(
        name: "unauthenticated", title: "Who are you?", status: 401,
        detail: "The request has no valid bearer token, and no client certificate that names a caller instead of one.",
        fix: "Send Authorization: Bearer with a token of one of the gateway's issuers, not expired and for its "
            + "audience; the CLI takes --token-file. Without that field a certificate counts that "
            + "identity.clientCertificates names.")

    static let invalidKMSToken = Problem(
        name: "invalid-kms-token", title: "The token for the KMS is not usable", status: 400,
        detail: "The field HKMS-KMS-Token has 1 to 8192 visible ASCII characters, without quote and backslash.",
        fix: "Send a JWT of an issuer that the KMS believes, for the KMS's audience; the CLI takes --kms-token-file.")

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let certificate = await context.clientCertificate()?.caller
        guard let principal = try await principal(request.headers[.authorization], certificate) else {
            throw Self.unauthenticated
        }
        context.principal = principal
        guard takesKMSTokens, let field = request.headers[HTTPField.Name.kmsToken] else {
            return try await next(request, context)
        }
        guard let credential = try ForwardedCredential(fieldValue: field) else { throw Self.invalidKMSToken }
        context.forwardedCredential = credential
        defer { context.forwardedCredential = nil }
        return try await next(request, context)
    }

    /// Where there is a field, a certificate makes up for no token in it.
    private func principal(_ field: String?, _ certificate: ClientCertificate?) async throws -> Principal? {
        guard let field else { return certificate.flatMap { authenticator.authenticate($0) } }
        guard let token = BearerToken(fieldValue: field) else { return nil }
        return try await authenticator.authenticate(bearer: token.text, over: certificate)
    }
}

extension ServerTiming {
    init(_ timings: StepTimings) {
        self.init(timings.steps.map { Entry(name: $0.name, milliseconds: $0.milliseconds) })
    }
}
