import ArgumentParser
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
import StorageFiles
import StorageSQLite
import TransportSecurity

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the gateway.",
        discussion: """
            Reads the configuration, opens the installation's keys with the trusted KMS, and serves the API until it \
            gets SIGTERM or SIGINT; requests in flight are finished.

              hkms init ./hkms-dev --dev
              hkms serve --config ./hkms-dev/hkms.yaml

            Exits with 78 where the configuration is wrong; each line of the message names file and line.
            """)

    @Option(name: .long, help: "The configuration file.") var config: String
    @Option(name: .long, help: "trace, debug, info, notice, warning or error.") var logLevel = Logger.Level.info
    @Option(name: .long, help: "text, or json: one object a line.") var logFormat = LogFormat.text
    @Option(name: .long, help: ArgumentHelp("Write the bound port to this file once the gateway is ready."))
    var portFile: String?
    @Flag(name: .long, help: "Only check the configuration.") var check = false

    /// Secret memory of one operation at N = 2^16: a packed secret key, errors, and three rows of residues.
    private static let lockedBytesPerThread = 2 << 20

    func run() async throws {
        let settings: ServerConfiguration
        do {
            settings = try ServerConfiguration(path: config)
            if let tokens = settings.identity.tokensFile { _ = try StaticTokenFile(path: tokens) }
        } catch let error as ConfigurationError {
            try? FileHandle.standardError.write(contentsOf: Data("\(error)\n".utf8))
            throw ExitCode(78)
        }
        if check {
            try? FileHandle.standardError.write(contentsOf: Data("\(config): ok\n".utf8))
            return
        }
        _ = hkms_wiping_free_is_active()
        guard SecretMemory.forbidCoreDumps() || settings.gateway.development else { throw ServerError.coreDumps }
        SecretMemory.lockPolicy = settings.gateway.lockPolicy
        logFormat.bootstrap(level: logLevel)
        let logger = Logger(label: "hkms")
        do {
            try await serve(settings, logger: logger)
        } catch let error as KeyManagementError {
            throw FlowFailure(error)
        } catch let error as KMSError {
            throw FlowFailure(.kms(error))
        } catch let error as TLSError {
            try? FileHandle.standardError.write(contentsOf: Data("\(config): \(error)\n".utf8))
            throw ExitCode(78)
        }
    }

    private func serve(_ settings: ServerConfiguration, logger: Logger) async throws {
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
        let kms = ObservedKMS(try await settings.kms.connect())
        if kms.capabilities.developmentOnly {
            logger.warning("DEVELOPMENT KMS: the keystore's passphrase lies beside it")
        }
        guard let sealed = try? Data(contentsOf: URL(fileURLWithPath: configuration.sealedKeyFile)) else {
            throw ServerError.noInstallationKey(configuration.sealedKeyFile)
        }
        let keys = try await InstallationKeys.open(
            Array(sealed), installation: configuration.installation, tenant: configuration.tenant, kms: kms,
            key: settings.kms.key)
        let gateway = try Gateway(
            configuration: configuration, kms: kms, kmsKey: settings.kms.key, keys: keys,
            objects: ObservedObjectStore(try FileObjectStore(directory: configuration.objectsDirectory)),
            metadata: ObservedMetadataStore(try SQLiteMetadataStore(path: configuration.metadataFile)),
            authenticator: try settings.identity.authenticator(logger: logger), logger: logger)
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
