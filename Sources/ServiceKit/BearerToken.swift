/// The token in an `Authorization` field (RFC 6750).
public struct BearerToken: Sendable {
    /// Any text, empty too.
    public let text: String

    /// No token is longer, in bytes: what HTTP servers take for one field leaves room for its name and scheme.
    public static let maximumBytes = 12_288
    private static let maximumFieldBytes = maximumBytes + scheme.count
    private static let scheme = Array("bearer ".utf8)

    /// - Parameter fieldValue: any text.
    /// - Returns: nil for another scheme, whose name has no case, and for what no token is as long as.
    public init?(fieldValue: String) {
        let bytes = fieldValue.utf8
        // By bytes: a letter with an accent behind the blank is no reason to read another token.
        guard bytes.count <= Self.maximumFieldBytes, bytes.count >= Self.scheme.count,
            zip(bytes, Self.scheme).allSatisfy({ $0 == $1 || (0x41...0x5A).contains($0) && $0 | 0x20 == $1 })
        else { return nil }
        text = String(decoding: bytes.dropFirst(Self.scheme.count), as: UTF8.self)
    }
}
