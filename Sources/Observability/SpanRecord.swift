import Tracing

/// A span that has ended, as it is sent to a collector.
public struct SpanRecord: Sendable {
    public enum Value: Sendable, Hashable {
        case text(String)
        case integer(Int64)
        case number(Double)
        case boolean(Bool)
    }

    public let name: String
    public let kind: SpanKind
    public let traceID: TraceID
    public let spanID: SpanID
    /// nil for the root of a trace.
    public let parent: SpanID?
    public let state: TraceState
    /// Nanoseconds since 1970.
    public let start: UInt64
    /// Not before ``start``.
    public let end: UInt64
    /// Ascending by name.
    public let attributes: [(name: String, value: Value)]
    public let isError: Bool
}

/// What spans may say. Libraries put addresses with paths and queries in, and descriptions of errors, which name key
/// sets: so only what is listed here goes out.
enum SpanAttributePolicy {
    static let maximumBytes = 256

    private static let allowed: Set<String> = [
        "error.type", "hkms.operation", "hkms.outcome", "hkms.provider", "hkms.store", "http.request.method",
        "http.response.status_code", "http.route", "server.address", "server.port", "url.scheme",
    ]
    /// By names of libraries that are behind the conventions.
    private static let renamed = ["http.status_code": "http.response.status_code"]

    static func permitted(_ attributes: SpanAttributes) -> [(name: String, value: SpanRecord.Value)] {
        var permitted: [(name: String, value: SpanRecord.Value)] = []
        attributes.forEach { name, attribute in
            let name = renamed[name] ?? name
            guard allowed.contains(name) else { return }
            switch attribute {
            case .string(let text): permitted.append((name, .text(clipped(text))))
            case .int32(let value): permitted.append((name, .integer(Int64(value))))
            case .int64(let value): permitted.append((name, .integer(value)))
            case .double(let value): permitted.append((name, .number(value)))
            case .bool(let value): permitted.append((name, .boolean(value)))
            default: break
            }
        }
        return permitted.sorted { $0.name < $1.name }
    }

    static func clipped(_ text: String) -> String {
        text.utf8.count <= maximumBytes
            ? text : String(text.unicodeScalars.prefix(maximumBytes / 4).map(Character.init))
    }
}
