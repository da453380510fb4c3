import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One issuer of tokens, as the operator registers it.
public struct OIDCConfiguration: Sendable, Hashable {
    /// A signature algorithm of RFC 7518 section 3.1 or RFC 8037. Those with a shared key, and `none`, are no
    /// choice: whoever can check them could make tokens.
    public enum Algorithm: String, Sendable, CaseIterable {
        case rs256 = "RS256"
        case rs384 = "RS384"
        case rs512 = "RS512"
        case ps256 = "PS256"
        case ps384 = "PS384"
        case ps512 = "PS512"
        case es256 = "ES256"
        case es384 = "ES384"
        case es512 = "ES512"
        case edDSA = "EdDSA"

        /// `kty` of the keys that it goes with (RFC 7518 section 6.1).
        var keyType: String {
            switch self {
            case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: "RSA"
            case .es256, .es384, .es512: "EC"
            case .edDSA: "OKP"
            }
        }
    }

    /// Where in a token's claims something stands: a member's name or, with a slash in front, a JSON pointer
    /// (RFC 6901), such as `/realm_access/roles`.
    public struct ClaimPath: Sendable, Hashable {
        public let members: [String]

        public init(_ text: String) {
            guard text.hasPrefix("/") else {
                members = [text]
                return
            }
            members = text.dropFirst().split(separator: "/", omittingEmptySubsequences: false).map {
                String($0).replacing("~1", with: "/").replacing("~0", with: "~")
            }
        }
    }

    /// The issuer's identifier, as in the claim `iss`.
    public let issuer: String
    /// Of these one must be in the claim `aud`.
    public let audiences: [String]
    public let algorithms: [Algorithm]
    /// What the two clocks may differ by, in seconds.
    public let clockSkew: Double
    public let subject: ClaimPath
    public let groups: ClaimPath?
    /// nil where all of the issuer's users are of ``fixedTenant``.
    public let tenant: ClaimPath?
    public let fixedTenant: String
    /// Where the keys are, for issuers without discovery.
    public let keysURL: String?
    /// PEM file of the authorities that are believed for the issuer instead of the system's.
    public let authorities: String?
    /// How long keys are used before they are asked for again.
    public let keyLifetime: Duration

    public init(
        issuer: String, audiences: [String], algorithms: [Algorithm] = [.rs256, .es256, .edDSA],
        clockSkew: Double = 60, subject: ClaimPath = ClaimPath("sub"), groups: ClaimPath? = ClaimPath("groups"),
        tenant: ClaimPath? = nil, fixedTenant: String = "default", keysURL: String? = nil, authorities: String? = nil,
        keyLifetime: Duration = .seconds(3600)
    ) {
        self.issuer = issuer
        self.audiences = audiences
        self.algorithms = algorithms
        self.clockSkew = clockSkew
        self.subject = subject
        self.groups = groups
        self.tenant = tenant
        self.fixedTenant = fixedTenant
        self.keysURL = keysURL
        self.authorities = authorities
        self.keyLifetime = keyLifetime
    }

    /// Reads one entry of `identity.oidc`.
    /// - Parameters:
    ///   - tenant: of the issuer's users where no claim is named.
    ///   - path: where a file of the configuration lies.
    public init(_ section: YAMLSection, tenant fallback: String, development: Bool, path: (String) -> String) {
        issuer = section.string("issuer")
        audiences = section.strings("audiences")
        if section.contains("audiences"), audiences.isEmpty || audiences.contains("") {
            section.fail("audiences", "names none: a token for anybody else would do here, too")
        }
        let names = section.strings("algorithms", default: ["RS256", "ES256", "EdDSA"])
        algorithms = names.compactMap { Algorithm(rawValue: $0) }
        if algorithms.count != names.count || algorithms.isEmpty {
            section.fail(
                "algorithms",
                "must be some of \(Algorithm.allCases.map(\.rawValue).joined(separator: ", ")); none and those with a "
                    + "shared key are refused")
        }
        clockSkew = Double(section.int("clockSkewSeconds", default: 60, in: 0...600))
        let claims = section.optionalSection("claims")
        subject = ClaimPath(claims?.string("subject", default: "sub") ?? "sub")
        groups = ClaimPath(claims?.string("groups", default: "groups") ?? "groups")
        tenant = claims?.optionalString("tenant").map { ClaimPath($0) }
        fixedTenant = fallback
        keysURL = section.optionalString("keysURL")
        authorities = section.optionalString("authorities").map(path)
        keyLifetime = .seconds(section.int("keyLifetimeSeconds", default: 3600, in: 10...86_400))
        for (key, url) in [("issuer", issuer), ("keysURL", keysURL ?? issuer)] where section.contains(key) {
            if !Self.isAllowed(url, development: development) {
                section.fail(key, "must be an https:// URL; http:// is for loopback in development only")
            }
        }
    }

    /// https, without a query, a fragment or a user; http to this machine in development.
    static func isAllowed(_ text: String, development: Bool) -> Bool {
        guard text.utf8.count <= 2048, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            let url = URL(string: text), let host = url.host(), !host.isEmpty, url.user() == nil,
            url.query() == nil, url.fragment() == nil
        else { return false }
        if url.scheme == "https" { return true }
        return development && url.scheme == "http" && ["127.0.0.1", "::1", "[::1]", "localhost"].contains(host)
    }
}
