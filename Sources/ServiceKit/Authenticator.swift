/// An authenticated caller.
public struct Principal: Sendable, Hashable, Codable {
    /// Who vouches for the caller: `static` for a ``StaticTokenFile``, `certificate` for ``CertificateCallers``, else
    /// the URL of an OpenID Connect issuer.
    public let issuer: String
    /// The caller's name, unique for its issuer.
    public let subject: String
    /// The tenant that the caller acts in.
    public let tenant: String
    /// The groups that the caller belongs to, sorted, each once; told apart byte by byte.
    public let groups: [String]

    public init(issuer: String, subject: String, tenant: String, groups: [String]) {
        self.issuer = issuer
        self.subject = subject
        self.tenant = tenant
        self.groups = Set(groups.map { Array($0.utf8) }).sorted { $0.lexicographicallyPrecedes($1) }
            .map { String(decoding: $0, as: UTF8.self) }
    }
}

/// Tells who sends a bearer token (RFC 6750) or shows a certificate. The seam behind which identity providers stand.
public protocol Authenticator: Sendable {
    /// - Parameters:
    ///   - token: what follows `Bearer ` in the Authorization field; any text.
    ///   - certificate: what the client showed on the connection that the token came over, verified; nil where it
    ///     showed none. A token that is bound to a certificate (RFC 8705) is good over that one alone.
    /// - Returns: the caller, or nil where the token is nobody's.
    /// - Throws: only where the answer cannot be found out now, never for a bad token.
    func authenticate(bearer token: String, over certificate: ClientCertificate?) async throws -> Principal?

    /// - Parameter certificate: shown by a client that sends no token, and verified.
    /// - Returns: the caller, or nil where the certificate is nobody's.
    func authenticate(_ certificate: ClientCertificate) -> Principal?

    /// What keeps callers from being identified now, for the operator; empty where nothing does.
    func problems() async -> [String]

    /// Frees what it holds.
    func shutdown() async
}

extension Authenticator {
    public func authenticate(_ certificate: ClientCertificate) -> Principal? { nil }
    public func problems() async -> [String] { [] }
    public func shutdown() async {}
}
