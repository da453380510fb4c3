import Tracing

/// Where in a trace something happens: W3C Trace Context, `traceparent` and `tracestate`.
public struct TraceContext: Sendable, Hashable {
    public var traceID: TraceID
    /// The span that is the parent of what comes next.
    public var spanID: SpanID
    /// Whether the trace is recorded.
    public var isSampled: Bool
    public var state: TraceState
    /// Whether another process said so.
    public var isRemote: Bool

    public init(
        traceID: TraceID = TraceID(), spanID: SpanID = SpanID(), isSampled: Bool, state: TraceState = TraceState(),
        isRemote: Bool = false
    ) {
        self.traceID = traceID
        self.spanID = spanID
        self.isSampled = isSampled
        self.state = state
        self.isRemote = isRemote
    }

    /// Reads a field `traceparent` as the recommendation says: version 00 to the letter, and of a higher version what
    /// is the same.
    /// - Returns: nil for anything else, upper-case digits, all-zero ids and version ff among it.
    public init?(traceparent: String) {
        let bytes = Array(traceparent.utf8)
        guard bytes.count >= 55, bytes[2] == 0x2D, bytes[35] == 0x2D, bytes[52] == 0x2D,
            let version = Self.byte(bytes[0..<2]), version != 0xFF,
            version == 0 ? bytes.count == 55 : bytes.count == 55 || bytes[55] == 0x2D,
            let traceID = TraceID(hex: bytes[3..<35]), let spanID = SpanID(hex: bytes[36..<52]),
            let flags = Self.byte(bytes[53..<55])
        else { return nil }
        self.init(traceID: traceID, spanID: spanID, isSampled: flags & 1 == 1, isRemote: true)
    }

    /// The field's value, in version 00.
    public var traceparent: String { "00-\(traceID.hex)-\(spanID.hex)-\(isSampled ? "01" : "00")" }

    private static func byte(_ digits: ArraySlice<UInt8>) -> UInt8? {
        guard let first = digits.first.flatMap(Hex.digit), let second = digits.last.flatMap(Hex.digit) else {
            return nil
        }
        return UInt8(first << 4 | second)
    }
}

private enum TraceContextKey: InstrumentationContextKey {
    typealias Value = TraceContext
}

extension InstrumentationContext {
    /// Where in a trace the current task is; nil where it is in none.
    public var trace: TraceContext? {
        get { self[TraceContextKey.self] }
        set { self[TraceContextKey.self] = newValue }
    }
}
