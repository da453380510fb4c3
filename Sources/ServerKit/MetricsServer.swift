import Hummingbird
import Logging
import NIOCore
import Observability
import ServiceLifecycle
import TransportSecurity

/// `/metrics` for Prometheus, on a listener of its own: who scrapes needs no way to the API.
public struct MetricsServer: Sendable {
    private let listen: ListenAddress
    private let registry: PrometheusRegistry
    private let logger: Logger

    public init(listen: ListenAddress, registry: PrometheusRegistry, logger: Logger) {
        self.listen = listen
        self.registry = registry
        self.logger = logger
    }

    /// What has to run; first among the services of a group, it stops last.
    /// - Throws: `TLSError` where the listener's certificate cannot be used.
    public func services() throws -> [any Service] {
        let connections = try listen.connections(offersHTTP2: false, logger: logger)
        let (listen, logger) = (listen, logger)
        return connections.services + [
            Application(
                router: router(connections.revocation), server: connections.server, configuration: listen.configuration,
                onServerRunning: { channel in
                    let url = listen.url(boundPort: channel.localAddress?.port) + "/metrics"
                    logger.notice("metrics are served", metadata: ["url": "\(url)"])
                }, logger: logger)
        ]
    }

    package func router(_ revocation: RevocationLists? = nil) -> Router<ServiceContext> {
        let router = Router(context: ServiceContext.self)
        if let revocation {
            router.add(middleware: ProblemMiddleware { _ in nil })
            router.add(middleware: RevocationMiddleware(revocation))
        }
        router.get("metrics") { [registry] _, _ in
            Response.bytes(Array(await registry.scrape().utf8), type: PrometheusText.mediaType)
        }
        router.refuseOtherMethods("metrics", than: [.get])
        return router
    }
}
