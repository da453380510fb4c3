/// Path and query of a request, of parts that may hold any characters.
struct RequestTarget: Sendable {
    /// Longest part in bytes.
    static let maximumPartBytes = 1_024

    /// Begins with `/`.
    let text: String

    /// - Parameters:
    ///   - path: fixed words and names.
    ///   - query: names and values; those without a value are left out.
    init(_ path: [String], query: [(name: String, value: String?)] = []) throws(HKMSClientError) {
        var text = ""
        for part in path {
            // Dots are unreserved, and what a proxy makes of such a part is not what was asked for.
            guard !part.isEmpty, part != ".", part != ".." else {
                throw .invalidArgument(name: "A part of the path", reason: "is empty, . or ..")
            }
            text += "/" + (try Self.encode(part))
        }
        var separator = "?"
        for (name, value) in query {
            guard let value else { continue }
            text += separator + name + "=" + (try Self.encode(value))
            separator = "&"
        }
        self.text = text
    }

    private static func encode(_ part: String) throws(HKMSClientError) -> String {
        guard part.utf8.count <= maximumPartBytes else {
            throw .invalidArgument(
                name: "A name of \(part.utf8.count) bytes", reason: "is longer than \(maximumPartBytes)")
        }
        return PercentEncoding.encode(part)
    }
}
