import FoundationEssentials

/// Answers of Transit that hold no secret. Those that hold one are searched by ``SecretJSON``.
package enum TransitAnswer {
    /// What `read key` tells of a key.
    package struct Key: Decodable {
        let type: String
        let derived: Bool?
        let convergentEncryption: Bool?
        let latestVersion: Int
        let minimumVersion: Int

        enum CodingKeys: String, CodingKey {
            case type, derived
            case convergentEncryption = "convergent_encryption"
            case latestVersion = "latest_version"
            case minimumVersion = "min_decryption_version"
        }
    }

    private struct Sealed: Decodable { let ciphertext: String }

    private struct Envelope<Fields: Decodable>: Decodable { let data: Fields }

    /// Reads the answer to `encrypt` or `rewrap`.
    /// - Returns: nil for anything else.
    package static func sealed(_ answer: Data) -> TransitCiphertext? {
        guard let envelope = try? JSONDecoder().decode(Envelope<Sealed>.self, from: answer) else { return nil }
        return TransitCiphertext(envelope.data.ciphertext.utf8)
    }

    /// Reads the answer to `read key`.
    /// - Returns: nil for anything else.
    package static func key(_ answer: Data) -> Key? {
        try? JSONDecoder().decode(Envelope<Key>.self, from: answer).data
    }

    /// Reads the answer to `capabilities-self`: what the token may do, by path.
    /// - Returns: nil for anything else.
    package static func capabilities(_ answer: Data) -> [String: [String]]? {
        try? JSONDecoder().decode(Envelope<[String: [String]]>.self, from: answer).data
    }
}
