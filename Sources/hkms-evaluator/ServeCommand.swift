import ArgumentParser
import EvaluationUnit
import Logging
import Observability
import ObservabilityExport
import SecretMemory
import ServiceKit
import ServiceLifecycle
import TransportSecurity

struct ServeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "serve",
        abstract: "Run the evaluation unit until SIGTERM or SIGINT.",
        discussion: """
            Writes one line to standard error when it is ready:
              hkms-evaluator listening on http://127.0.0.1:8081
            On SIGTERM it finishes the requests in flight.

            EXAMPLE
              hkms-evaluator serve --config unit.yaml
            """)

    @Option(name: .long, help: ArgumentHelp("Configuration file.", valueName: "file"))
    var config: String

    @Option(name: .long, help: "text, or json: one object a line.") var logFormat = LogFormat.text

    func run() async throws {
        // Before the signing key is read.
        let isForbidden = SecretMemory.forbidCoreDumps()
        logFormat.bootstrap(level: .info)
        let logger = Logger(label: "hkms-evaluator")
        let configuration = try UnitConfiguration.load(config)
        guard isForbidden || configuration.development else {
            throw Terminal.failure(
                "the system does not let this process forbid core dumps of itself, which could hold its signing key; "
                    + "for a trial, set development: true")
        }
        let observability: ProcessObservability
        do {
            observability = try ProcessObservability.start(
                configuration.observability, service: "hkms-evaluator", instance: configuration.name, logger: logger)
        } catch let error as TLSError { throw Terminal.failure("metrics or tracing: \(error)") }
        let unit = try EvaluationUnit(configuration: configuration, logger: logger)
        unit.observe(in: observability.registry)
        let services: [any Service]
        do {
            services = try unit.services { port in
                Terminal.error("hkms-evaluator listening on \(configuration.listen.url(boundPort: port))")
            }
        } catch let error as TLSError {
            throw Terminal.failure("listen.tls: \(error)")
        }
        do {
            try await ServiceGroup(
                configuration: .init(
                    services: observability.services + services, gracefulShutdownSignals: [.sigterm, .sigint],
                    logger: logger)
            ).run()
        } catch {
            throw Terminal.failure("cannot listen on \(configuration.listen.url(boundPort: nil)): \(error)")
        }
    }
}

extension LogFormat: ExpressibleByArgument {}
