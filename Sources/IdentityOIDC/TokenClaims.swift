import JWTKit

/// A member of a token's claims (RFC 7519 section 4).
enum ClaimValue: Sendable, Equatable, Decodable {
    case text(String)
    case number(Double)
    case list([ClaimValue])
    case object([String: ClaimValue])
    case other

    init(from decoder: any Decoder) throws {
        if let object = try? [String: ClaimValue](from: decoder) {
            self = .object(object)
            return
        }
        if let list = try? [ClaimValue](from: decoder) {
            self = .list(list)
            return
        }
        let value = try decoder.singleValueContainer()
        if let text = try? value.decode(String.self) {
            self = .text(text)
        } else if let number = try? value.decode(Double.self), (try? value.decode(Bool.self)) == nil {
            self = .number(number)
        } else {
            self = .other
        }
    }

    var text: String? { if case .text(let text) = self { text } else { nil } }
    var number: Double? { if case .number(let number) = self { number } else { nil } }

    /// A text, or a list of nothing but texts.
    var texts: [String]? {
        switch self {
        case .text(let text): return [text]
        case .list(let values):
            let texts = values.compactMap(\.text)
            return texts.count == values.count ? texts : nil
        default: return nil
        }
    }
}

/// All claims of a token.
struct TokenClaims: JWTPayload {
    let members: [String: ClaimValue]

    init(from decoder: any Decoder) throws { members = try [String: ClaimValue](from: decoder) }

    func encode(to encoder: any Encoder) throws {
        throw EncodingError.invalidValue(self, .init(codingPath: [], debugDescription: "tokens are only read"))
    }

    /// Nothing: what the claims must be is checked by ``OIDCAuthenticator``, which knows the time.
    func verify(using algorithm: some JWTAlgorithm) {}

    subscript(_ path: OIDCConfiguration.ClaimPath) -> ClaimValue? {
        var value = ClaimValue.object(members)
        for member in path.members {
            guard case .object(let object) = value, let next = object[member] else { return nil }
            value = next
        }
        return value
    }
}

/// What stands in a token's header (RFC 7515 section 4.1).
struct TokenHeader: Decodable, Sendable {
    let alg: String
    let kid: String?
    let crit: [String]?
    let typ: String?
}
