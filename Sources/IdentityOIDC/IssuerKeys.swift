import JWTKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The keys of an issuer that tokens are checked with (RFC 7517).
struct IssuerKeys: Sendable {
    /// Each key alone in a collection: a collection of several takes another one where a token names none.
    private struct Key: Sendable {
        let id: String?
        let type: String
        let algorithm: String?
        let key: JWK
    }

    static let maximumBytes = 1 << 20
    static let maximumKeys = 100

    private let keys: [Key]

    var count: Int { keys.count }

    /// Reads a key set key by key: one of a kind that is not known here leaves the others in force.
    /// - Throws: ``OIDCError/malformedKeys``.
    init(parsing bytes: [UInt8]) throws(OIDCError) {
        struct Set: Decodable {
            let keys: [Entry]
        }
        struct Entry: Decodable {
            let key: Key?

            struct Facts: Decodable {
                let kty: String
                let use: String?
                let key_ops: [String]?
                let alg: String?
                let kid: String?
            }

            init(from decoder: any Decoder) throws {
                guard let facts = try? Facts(from: decoder), facts.use == nil || facts.use == "sig",
                    facts.key_ops == nil || facts.key_ops?.contains("verify") == true,
                    ["RSA", "EC", "OKP"].contains(facts.kty), let key = try? JWK(from: decoder)
                else {
                    key = nil
                    return
                }
                self.key = Key(id: facts.kid, type: facts.kty, algorithm: facts.alg, key: key)
            }
        }
        guard bytes.count <= Self.maximumBytes,
            let set = try? JSONDecoder().decode(Set.self, from: Data(bytes)), set.keys.count <= Self.maximumKeys
        else { throw .malformedKeys }
        keys = set.keys.compactMap(\.key)
    }

    /// How many are for one of these algorithms.
    func count(for algorithms: [OIDCConfiguration.Algorithm]) -> Int {
        keys.count { key in
            algorithms.contains { key.type == $0.keyType && (key.algorithm == nil || key.algorithm == $0.rawValue) }
        }
    }

    /// Whether a token's key is among these.
    func contains(_ header: TokenHeader, _ algorithm: OIDCConfiguration.Algorithm) -> Bool {
        !candidates(header, algorithm).isEmpty
    }

    /// The claims of a token whose signature is right under the key that it names; where it names none, under the
    /// only key of its kind.
    func claims(
        of token: String, _ header: TokenHeader, _ algorithm: OIDCConfiguration.Algorithm
    ) async -> TokenClaims? {
        let candidates = candidates(header, algorithm)
        guard candidates.count == 1, var key = candidates.first?.key else { return nil }
        // The algorithm is the one that was allowed, whatever a key set or header says later.
        key.algorithm = JWK.Algorithm(rawValue: algorithm.rawValue)
        key.keyIdentifier = JWKIdentifier(string: "key")
        let collection = JWTKeyCollection()
        guard (try? await collection.add(jwk: key, isDefault: true)) != nil else { return nil }
        return try? await collection.verify(token, as: TokenClaims.self)
    }

    private func candidates(_ header: TokenHeader, _ algorithm: OIDCConfiguration.Algorithm) -> [Key] {
        keys.filter { key in
            key.type == algorithm.keyType && (key.algorithm == nil || key.algorithm == algorithm.rawValue)
                && (header.kid == nil || key.id == header.kid)
        }
    }
}
