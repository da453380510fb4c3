/// An authenticated caller.
public struct Principal: Sendable, Hashable, Codable {
    /// Who vouches for the caller: `static` for a ``StaticTokenFile``, else the URL of an OpenID Connect issuer.
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

/// Tells who sends a bearer token (RFC 6750). The seam behind which identity providers stand.
public protocol Authenticator: Sendable {
    /// - Parameter token: what follows `Bearer ` in the Authorization field; any text.
    /// - Returns: the caller, or nil where the token is nobody's.
    /// - Throws: only where the answer cannot be found out now, never for a bad token.
    func authenticate(bearer token: String) async throws -> Principal?

    /// What keeps callers from being identified now, for the operator; empty where nothing does.
    func problems() async -> [String]

    /// Frees what it holds.
    func shutdown() async
}

extension Authenticator {
    public func problems() async -> [String] { [] }
    public func shutdown() async {}
}
