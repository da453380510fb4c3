import CoreMetrics
import Logging
import Observability
import SecretMemory
import ServerKit
import ServiceKit
import ServiceLifecycle
import Tracing
import TransportSecurity

/// Metrics and traces of a process, set up once from its configuration.
public struct ProcessObservability: Sendable {
    /// Everything that is measured; ``PrometheusRegistry/onScrape(_:)`` adds what is read when it is asked for.
    public let registry: PrometheusRegistry
    /// To be run first in the list of a group, so that they stop last: `/metrics` and the exporter, where configured.
    public let services: [any Service]

    /// Becomes the process's factory of metrics and its tracer. To be called once, before anything that takes a tracer
    /// when it is made, such as HTTP clients.
    /// - Parameters:
    ///   - service: the program's name in traces.
    ///   - instance: this process's name in traces.
    /// - Throws: `TLSError` where a certificate or the collector's authorities cannot be used.
    public static func start(
        _ settings: ObservabilitySettings, service: String, instance: String, logger: Logger
    ) throws -> ProcessObservability {
        let registry = PrometheusRegistry()
        var services: [any Service] = []
        if let listen = settings.metrics {
            MetricsSystem.bootstrap(registry)
            Self.begin()
            registry.onScrape { LockedMemory.read(into: $0) }
            services += try MetricsServer(listen: listen, registry: registry, logger: logger).services()
        }
        if let tracing = settings.tracing {
            let queue = SpanQueue()
            services.append(
                try TraceExporter(
                    tracing,
                    resource: [
                        (name: "service.name", value: service),
                        (name: "service.version", value: ProgramVersion.current),
                        (name: "service.instance.id", value: instance),
                    ], queue: queue, logger: logger))
            let sampling = Sampling(ratio: tracing.ratio, trustsIncoming: tracing.trustIncoming)
            InstrumentationSystem.bootstrap(SpanTracer(sampling: sampling, queue: queue))
        } else {
            // Ids go on all the same, and stand in the log.
            InstrumentationSystem.bootstrap(SpanTracer(sampling: Sampling(ratio: 0), queue: nil))
        }
        return ProcessObservability(registry: registry, services: services)
    }

    /// Counters that alerts look at begin with 0: a series that comes into being with its first event shows no increase.
    private static func begin() {
        for outcome in ["renewed", "failed"] { MetricCatalog.certificateReloads.increment(by: 0, outcome) }
        for reason in ["queue-full", "refused", "shutdown", "unreachable"] {
            MetricCatalog.spansDropped.increment(by: 0, reason)
        }
    }
}
