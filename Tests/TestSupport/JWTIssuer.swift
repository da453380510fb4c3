import Crypto
import Foundation

/// An identity provider of ES256 tokens, for a JWT auth method that knows its public key.
package struct JWTIssuer: Sendable {
    package let issuer = "https://login.example.com"
    private let key = P256.Signing.PrivateKey()

    package init() {}

    package var publicKeyPEM: String { key.publicKey.pemRepresentation }

    /// - Parameter lifetime: from now; negative for an expired one.
    package func token(
        subject: String, audience: String = "kms", issuer: String? = nil, lifetime: TimeInterval = 120,
        notBefore: TimeInterval = -5
    ) throws -> String {
        let now = Date().timeIntervalSince1970
        let claims: [String: any Sendable] = [
            "iss": issuer ?? self.issuer, "sub": subject, "aud": audience, "iat": Int(now - 600),
            "nbf": Int(now + min(notBefore, lifetime - 1)), "exp": Int(now + lifetime), "jti": UUID().uuidString,
        ]
        let head = Self.encode(Data(#"{"alg":"ES256","typ":"JWT"}"#.utf8))
        let body = Self.encode(try JSONSerialization.data(withJSONObject: claims))
        let signature = try key.signature(for: Data("\(head).\(body)".utf8))
        return "\(head).\(body).\(Self.encode(signature.rawRepresentation))"
    }

    private static func encode(_ bytes: Data) -> String {
        bytes.base64EncodedString().replacingOccurrences(of: "+", with: "-")
            .replacingOccurrences(of: "/", with: "_").replacingOccurrences(of: "=", with: "")
    }
}
