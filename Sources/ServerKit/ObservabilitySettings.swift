import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a server is told about metrics and traces: the sections `metrics` and `tracing` of its configuration.
public struct ObservabilitySettings: Sendable, Hashable {
    /// Where `/metrics` is served; nil for nowhere.
    public let metrics: ListenAddress?
    /// Where traces are sent; nil for nowhere.
    public let tracing: TracingSettings?

    public init(metrics: ListenAddress? = nil, tracing: TracingSettings? = nil) {
        self.metrics = metrics
        self.tracing = tracing
    }

    /// - Parameters:
    ///   - trustIncoming: what `tracing.trustIncoming` is where the file does not say.
    ///   - path: where a file that the configuration names lies.
    public init(_ root: YAMLSection, trustIncoming: Bool = false, path: (String) -> String) {
        metrics = root.optionalSection("metrics").map { section in
            let listen = ListenAddress(
                section.optionalSection("listen"), in: root, defaultPort: 9464, path: path, toldIn: section)
            if let tls = listen.tls, tls.clientAuthorities != nil, tls.clientCertificates != .required {
                section.fail(
                    "listen", "tls.clientCertificates must be required beside clientAuthorities: nobody else is asked")
            }
            return listen
        }
        tracing = root.optionalSection("tracing").map {
            TracingSettings($0, trustIncoming: trustIncoming, path: path)
        }
    }
}

/// What of the traces is recorded, and who collects it.
public struct TracingSettings: Sendable, Hashable {
    /// The collector's URL for traces, OTLP over HTTP: `https` anywhere, `http` on loopback.
    public let endpoint: String
    /// Of the traces that begin here, 0 to 1.
    public let ratio: Double
    /// Whether who sends a request decides if it is recorded.
    public let trustIncoming: Bool
    public let tls: ClientTLS
    /// Lines `Name: value`, such as a collector's credential; read again for every request.
    public let headersFile: String?

    public init(
        endpoint: String, ratio: Double = 1, trustIncoming: Bool = false, tls: ClientTLS = ClientTLS(),
        headersFile: String? = nil
    ) {
        self.endpoint = endpoint
        self.ratio = ratio
        self.trustIncoming = trustIncoming
        self.tls = tls
        self.headersFile = headersFile
    }

    /// Reads `tracing: {endpoint, ratio, trustIncoming, caCertificate, headersFile}`.
    init(_ section: YAMLSection, trustIncoming: Bool, path: (String) -> String) {
        let endpoint = section.string("endpoint")
        self.endpoint = Self.tracesURL(endpoint)
        if section.contains("endpoint"), !Self.isAllowed(endpoint) {
            section.fail("endpoint", "must be https://HOST:PORT; http:// is for 127.0.0.1, [::1] and localhost only")
        }
        var ratio = 1.0
        if let text = section.optionalString("ratio") {
            if let number = Double(text), (0...1).contains(number) {
                ratio = number
            } else {
                section.fail("ratio", "must be a number from 0 to 1")
            }
        }
        self.ratio = ratio
        self.trustIncoming = section.bool("trustIncoming", default: trustIncoming)
        tls = ClientTLS(authorities: section.optionalString("caCertificate").map(path))
        headersFile = section.optionalString("headersFile").map(path)
    }

    /// A collector's base address means its `/v1/traces`.
    private static func tracesURL(_ endpoint: String) -> String {
        guard let url = URL(string: endpoint), ["", "/"].contains(url.path()) else { return endpoint }
        return (endpoint.hasSuffix("/") ? String(endpoint.dropLast()) : endpoint) + "/v1/traces"
    }

    private static func isAllowed(_ endpoint: String) -> Bool {
        guard let url = URL(string: endpoint), let host = url.host(), !host.isEmpty, url.user() == nil,
            url.password() == nil, url.query() == nil, url.fragment() == nil
        else { return false }
        return switch url.scheme {
        case "https": true
        case "http": ["127.0.0.1", "::1", "[::1]", "localhost"].contains(host)
        default: false
        }
    }
}
