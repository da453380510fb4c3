import HummingbirdCore
import HummingbirdTLS
import Logging
import NIOCertificateReloading
import Observability
import ServiceKit
import ServiceLifecycle
import TransportSecurity

extension ListenAddress {
    /// Sets up how connections are taken.
    /// - Throws: `TLSError` where the certificate, its key or the authorities cannot be used.
    public func connections(offersHTTP2: Bool, logger: Logger) throws -> ListenerConnections {
        guard let tls else { return ListenerConnections(server: .limitedHTTP1, services: []) }
        let reloader = try tls.files.reloader(every: tls.reloadInterval) { event in event.log(to: logger) }
        let configuration = try tls.configuration(reloader)
        let server: HTTPServerBuilder =
            try offersHTTP2
            ? .limitedHTTP2(configuration) : .tls(.limitedHTTP1, tlsConfiguration: configuration)
        return ListenerConnections(server: server, services: [CertificateReloading(reloader: reloader)])
    }
}

/// How a listener takes connections, and what has to run meanwhile.
public struct ListenerConnections: Sendable {
    public let server: HTTPServerBuilder
    public let services: [any Service]

    public init(server: HTTPServerBuilder, services: [any Service]) {
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
