import NIOCertificateReloading
import NIOSSL

/// How a client of ours speaks TLS: 1.3 alone, X25519MLKEM768 first, and the peer's certificate and host name checked.
public struct ClientTLS: Sendable, Hashable {
    /// PEM file of the authorities that are believed instead of the system's.
    public let authorities: String?

    public init(authorities: String? = nil) { self.authorities = authorities }

    /// - Parameter identity: what is shown to a server that asks for a certificate.
    /// - Throws: ``TLSError/authorities(path:reason:)``.
    public func configuration(identity: TimedCertificateReloader? = nil) throws(TLSError) -> TLSConfiguration {
        var configuration = TLSConfiguration.makeClientConfiguration()
        configuration.minimumTLSVersion = .tlsv13
        if let authorities { configuration.trustRoots = .certificates(try Self.certificates(authorities)) }
        if let identity {
            let now = identity.sslContextConfigurationOverride
            configuration.certificateChain = now.certificateChain ?? []
            configuration.privateKey = now.privateKey
            configuration.setCertificateReloader(identity)
        }
        return configuration
    }

    static func certificates(_ path: String) throws(TLSError) -> [NIOSSLCertificate] {
        guard let certificates = try? NIOSSLCertificate.fromPEMFile(path) else {
            throw .authorities(path: path, reason: "cannot be read as PEM certificates")
        }
        guard !certificates.isEmpty else { throw .authorities(path: path, reason: "holds none") }
        return certificates
    }
}
