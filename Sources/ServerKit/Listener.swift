import Hummingbird
import ServiceKit

/// Where a server listens.
public struct ListenAddress: Sendable, Hashable {
    public let host: String
    /// 0 for any free port.
    public let port: Int

    /// Reads `listen: {host, port}`.
    ///
    /// Plain HTTP goes to loopback alone, because tokens and plaintexts go over it; TLS listeners will lift
    /// this.
    public init(_ section: YAMLSection?, defaultPort: Int) {
        host = section?.string("host", default: "127.0.0.1") ?? "127.0.0.1"
        port = section?.int("port", default: defaultPort, in: 0...65535) ?? defaultPort
        if !["127.0.0.1", "::1", "localhost"].contains(host) {
            section?.fail(
                "host",
                "must be 127.0.0.1, ::1 or localhost: plain HTTP listens on loopback only, and TLS listeners come later"
            )
        }
    }

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    public var configuration: ApplicationConfiguration {
        ApplicationConfiguration(address: .hostname(host, port: port), serverName: nil)
    }

    /// As a URL, with the port that was really bound.
    public func url(boundPort: Int?) -> String {
        let shown = host.contains(":") ? "[\(host)]" : host
        return "http://\(shown):\(boundPort ?? port)"
    }
}
