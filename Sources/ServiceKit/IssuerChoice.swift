/// Several kinds of callers at one gateway: each token is checked by the one that could have issued it, and by no
/// other; a certificate counts where there is no token.
public struct IssuerChoice: Authenticator {
    private let tokens: (any Authenticator)?
    private let issuers: [String: any Authenticator]
    private let certificates: CertificateCallers
    private let claimedIssuer: @Sendable (String) -> String?

    /// - Parameters:
    ///   - tokens: for tokens that name no issuer.
    ///   - issuers: by the issuer's name.
    ///   - certificates: for callers without a token.
    ///   - claimedIssuer: the issuer that a token names, unchecked; nil where it names none.
    public init(
        tokens: (any Authenticator)?, issuers: [String: any Authenticator],
        certificates: CertificateCallers = CertificateCallers(),
        claimedIssuer: @escaping @Sendable (String) -> String?
    ) {
        self.tokens = tokens
        self.issuers = issuers
        self.certificates = certificates
        self.claimedIssuer = claimedIssuer
    }

    public func authenticate(bearer token: String, over certificate: ClientCertificate?) async throws -> Principal? {
        guard let issuer = claimedIssuer(token) else {
            return try await tokens?.authenticate(bearer: token, over: certificate)
        }
        return try await issuers[issuer]?.authenticate(bearer: token, over: certificate)
    }

    public func authenticate(_ certificate: ClientCertificate) -> Principal? {
        certificates.principal(of: certificate)
    }

    public func problems() async -> [String] {
        var problems: [String] = []
        for (_, issuer) in issuers.sorted(by: { $0.key < $1.key }) { problems += await issuer.problems() }
        return problems
    }

    public func shutdown() async {
        for issuer in issuers.values { await issuer.shutdown() }
    }
}
