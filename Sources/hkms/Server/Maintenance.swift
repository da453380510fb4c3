import AuditLog
import Foundation
import Gateway
import KeyManagement
import LocalFiles
import Logging
import SecretMemory
import ServiceKit

/// What an operator does to an installation beside its gateways, on an audit log of its own.
struct Maintenance {
    let settings: ServerConfiguration
    let installation: OpenedInstallation
    let manager: KeyManager
    private let audit: AuditTrail?
    private let logger: Logger

    /// The log lies beside the gateway's, since each process has one of its own.
    private static func name(_ configuration: GatewayConfiguration) -> String {
        configuration.gateway + "-maintenance"
    }

    /// Opens what the configuration names, runs `body` and closes it again.
    /// - Parameters:
    ///   - usesUp: whether a credential that works once may be used.
    ///   - changes: whether something is to be changed, which goes on record.
    static func run<Result>(
        _ settings: ServerConfiguration, usesUp: Bool, changes: Bool, _ body: (Maintenance) async throws -> Result
    ) async throws -> Result {
        let configuration = settings.gateway
        let usedUp = settings.allKMS.filter { $0.connection.usedUpFile != nil }
        if let first = usedUp.first, !usesUp { throw leaving(first) }
        guard SecretMemory.forbidCoreDumps() || configuration.development else { throw ServerError.coreDumps }
        SecretMemory.lockPolicy = configuration.lockPolicy
        var logger = Logger(label: "hkms") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .warning
        for file in usedUp.compactMap(\.connection.usedUpFile) {
            Terminal.tell("hkms: this spends the token in \(file): put another there before hkms serve starts\n")
        }
        do {
            let installation = try await OpenedInstallation(settings)
            do {
                let audit = changes ? try await auditTrail(configuration, installation, logger) : nil
                let maintenance = Maintenance(
                    settings: settings, installation: installation,
                    manager: installation.manager(configuration, logger: logger), audit: audit, logger: logger)
                let result: Swift.Result<Result, any Error>
                do { result = .success(try await body(maintenance)) } catch { result = .failure(error) }
                await maintenance.close()
                await installation.kms.shutdown()
                return try result.get()
            } catch {
                await installation.kms.shutdown()
                throw error
            }
        } catch let error as KeyManagementError {
            throw FlowFailure(error)
        } catch let error as KMSError {
            throw FlowFailure(.kms(error))
        } catch let error as AuditError {
            throw failure(error)
        }
    }

    /// Connecting would take the gateway's next login from it.
    private static func leaving(_ kms: KMSSettings) -> CommandFailure {
        CommandFailure(
            title: "The gateway's credential for the KMS works once",
            detail: "\(kms.connection.usedUpFile ?? "") holds the one login of \(kms.section), and hkms serve needs it",
            fix: "Give hkms kms a configuration with a credential of its own; or use this one up by --unwrap, and "
                + "put another there before the gateway starts again.")
    }

    /// Nobody but these commands writes their log.
    private static func failure(_ error: AuditError) -> any Error {
        guard case .locked(let directory) = error else { return AuditFailure(error) }
        return CommandFailure(
            title: "Another hkms kms job is running here", detail: "a process writes its record in \(directory)",
            fix: "Leave it alone: hkms kms status says how far it is, hkms kms cancel ends it at its next step.")
    }

    private static func auditTrail(
        _ configuration: GatewayConfiguration, _ installation: OpenedInstallation, _ logger: Logger
    ) async throws -> AuditTrail {
        let own = configuration.audit
        let audit = AuditConfiguration(
            directory: own.directory + "-maintenance", fileBytes: own.fileBytes, hashed: own.hashed,
            publicKeys: own.publicKeys, queued: own.queued, sinks: own.sinks)
        return try await installation.auditTrail(
            audit, of: name(configuration), configuration, acceptsAny: false, logger: logger)
    }

    /// Runs `body` with the audit log, which was not needed until now.
    func onRecord(_ body: (Maintenance) async throws -> Void) async throws {
        let maintenance = Maintenance(
            settings: settings, installation: installation, manager: manager,
            audit: try await Self.auditTrail(settings.gateway, installation, logger), logger: logger)
        let result: Swift.Result<Void, any Error>
        do { result = .success(try await body(maintenance)) } catch { result = .failure(error) }
        await maintenance.close()
        try result.get()
    }

