/// How a listener of ours speaks TLS: 1.3 alone.
public struct ServerTLS: Sendable, Hashable {
    /// Whether clients show certificates.
    public enum ClientCertificates: String, Sendable, CaseIterable {
        /// They are not asked.
        case none
        /// Who has one shows it; it must be of ``ServerTLS/clientAuthorities``.
        case optional
        /// Nobody gets in without.
        case required
    }

    /// How the keys of a connection are agreed on.
    public enum KeyExchange: String, Sendable, CaseIterable {
        /// X25519MLKEM768 where the client has it, elliptic curves otherwise.
        case preferHybrid = "prefer-hybrid"
        /// X25519MLKEM768 or no connection: what is recorded today stays closed to tomorrow's quantum computer.
        case hybridOnly = "hybrid-only"
    }

    public let files: CertificateFiles
    /// PEM file of the authorities whose client certificates are believed.
    public let clientAuthorities: String?
    /// Files of revoked certificates, PEM or DER: one of each authority. Where there are any, a client certificate
    /// that no current one is responsible for is refused.
    public let revocationLists: [String]
    public let clientCertificates: ClientCertificates
    public let keyExchange: KeyExchange
    /// How often the files are looked at.
    public let reloadInterval: Duration

    /// - Parameter clientAuthorities: needed where clients are asked for certificates.
    public init(
        files: CertificateFiles, clientAuthorities: String? = nil, revocationLists: [String] = [],
        clientCertificates: ClientCertificates = .none,
        keyExchange: KeyExchange = .preferHybrid, reloadInterval: Duration = .seconds(30)
    ) {
        self.files = files
        self.clientAuthorities = clientAuthorities
        self.revocationLists = revocationLists
        self.clientCertificates = clientCertificates
        self.keyExchange = keyExchange
        self.reloadInterval = reloadInterval
    }

    /// Reads `tls: {certificate, key, clientAuthorities, revocationLists, clientCertificates, keyExchange,
    /// reloadSeconds}`.
    /// - Parameter path: where a file of the configuration lies.
    public init(_ section: YAMLSection, path: (String) -> String) {
        files = CertificateFiles(
            certificate: path(section.string("certificate")), key: path(section.string("key")))
        clientAuthorities = section.optionalString("clientAuthorities").map(path)
        revocationLists = section.strings("revocationLists", default: []).map(path)
        clientCertificates = section.enumeration(
            "clientCertificates", of: ClientCertificates.self, default: clientAuthorities == nil ? .none : .optional)
        keyExchange = section.enumeration("keyExchange", of: KeyExchange.self, default: .preferHybrid)
        reloadInterval = .seconds(section.int("reloadSeconds", default: 30, in: 1...86_400))
        if !revocationLists.isEmpty, clientAuthorities == nil {
            section.fail(
                "revocationLists", "need clientAuthorities, the PEM file of who issues and revokes certificates")
        }
        if clientCertificates == .none, clientAuthorities != nil {
            section.fail("clientAuthorities", "is of no use while clientCertificates is none")
        }
        if clientCertificates != .none, clientAuthorities == nil {
            section.fail("clientCertificates", "needs clientAuthorities, the PEM file of who issues them")
        }
    }
}
