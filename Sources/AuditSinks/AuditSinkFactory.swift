import AuditLog
import NIOSSL

/// Makes sinks of what a configuration says.
public enum AuditSinkFactory {
    /// - Parameters:
    ///   - installation: in every syslog message and HTTP request.
    ///   - gateway: the same.
    /// - Throws: ``AuditSinkError`` where a file that is named cannot be used.
    public static func make(
        _ settings: AuditSinkSettings, installation: String, gateway: String
    ) throws(AuditSinkError) -> any AuditSink {
        switch settings.kind {
        case .http: try HTTPSink(settings, installation: installation, gateway: gateway)
        case .syslog:
            SyslogDatagramSink(settings, format: SyslogFormat(installation: installation, gateway: gateway))
        case .syslogTCP:
            try SyslogTCPSink(settings, format: SyslogFormat(installation: installation, gateway: gateway))
        }
    }

    /// TLS 1.3 with the system's certificates, or those of a file.
    static func tls(_ settings: AuditSinkSettings) throws(AuditSinkError) -> TLSConfiguration {
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.minimumTLSVersion = .tlsv13
        if let path = settings.caCertificate {
            guard let certificates = try? NIOSSLCertificate.fromPEMFile(path), !certificates.isEmpty else {
                throw .caCertificate(path: path)
            }
            tls.trustRoots = .certificates(certificates)
        }
        return tls
    }
}

/// Why a sink does not take lines.
public enum AuditSinkError: Error, Sendable, Equatable, CustomStringConvertible {
    case caCertificate(path: String)
    case token(path: String)
    /// The server's answer.
    case status(Int)
    case unreachable(String)

    public var description: String {
        switch self {
        case .caCertificate(let path): "the CA certificate file \(path) holds no PEM certificates"
        case .token(let path): "the token file \(path) cannot be read, or others may read it, or it holds no token"
        case .status(let code): "the server answered with status \(code)"
        case .unreachable(let reason): reason
        }
    }
}
