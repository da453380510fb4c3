import Hummingbird
import ServiceKit

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
    /// - Parameters:
    ///   - path: where a file that the configuration names lies.
    ///   - parent: the section that `listen` belongs to; nil for `root`.
    public init(
        _ section: YAMLSection?, in root: YAMLSection, defaultPort: Int, path: (String) -> String,
        toldIn parent: YAMLSection? = nil
    ) {
        host = section?.string("host", default: "127.0.0.1") ?? "127.0.0.1"
        port = section?.int("port", default: defaultPort, in: 0...65535) ?? defaultPort
        tls = section?.optionalSection("tls").map { ServerTLS($0, path: path) }
        guard tls == nil else { return }
        if !["127.0.0.1", "::1", "localhost"].contains(host) {
            section?.fail(
                "host", "must be 127.0.0.1, ::1 or localhost without listen.tls: plain HTTP is for loopback only")
        } else if !root.bool("development", default: false) {
            (parent ?? root).fail(
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
}
