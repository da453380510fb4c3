import FoundationEssentials

/// How far a server's storage had come when it answered: the header `X-Vault-Index`.
///
/// Standbys of a cluster serve reads and lag. Sent back with `X-Vault-Inconsistent: forward-active-node`, it makes a
/// standby of OpenBao that has not come as far forward the request, so that a key or a token that was just made is
/// found. Vault's index has another form, and its servers refuse that header unless they are configured to forward;
/// with the index alone they answer 412, and another server is asked.
package struct StorageIndex: Sendable {
    /// As it came, to be sent back.
    package let header: String
    private let position: Position?

    private struct Position: Decodable {
        let cluster: String
        let value: String
    }

    /// Whether it is OpenBao's.
    package var isForwarded: Bool { position != nil }

    /// - Returns: nil for what is not fit for a header.
    package init?(_ header: String) {
        guard (1...1024).contains(header.utf8.count), header.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        self.header = header
        position = Data(base64Encoded: header).flatMap { try? JSONDecoder().decode(Position.self, from: $0) }
    }

    /// Whether it takes the place of `other`: unless it is of the same cluster and not later. Answers come in another
    /// order than they were made.
    package func replaces(_ other: StorageIndex) -> Bool {
        guard let position, let earlier = other.position, position.cluster == earlier.cluster,
            let value = UInt64(position.value), let before = UInt64(earlier.value)
        else { return true }
        return value > before
    }
}