    private func close() async {
        guard let audit else { return }
        let anchors = Anchors(metadata: installation.metadata, keys: installation.keys)
        do {
            try await Gateway.keep(audit.head, of: Self.name(settings.gateway), in: anchors)
        } catch {
            logger.warning("the head of the audit log is not kept", metadata: ["reason": "\(error)"])
        }
        await audit.shutdown()
    }

    /// Puts on record what is done.
    /// - Parameter outcome: `begun` before it, `ok` or why it failed after it.
    func record(
        _ action: String, keySet: String? = nil, _ parameters: [String: String], outcome: String
    ) async throws {
        try await audit?.append(
            AuditRecord(
                caller: nil, action: action, resource: .init(keySet: keySet), parameters: parameters,
                decision: .allowed, rule: "allowed by the operator", outcome: outcome))
    }

    /// Whether this KMS opens the installation's secret, rather than another one of the configuration.
    /// - Throws: whatever else keeps it from opening: that is no answer, and what sealed it may be about to go.
    private func isSealed(_ sealed: [UInt8], by target: ConfiguredKMS) async throws -> Bool {
        let configuration = settings.gateway
        func open(_ kms: KMSDirectory) async throws(KeyManagementError) {
            _ = try await InstallationKeys.open(
                sealed, installation: configuration.installation, tenant: configuration.tenant, kms: kms)
        }
        let refusal: KeyManagementError
        do throws(KeyManagementError) {
            try await open(KMSDirectory(target))
            return true
        } catch {
            switch error {
            // Of another KMS's blob some look at the version before they look at the rest.
            case .kms(.cannotOpen), .kms(.keyNotFound), .kms(.keyUnusable): refusal = error
            default: throw error
            }
        }
        let others = installation.kms.all.filter { $0.name != target.name }
        guard let first = others.first else { throw refusal }
        do throws(KeyManagementError) {
            try await open(KMSDirectory(first, others: Array(others.dropFirst())))
            return false
        } catch {
            switch error {
            case .kms(.cannotOpen), .kms(.keyNotFound), .kms(.keyUnusable): throw refusal
            default: throw error
            }
        }
    }

    /// Seals the installation's own secret anew by a KMS of the configuration, in its file, which is the old one or the
    /// new one whatever happens.
    /// - Parameters:
    ///   - moves: whether it goes there from wherever it is; else it stays where another KMS has it.
    ///   - version: of the key, which it has at least afterwards.
    func resealInstallation(to name: String, moves: Bool, version: Int) async throws {
        let configuration = settings.gateway
        guard let target = installation.kms.all.first(where: { $0.name == name }) else {
            throw KeyManagementError.unknownKMS(name)
        }
        let old = try OpenedInstallation.sealedKey(configuration)
        let isThere = try await isSealed(old, by: target)
        guard moves || isThere else { return }
        if isThere, let own = InstallationKeys.keyVersion(of: old), own >= version { return }
        let fresh = try await InstallationKeys.resealed(
            old, installation: configuration.installation, tenant: configuration.tenant, kms: installation.kms,
            to: target)
        guard InstallationKeys.keyVersion(of: fresh).map({ $0 >= version }) ?? true else {
            throw KeyManagementError.kms(.invalidResponse(reason: "it seals under an old version of the key"))
        }
        let file = URL(fileURLWithPath: configuration.sealedKeyFile)
        do throws(SystemError) {
            let folder = try FileDescriptor(directory: file.deletingLastPathComponent().path)
            let temporary = ".\(file.lastPathComponent).\(UUID().uuidString.lowercased())"
            do throws(SystemError) {
                let descriptor = try folder.createFile(temporary)
                try descriptor.write(fresh)
                try descriptor.sync()
                try folder.rename(temporary, to: folder, as: file.lastPathComponent)
            } catch {
                try? folder.removeFile(temporary)
                throw error
            }
            try folder.sync()
        } catch {
            throw CommandFailure(
                title: "The installation's sealed key is not written", detail: "\(file.path): \(error)",
                fix: "See that this user may write to its folder and that the device has room.")
        }
    }
}
