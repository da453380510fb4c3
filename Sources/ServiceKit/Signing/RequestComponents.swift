import HTTPTypes

/// The parts of a request's head that a signature covers (RFC 9421, section 2.2).
public struct RequestComponents: Sendable, Hashable {
    /// `@method`, as sent.
    public let method: String
    /// `@path`: the path as sent, percent-encoding untouched; `/` where it is empty.
    public let path: String
    /// `@query`: the query as sent with its leading `?`; a lone `?` where there is none.
    public let query: String
    /// `@authority`: host and port in lower case, without the port 443; nil where it is not covered.
    public let authority: String?

    /// - Parameters:
    ///   - method: the method.
    ///   - path: the path as sent.
    ///   - query: the query as sent, without its leading `?`.
    ///   - authority: host and port. Both sides give it or neither does. With it, a server cannot pass
    ///     a request on to another server that trusts the same key.
    public init(method: String, path: String, query: String? = nil, authority: String? = nil) {
        self.method = method
        self.path = path.isEmpty ? "/" : path
        self.query = "?" + (query ?? "")
        self.authority = authority.map { authority in
            let authority = authority.lowercased()
            return authority.hasSuffix(":443") ? String(authority.dropLast(4)) : authority
        }
    }

    /// - Parameters:
    ///   - method: the method.
    ///   - target: the request target, path and query as sent.
    ///   - authority: as in ``init(method:path:query:authority:)``.
    public init(method: HTTPRequest.Method, target: String, authority: String? = nil) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        self.init(
            method: method.rawValue, path: parts.first.map(String.init) ?? "",
            query: parts.count == 2 ? String(parts[1]) : nil, authority: authority)
    }

    /// The longest path, query or authority, in bytes.
    static let maximumBytes = 8_192

    /// Refuses what could break the lines of a signature base.
    func check() throws(SignatureError) {
        guard method.utf8.count <= 32, !method.isEmpty, method.utf8.allSatisfy(Self.isVisible) else {
            throw .malformed("method")
        }
        for (name, value) in [("path", path), ("query", query), ("authority", authority ?? "")] {
            guard value.utf8.count <= Self.maximumBytes, value.utf8.allSatisfy(Self.isVisible) else {
                throw .malformed(name)
            }
        }
    }

    private static func isVisible(_ byte: UInt8) -> Bool { (0x21...0x7e).contains(byte) }
}
