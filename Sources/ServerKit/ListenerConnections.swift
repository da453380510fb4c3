import HummingbirdCore
import Logging
import NIOCertificateReloading
import Observability
import ServiceKit
import ServiceLifecycle
import TransportSecurity

extension ListenAddress {
    /// Sets up how connections are taken.
    /// - Throws: `TLSError` where the certificate, its key, the authorities or a revocation list cannot be used.
    public func connections(offersHTTP2: Bool, logger: Logger) throws -> ListenerConnections {
        guard let tls else { return ListenerConnections(server: .limitedHTTP1, services: []) }
        let reloader = try tls.files.reloader(every: tls.reloadInterval) { event in event.log(to: logger) }
        let configuration = try tls.configuration(reloader)
        let server: HTTPServerBuilder = offersHTTP2 ? .limitedHTTP2(configuration) : .limitedHTTP1(configuration)
        var services: [any Service] = [CertificateReloading(reloader: reloader)]
        guard let authorities = tls.clientAuthorities, !tls.revocationLists.isEmpty else {
            return ListenerConnections(server: server, services: services)
        }
        let revocation = try RevocationLists(paths: tls.revocationLists, authorities: authorities)
        services.append(RevocationReloading(lists: revocation, interval: tls.reloadInterval, logger: logger))
        return ListenerConnections(server: server, services: services, revocation: revocation)
    }
}

/// How a listener takes connections, and what has to run meanwhile.
public struct ListenerConnections: Sendable {
    public let server: HTTPServerBuilder
    public let services: [any Service]
    /// What clients' certificates are looked up in; nil where that is not asked for.
    public let revocation: RevocationLists?

    public init(server: HTTPServerBuilder, services: [any Service], revocation: RevocationLists? = nil) {
        self.revocation = revocation
        self.server = server
        self.services = services
    }
}

/// Looks for renewed certificates until the servers beside it stop.
public struct CertificateReloading: Service {
    private let reloader: TimedCertificateReloader

    public init(reloader: TimedCertificateReloader) { self.reloader = reloader }

    public func run() async throws { try await reloader.run() }
}

extension CertificateFiles.ReloadEvent {
    public func log(to logger: Logger) {
        switch self {
        case .renewed(let files):
            MetricCatalog.certificateReloads.increment("renewed")
            logger.notice("the certificate was renewed", metadata: ["certificate": "\(files.certificate)"])
        case .failed(let files, let reason):
            MetricCatalog.certificateReloads.increment("failed")
            logger.error(
                "the certificate cannot be renewed; the one that was read before goes on",
                metadata: ["certificate": "\(files.certificate)", "reason": "\(reason)"])
        }
    }
}
