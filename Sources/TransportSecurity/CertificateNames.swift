import X509

/// The names in a certificate that a peer is known by: subject alternative names that are URIs (SPIFFE ids are) or
/// DNS names. A common name names nobody (RFC 9525 section 2).
public struct CertificateNames: Sendable, Hashable {
    public let uris: Set<String>
    public let dnsNames: Set<String>

    public init(uris: Set<String>, dnsNames: Set<String>) {
        self.uris = uris
        self.dnsNames = dnsNames
    }

    /// - Parameter certificate: one that TLS has verified. Names that cannot be read are none.
    init(_ certificate: Certificate) {
        var uris: Set<String> = []
        var dnsNames: Set<String> = []
        if let names = try? certificate.extensions.subjectAlternativeNames {
            for case .uniformResourceIdentifier(let uri) in names { uris.insert(uri) }
            for case .dnsName(let name) in names { dnsNames.insert(name) }
        }
        self.init(uris: uris, dnsNames: dnsNames)
    }

    /// Whether `name`, a URI where it has `://` in it and a DNS name otherwise, is one of these, byte by byte.
    public func contains(_ name: String) -> Bool {
        name.contains("://") ? uris.contains(name) : dnsNames.contains(name)
    }
}
