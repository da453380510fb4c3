import Logging
import ServiceKit
import TransportSecurity

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Tells who sends a token of one OpenID Connect issuer: a JWT (RFC 7519) signed by one of the keys that the issuer
/// publishes. RFC 8725 has the attacks that the checks are for.
public final class OIDCAuthenticator: Authenticator {
    private let configuration: OIDCConfiguration
    private let keys: IssuerKeyCache
    private let clock: @Sendable () -> Date

    /// - Throws: `TLSError` where the issuer's authorities cannot be read.
    public init(
        configuration: OIDCConfiguration, development: Bool, logger: Logger,
        clock: @escaping @Sendable () -> Date = { Date() }
    ) throws(TLSError) {
        self.configuration = configuration
        self.clock = clock
        keys = try IssuerKeyCache(configuration, development: development, logger: logger)
    }

    public var issuer: String { configuration.issuer }

    public func shutdown() async { await keys.shutdown() }

    public func problems() async -> [String] {
        do throws(OIDCError) {
            _ = try await keys.current()
            return []
        } catch { return ["identity: \(error.problem.detail)"] }
    }

    /// Asks the issuer now.
    /// - Returns: how many of its keys can check tokens of the algorithms that are allowed.
    package func usableKeys() async throws(OIDCError) -> Int {
        try await keys.current().count(for: configuration.algorithms)
    }

    /// The issuer that a token says it is of; nil for what is no JWT. Nothing of it is checked.
    public static func claimedIssuer(of token: String) -> String? {
        struct Claims: Decodable {
            let iss: String
        }
        guard token.utf8.count <= BearerToken.maximumBytes else { return nil }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64URL.decode(String(parts[1])) else { return nil }
        return (try? JSONDecoder().decode(Claims.self, from: Data(bytes)))?.iss
    }

    /// - Throws: ``OIDCError`` where the issuer's keys cannot be had now.
    public func authenticate(
        bearer token: String, over certificate: ClientCertificate? = nil
    ) async throws -> Principal? {
        guard let (header, algorithm) = header(of: token) else { return nil }
        guard let claims = try await keys.claims(of: token, header, algorithm) else { return nil }
        guard Self.isConfirmed(claims, by: certificate) else { return nil }
        return principal(claims)
    }

    /// Whether who sends a token may: one that says what its sender proves (RFC 7800) is no bearer token. Only a
    /// certificate's thumbprint (RFC 8705 section 3.1) can be checked here, so that no other kind is taken.
    private static func isConfirmed(_ claims: TokenClaims, by certificate: ClientCertificate?) -> Bool {
        guard let confirmation = claims.members["cnf"] else { return true }
        guard case .object(let members) = confirmation, members.count == 1,
            let thumbprint = members["x5t#S256"]?.text.flatMap({ Base64URL.decode($0) }), let certificate
        else { return false }
        // Thumbprints are public: nothing is told by how long this takes.
        return thumbprint == certificate.thumbprint
    }

    /// The header, where its algorithm is allowed.
    private func header(of token: String) -> (TokenHeader, OIDCConfiguration.Algorithm)? {
        guard token.utf8.count <= BearerToken.maximumBytes else { return nil }
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        // One token has one form: what the library would read leniently is refused, too.
        guard parts.count == 3, parts.allSatisfy({ Base64URL.decode(String($0)) != nil }),
            let bytes = Base64URL.decode(String(parts[0])),
            let header = try? JSONDecoder().decode(TokenHeader.self, from: Data(bytes)),
            // What must be understood and is not is refused (RFC 7515 section 4.1.11).
            header.crit == nil,
            let algorithm = configuration.algorithms.first(where: { $0.rawValue == header.alg })
        else { return nil }
        return (header, algorithm)
    }

    /// - Returns: nil where a claim is not as it must be.
    private func principal(_ claims: TokenClaims) -> Principal? {
        let now = clock().timeIntervalSince1970
        let skew = configuration.clockSkew
        guard claims.members["iss"]?.text == configuration.issuer,
            let audiences = claims.members["aud"]?.texts,
            audiences.contains(where: configuration.audiences.contains),
            let expiry = claims.members["exp"]?.number, expiry > now - skew
        else { return nil }
        for name in ["nbf", "iat"] {
            guard let claim = claims.members[name] else { continue }
            guard let time = claim.number, time <= now + skew else { return nil }
        }
        guard let subject = claims[configuration.subject]?.text, Self.isName(subject) else { return nil }
        var tenant = configuration.fixedTenant
        if let path = configuration.tenant {
            guard let claimed = claims[path]?.text, Self.isName(claimed) else { return nil }
            tenant = claimed
        }
        var groups: [String] = []
        if let path = configuration.groups, let claimed = claims[path] {
            guard let names = claimed.texts, names.count <= 1000, names.allSatisfy(Self.isName) else { return nil }
            groups = names
        }
        return Principal(issuer: configuration.issuer, subject: subject, tenant: tenant, groups: groups)
    }

    private static func isName(_ text: String) -> Bool {
        (1...256).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }
}
