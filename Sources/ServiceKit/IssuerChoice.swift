/// Several kinds of tokens at one gateway: each token is checked by the one that could have issued it, and by no other.
public struct IssuerChoice: Authenticator {
    private let tokens: (any Authenticator)?
    private let issuers: [String: any Authenticator]
    private let claimedIssuer: @Sendable (String) -> String?

    /// - Parameters:
    ///   - tokens: for tokens that name no issuer.
    ///   - issuers: by the issuer's name.
    ///   - claimedIssuer: the issuer that a token names, unchecked; nil where it names none.
    public init(
        tokens: (any Authenticator)?, issuers: [String: any Authenticator],
        claimedIssuer: @escaping @Sendable (String) -> String?
    ) {
        self.tokens = tokens
        self.issuers = issuers
        self.claimedIssuer = claimedIssuer
    }

    public func authenticate(bearer token: String) async throws -> Principal? {
        guard let issuer = claimedIssuer(token) else { return try await tokens?.authenticate(bearer: token) }
        return try await issuers[issuer]?.authenticate(bearer: token)
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
