import Crypto
import NIOSSL
import ServiceKit
import X509

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The certificate that the other side of a connection showed, once TLS has verified it.
public struct PeerCertificate: Sendable {
    public let names: CertificateNames
    /// The SHA-256 digest of its DER form.
    public let thumbprint: [UInt8]
    let certificate: Certificate

    /// - Returns: nil for what cannot be read: who shows it has shown none.
    public init?(_ certificate: NIOSSLCertificate) {
        guard let der = try? certificate.toDERBytes() else { return nil }
        self.init(der: der)
    }

    /// - Parameter der: any bytes.
    package init?(der: [UInt8]) {
        guard let certificate = try? Certificate(derEncoded: der) else { return nil }
        self.certificate = certificate
        names = CertificateNames(certificate)
        thumbprint = Array(SHA256.hash(data: der))
    }

    /// TLS asked when the connection was made, which may be long ago, or before a session that was resumed.
    public func isValid(at time: Date) -> Bool {
        certificate.notValidBefore <= time && time <= certificate.notValidAfter
    }

    /// What callers are known by.
    public var caller: ClientCertificate {
        // A DNS name that is written like a URI is not that URI.
        ClientCertificate(
            names: names.uris.filter { $0.contains("://") } + names.dnsNames.filter { !$0.contains("://") },
            thumbprint: thumbprint)
    }
}
