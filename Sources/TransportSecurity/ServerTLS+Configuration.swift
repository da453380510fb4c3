import NIOCertificateReloading
import NIOSSL
import ServiceKit

extension ServerTLS {
    /// - Parameter reloader: of ``files``.
    /// - Throws: ``TLSError/authorities(path:reason:)``.
    public func configuration(_ reloader: TimedCertificateReloader) throws(TLSError) -> TLSConfiguration {
        var configuration: TLSConfiguration
        do {
            configuration = try .makeServerConfiguration(certificateReloader: reloader)
        } catch {
            throw .identity(certificate: files.certificate, key: files.key, reason: "no certificate was read")
        }
        configuration.minimumTLSVersion = .tlsv13
        if keyExchange == .hybridOnly { configuration.curves = [.x25519_MLKEM768] }
        if let clientAuthorities, clientCertificates != .none {
            configuration.trustRoots = .certificates(try ClientTLS.certificates(clientAuthorities))
            // The name of a client stands in its certificate, not in an address: its users check it.
            configuration.certificateVerification =
                clientCertificates == .required ? .noHostnameVerification : .optionalVerification
        }
        return configuration
    }
}
