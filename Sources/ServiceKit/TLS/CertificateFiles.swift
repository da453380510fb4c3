/// A certificate chain, leaf first, and the leaf's private key, both PEM.
public struct CertificateFiles: Sendable, Hashable {
    public let certificate: String
    public let key: String

    public init(certificate: String, key: String) {
        self.certificate = certificate
        self.key = key
    }
}
