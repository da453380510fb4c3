import AccessPolicy
import ArgumentParser
import AuditLog
import AuditSinks
import CWipingFree
import Foundation
import Gateway
import KeyManagement
import Logging
import Observability
import ObservabilityExport
import SecretMemory
import ServiceKit
import ServiceLifecycle
import TransportSecurity

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway.",
        discussion: """
            Reads the configuration, opens the installation's keys with the trusted KMS, and serves the API until it \
            gets SIGTERM or SIGINT; requests in flight are finished.

              hkms init ./hkms-dev --dev
              hkms serve --config ./hkms-dev/hkms.yaml

            SIGHUP has the access policy read again; a file that is not usable leaves the earlier policy in force, and \
            says so. Every operation is on the audit log before it is answered.

            Exits with 78 where the configuration is wrong; each line of the message names file and line.
            """)

    @Option(name: .long, help: "The configuration file.") var config: String
    @Option(name: .long, help: "trace, debug, info, notice, warning or error.") var logLevel = Logger.Level.info
    @Option(name: .long, help: "text, or json: one object a line.") var logFormat = LogFormat.text
    @Option(name: .long, help: ArgumentHelp("Write the bound port to this file once the gateway is ready."))
    var portFile: String?
    @Flag(name: .long, help: "Only check the configuration and the access policy.") var check = false
    @Flag(
        name: .long,
        help: "Start though the audit log lacks what it held: after a restore, or with a new audit.directory.")
    var acceptAuditLog = false

    /// Secret memory of one operation at N = 2^16: a packed secret key, errors, and three rows of residues.
    static let lockedBytesPerThread = 2 << 20

    func run() async throws {
        let settings: ServerConfiguration
        let policy: PolicyStore
        do {
            settings = try ServerConfiguration(path: config)
            policy = try settings.gateway.policyFile.map { try PolicyStore(path: $0) } ?? PolicyStore()
            if let tokens = settings.identity.tokensFile { _ = try StaticTokenFile(path: tokens) }
        } catch let error as ConfigurationError {
            try? FileHandle.standardError.write(contentsOf: Data("\(error)\n".utf8))
            throw ExitCode(78)
        }
        if check {
            try? FileHandle.standardError.write(contentsOf: Data("\(config): ok\n".utf8))
            return
        }
        // Until somebody listens to it: who reloads a policy that early must not end the gateway.
        signal(SIGHUP, SIG_IGN)
        _ = hkms_wiping_free_is_active()
        guard SecretMemory.forbidCoreDumps() || settings.gateway.development else { throw ServerError.coreDumps }
        SecretMemory.lockPolicy = settings.gateway.lockPolicy
        logFormat.bootstrap(level: logLevel)
        let logger = Logger(label: "hkms")
        do {
            try await serve(settings, policy: policy, logger: logger)
        } catch let error as KeyManagementError {
            throw FlowFailure(error)
        } catch let error as KMSError {
            throw FlowFailure(.kms(error))
        } catch let error as AuditError {
            throw AuditFailure(error)
        } catch let error as AuditSinkError {
            throw configurationFailure(error)
        } catch let error as TLSError {
            throw configurationFailure(error)
        }
    }

    private func configurationFailure(_ error: some CustomStringConvertible) -> ExitCode {
        try? FileHandle.standardError.write(contentsOf: Data("\(config): \(error)\n".utf8))
        return ExitCode(78)
    }

    private func serve(_ settings: ServerConfiguration, policy: PolicyStore, logger: Logger) async throws {
        let configuration = settings.gateway
        if configuration.development {
            logger.warning("DEVELOPMENT MODE: keys are not protected as in production; do not put real data here")
        }
        // Fails now, by name, where memory cannot be locked, rather than at a decryption some day: as much as the
        // threads hold at a time at the largest ring.
        _ = try SecretBytes(count: configuration.threads * Self.lockedBytesPerThread)
        // Before anything that is traced is made.
        let observability = try ProcessObservability.start(
            configuration.observability, service: "hkms-gateway", instance: configuration.gateway, logger: logger)
        let installation = try await OpenedInstallation(settings)
        let (kms, keys, metadata) = (installation.kms, installation.keys, installation.metadata)
        if kms.current.kms.capabilities.developmentOnly {
            logger.warning("DEVELOPMENT KMS: the keystore's passphrase lies beside it")
        }
        let authenticator = try settings.identity.authenticator(logger: logger)
        let audit = try await installation.auditTrail(
            configuration.audit, of: configuration.gateway, configuration, acceptsAny: acceptAuditLog, logger: logger)
        let gateway = try Gateway(
            configuration: configuration, kms: kms, keys: keys, objects: installation.objects,
            metadata: metadata, authenticator: authenticator, policy: policy, audit: audit, logger: logger)
        gateway.observe(in: observability.registry)
        try await gateway.recover()
        let portFile = portFile
        let listen = configuration.listen
        let services = try gateway.services { port in
            logger.notice("hkms gateway is ready", metadata: ["url": "\(listen.url(boundPort: port))"])
            if let portFile, let port {
                try? Data("\(port)\n".utf8).write(to: URL(fileURLWithPath: portFile), options: .atomic)
            }
        }
        let group = ServiceGroup(
            configuration: .init(
                services: observability.services + services, gracefulShutdownSignals: [.sigterm, .sigint],
                logger: logger))
        try await group.run()
    }
}

extension Logger.Level: @retroactive ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}

/// An error of a flow in the words of its problem.
struct FlowFailure: ProblemConvertible {
    let problem: Problem

    init(_ error: KeyManagementError) { problem = Gateway.problem(for: error) }
}

/// Why the audit log keeps the gateway from starting.
struct AuditFailure: ActionableError {
    let error: AuditError

    init(_ error: AuditError) { self.error = error }

    var title: String { "The audit log cannot be used" }
    var detail: String { error.description }
    var fix: String {
        switch error {
        case .behind:
            "Find out who cut it off, or give it back its files; where you restored it or chose a new folder "
                + "yourself, start once with --accept-audit-log."
        case .locked: "Give each gateway process an audit.directory of its own."
        case .damaged: "Keep the files as they are for who looks into it, and give audit.directory a new folder."
        default: "See that the gateway may write to audit.directory and that its device has room."
        }
    }
}
