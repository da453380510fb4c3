import ArgumentParser
import EvaluationUnit
import Logging
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

    func run() async throws {
        // Before the signing key is read.
        let isForbidden = SecretMemory.forbidCoreDumps()
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        let logger = Logger(label: "hkms-evaluator")
        let configuration = try UnitConfiguration.load(config)
        guard isForbidden || configuration.development else {
            throw Terminal.failure(
                "the system does not let this process forbid core dumps of itself, which could hold its signing key; "
                    + "for a trial, set development: true")
        }
        let unit = try EvaluationUnit(configuration: configuration, logger: logger)
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
                    services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: logger)
            ).run()
        } catch {
            throw Terminal.failure("cannot listen on \(configuration.listen.url(boundPort: nil)): \(error)")
        }
    }
}
