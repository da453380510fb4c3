import ServiceKit

/// Why an issuer's tokens cannot be checked now.
public enum OIDCError: Error, Equatable, Sendable {
    /// The issuer does not answer, or not with what is asked for.
    case unreachable(issuer: String)
    /// Discovery names another issuer than the one that was asked (OpenID Connect Discovery 1.0 section 4.3).
    case anotherIssuer(expected: String)
    /// Discovery names no usable place of the keys.
    case noKeys(issuer: String)
    /// What should be a key set is none.
    case malformedKeys
}

extension OIDCError: ProblemConvertible {
    public var problem: Problem {
        let (detail, fix) =
            switch self {
            case .unreachable(let issuer):
                ("The issuer \(issuer) does not give its keys.", "Check that the gateway reaches it.")
            case .anotherIssuer(let expected):
                (
                    "What answers for \(expected) calls itself otherwise.",
                    "Write identity.oidc.issuer exactly as the issuer does in its discovery document."
                )
            case .noKeys(let issuer):
                ("The discovery document of \(issuer) names no jwks_uri that may be used.", "Set keysURL.")
            case .malformedKeys: ("The issuer's key set cannot be read.", "Check keysURL, or the issuer.")
            }
        return Problem(
            name: "identity-unavailable", title: "Nobody can be identified now", status: 503, detail: detail, fix: fix,
            retryAfterSeconds: 5)
    }
}
