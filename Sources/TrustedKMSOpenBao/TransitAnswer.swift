import FoundationEssentials

/// Answers of Transit that hold no secret. Those that hold one are searched by ``SecretJSON``.
package enum TransitAnswer {
    /// What `read key` tells of a key.
    package struct Key: Decodable {
        let type: String
        let derived: Bool?
        let convergentEncryption: Bool?
        let softDeleted: Bool?
        let exportable: Bool?
        let allowsPlaintextBackup: Bool?
        let isImported: Bool?
        let latestVersion: Int
        let minimumVersion: Int
        let minimumEncryption: Int?
        let minimumAvailable: Int?
        /// 32 bytes: the public half of the latest version of an Ed25519 key.
        package let publicKey: [UInt8]?

        private enum CodingKeys: String, CodingKey {
            case type, derived, exportable, keys
            case allowsPlaintextBackup = "allow_plaintext_backup"
            case isImported = "imported_key"
            case convergentEncryption = "convergent_encryption"
            case softDeleted = "soft_deleted"
            case latestVersion = "latest_version"
            case minimumVersion = "min_decryption_version"
            case minimumEncryption = "min_encryption_version"
            case minimumAvailable = "min_available_version"
        }

        /// A symmetric key's version is a time instead.
        private struct Version: Decodable {
            let publicKey: String

            enum CodingKeys: String, CodingKey { case publicKey = "public_key" }
        }

        package init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            type = try values.decode(String.self, forKey: .type)
            derived = try values.decodeIfPresent(Bool.self, forKey: .derived)
            convergentEncryption = try values.decodeIfPresent(Bool.self, forKey: .convergentEncryption)
            softDeleted = try values.decodeIfPresent(Bool.self, forKey: .softDeleted)
            exportable = try values.decodeIfPresent(Bool.self, forKey: .exportable)
            allowsPlaintextBackup = try values.decodeIfPresent(Bool.self, forKey: .allowsPlaintextBackup)
            isImported = try values.decodeIfPresent(Bool.self, forKey: .isImported)
            latestVersion = try values.decode(Int.self, forKey: .latestVersion)
            minimumVersion = try values.decode(Int.self, forKey: .minimumVersion)
            minimumEncryption = try values.decodeIfPresent(Int.self, forKey: .minimumEncryption)
            minimumAvailable = try values.decodeIfPresent(Int.self, forKey: .minimumAvailable)
            guard type == "ed25519" else {
                publicKey = nil
                return
            }
            let versions = try values.decode([String: Version].self, forKey: .keys)
            let text = versions[String(latestVersion)]?.publicKey ?? ""
            guard let bytes = Data(base64Encoded: text), bytes.count == 32 else {
                throw DecodingError.dataCorruptedError(
                    forKey: .keys, in: values, debugDescription: "no public key of 32 bytes")
            }
            publicKey = Array(bytes)
        }
    }

    /// What came of one of several ciphertexts.
    package enum BatchResult {
        case sealed(TransitCiphertext)
        /// The server's text, to be compared and never shown.
        case error(String)
    }

    private struct BatchItem: Decodable {
        let ciphertext: String?
        let error: String?
    }

    private struct Batch: Decodable {
        let results: [BatchItem]

        enum CodingKeys: String, CodingKey { case results = "batch_results" }
    }

    private struct Signed: Decodable { let signature: String }

    private struct Sealed: Decodable { let ciphertext: String }

    private struct Envelope<Fields: Decodable>: Decodable { let data: Fields }

    /// Reads the answer to `encrypt` or `rewrap`.
    /// - Returns: nil for anything else.
    package static func sealed(_ answer: Data) -> TransitCiphertext? {
        guard let envelope = try? JSONDecoder().decode(Envelope<Sealed>.self, from: answer) else { return nil }
        return TransitCiphertext(envelope.data.ciphertext.utf8)
    }

    /// Reads the answer to `rewrap` of several ciphertexts.
    /// - Returns: nil for anything else.
    package static func batch(_ answer: Data) -> [BatchResult]? {
        guard let envelope = try? JSONDecoder().decode(Envelope<Batch>.self, from: answer) else { return nil }
        var results: [BatchResult] = []
        for item in envelope.data.results {
            if let error = item.error, !error.isEmpty {
                results.append(.error(error))
            } else if let text = item.ciphertext, let ciphertext = TransitCiphertext(text.utf8) {
                results.append(.sealed(ciphertext))
            } else {
                return nil
            }
        }
        return results
    }

    /// Reads the answer to `sign` by an Ed25519 key.
    /// - Returns: 64 bytes; nil for anything else.
    package static func signature(_ answer: Data) -> [UInt8]? {
        guard let envelope = try? JSONDecoder().decode(Envelope<Signed>.self, from: answer),
            // Signatures are written as ciphertexts are.
            let written = TransitCiphertext(envelope.data.signature.utf8),
            let colon = written.text.lastIndex(of: ":"),
            let bytes = Data(base64Encoded: String(written.text[written.text.index(after: colon)...])),
            bytes.count == 64
        else { return nil }
        return Array(bytes)
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
