import Attestation

/// A place in an audit log: a line's number and the digest of its bytes. Who keeps a head elsewhere notices that the
/// log was cut off before it, or written anew.
public struct AuditHead: Sendable, Hashable, CustomStringConvertible {
    /// From 1.
    public let sequence: Int
    /// SHA-256 of the line with its newline.
    public let digest: Digest

    public init(sequence: Int, digest: Digest) {
        self.sequence = sequence
        self.digest = digest
    }

    /// Before the first line of a log.
    static let origin = AuditHead(sequence: 0, digest: zeros)

    private static let zeros = Digest(bytes: [UInt8](repeating: 0, count: Digest.byteCount)) ?? Digest(of: [])

    /// `SEQ:HASH`, a decimal number and 64 lower-case hex digits.
    public var description: String { "\(sequence):\(digest.hex)" }

    /// - Returns: nil unless of the form above.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 2, let sequence = Int(parts[0]), sequence >= 0, String(sequence) == parts[0],
            let digest = Digest(hex: String(parts[1]))
        else { return nil }
        self.init(sequence: sequence, digest: digest)
    }
}
