import NIOCertificateReloading
import NIOSSL
import ServiceKit

extension ClientTLS {
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
