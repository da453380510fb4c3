import AuditLog
import AuditSinks
import Foundation
import Gateway
import KeyManagement
import Logging
import StorageFiles
import StorageSQLite

/// What a configuration names, connected and opened: KMSs, stores, the installation's own keys.
struct OpenedInstallation: Sendable {
    let kms: KMSDirectory
    let keys: InstallationKeys
    let objects: any ObjectStore
    let metadata: any MetadataStore

    /// - Throws: `KMSError`, `KeyManagementError`, ``ServerError``, what a store says that cannot be used.
    init(_ settings: ServerConfiguration) async throws {
        let configuration = settings.gateway
        let kms = try await KMSSettings.directory(settings.kms, others: settings.otherKMS)
        do {
            keys = try await InstallationKeys.open(
                try Self.sealedKey(configuration), installation: configuration.installation,
                tenant: configuration.tenant, kms: kms)
            objects = ObservedObjectStore(try FileObjectStore(directory: configuration.objectsDirectory))
            metadata = ObservedMetadataStore(try SQLiteMetadataStore(path: configuration.metadataFile))
        } catch {
            await kms.shutdown()
            throw error
        }
        self.kms = kms
    }

    static func sealedKey(_ configuration: GatewayConfiguration) throws -> [UInt8] {
        guard let sealed = try? Data(contentsOf: URL(fileURLWithPath: configuration.sealedKeyFile)) else {
            throw ServerError.noInstallationKey(configuration.sealedKeyFile)
        }
        return Array(sealed)
    }

    /// The key sets, without a gateway: for maintenance beside one.
    func manager(_ configuration: GatewayConfiguration, logger: Logger) -> KeyManager {
        KeyManager(
            configuration: .init(
                installation: configuration.installation, gateway: configuration.gateway, tenant: configuration.tenant,
                decryptAnyOwners: configuration.decryptAnyOwners, pinnedManifestKeys: configuration.pinnedManifestKeys),
            keys: keys, kms: kms, objects: objects, metadata: metadata, compute: InlineCompute(), logger: logger)
    }

    /// Opens an audit log, which must hold what it held when its head was kept last.
    /// - Parameters:
    ///   - name: of the gateway, or of what else writes it.
    ///   - acceptsAny: whether it need not hold that.
    /// - Throws: `AuditError`, `AuditSinkError`, `KeyManagementError`.
    func auditTrail(
        _ audit: AuditConfiguration, of name: String, _ configuration: GatewayConfiguration, acceptsAny: Bool,
        logger: Logger
    ) async throws -> AuditTrail {
        let anchors = Anchors(metadata: metadata, keys: keys)
        var expected = try await Gateway.auditHead(of: name, in: anchors)
        if acceptsAny, let head = expected {
            logger.warning("the audit log need not hold what it held", metadata: ["head": "\(head)"])
            expected = nil
        }
        let sinks = try audit.sinks.map {
            try AuditSinkFactory.make($0, installation: configuration.installation, gateway: name)
        }
        do {
            return try AuditTrail(
                audit, installation: configuration.installation, gateway: name, key: keys.auditKey,
                identifierKey: keys.auditIdentifierKey, sinks: sinks, expecting: expected)
        } catch {
            for sink in sinks { await sink.shutdown() }
            throw error
        }
    }
}
