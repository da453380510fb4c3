import Hummingbird
import HummingbirdHTTP2
import HummingbirdTLS
import Logging
import NIOCertificateReloading
import ServiceKit
import ServiceLifecycle

/// Where a server listens, and how.
public struct ListenAddress: Sendable, Hashable {
    public let host: String
    /// 0 for any free port.
    public let port: Int
    /// nil for plain HTTP, in development on loopback.
    public let tls: ServerTLS?

    /// Reads `listen: {host, port, tls}`.
    ///
    /// Plain HTTP is for development and loopback alone, because tokens and plaintexts go over it.
    /// - Parameter path: where a file that the configuration names lies.
    public init(_ section: YAMLSection?, in root: YAMLSection, defaultPort: Int, path: (String) -> String) {
        host = section?.string("host", default: "127.0.0.1") ?? "127.0.0.1"
        port = section?.int("port", default: defaultPort, in: 0...65535) ?? defaultPort
        tls = section?.optionalSection("tls").map { ServerTLS($0, path: path) }
        guard tls == nil else { return }
        if !["127.0.0.1", "::1", "localhost"].contains(host) {
            section?.fail(
                "host", "must be 127.0.0.1, ::1 or localhost without listen.tls: plain HTTP is for loopback only")
        } else if !root.bool("development", default: false) {
            root.fail(
                "listen",
                "needs tls with certificate and key (hkms init makes them for a start); plain HTTP is for "
                    + "development: true only")
        }
    }

    public init(host: String, port: Int, tls: ServerTLS? = nil) {
        self.host = host
        self.port = port
        self.tls = tls
    }

    public var configuration: ApplicationConfiguration {
        ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil)
    }

    /// As a URL, with the port that was really bound.
    public func url(boundPort: Int?) -> String {
        let shown = host.contains(":") ? "[\(host)]" : host
        return "\(tls == nil ? "http" : "https")://\(shown):\(boundPort ?? port)"
    }

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
            logger.notice("the certificate was renewed", metadata: ["certificate": "\(files.certificate)"])
        case .failed(let files, let reason):
            logger.error(
                "the certificate cannot be renewed; the one that was read before goes on",
                metadata: ["certificate": "\(files.certificate)", "reason": "\(reason)"])
        }
    }
}
