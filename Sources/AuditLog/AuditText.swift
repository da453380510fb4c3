import Attestation

/// Keeps texts of an audit record within bounds.
enum AuditText {
    /// Bytes of UTF-8 that a text has at most.
    static let maximumBytes = 256
    /// Of a longer one so much is kept.
    private static let keptBytes = 192

    /// `text` itself, or its beginning, `...` and the first 16 hex digits of the SHA-256 of the whole.
    static func bounded(_ text: String) -> String {
        guard text.utf8.count > maximumBytes else { return text }
        var kept = String.UnicodeScalarView()
        var count = 0
        for scalar in text.unicodeScalars {
            count += UTF8.width(scalar)
            guard count <= keptBytes else { break }
            kept.append(scalar)
        }
        return String(kept) + "...#" + Digest(of: text.utf8).hex.prefix(16)
    }
}
