/// Where copies of an audit log go beside its files.
public protocol AuditSink: Sendable {
    /// As the configuration names it.
    var name: String { get }
    /// Whether operations wait until their records are here too.
    var isRequired: Bool { get }

    /// Hands over, and returns once the other side has them as surely as it can tell. What is thrown is tried again:
    /// the same line may arrive more than once.
    func send(_ copies: [AuditCopy]) async throws

    func shutdown() async
}

/// What a sink is given: a line of the log, or a notice that lines are missing.
public struct AuditCopy: Sendable, Hashable {
    /// A line without its newline: printable ASCII, at most 128 KiB.
    public let text: [UInt8]
    /// The number of the line, or of the first one missing.
    public let first: Int
    /// The number of the line, or of the last one missing.
    public let last: Int
    public let isGap: Bool

    init(_ line: AuditBatch.Line) {
        text = line.bytes.dropLast()
        first = line.head.sequence
        last = first
        isGap = false
    }

    /// `{"type":"gap","first":F,"last":L}`: lines F to L were dropped, because the sink took none for too long.
    init(gap: ClosedRange<Int>) {
        var bytes: [UInt8] = []
        CanonicalJSON.object([
            .init("type", .text("gap")), .init("first", .integer(gap.lowerBound)),
            .init("last", .integer(gap.upperBound)),
        ]).append(to: &bytes)
        text = bytes
        first = gap.lowerBound
        last = gap.upperBound
        isGap = true
    }
}

/// How a sink is doing.
public struct AuditSinkStatus: Sendable, Hashable {
    public let name: String
    /// The last line that it has taken; 0 before the first.
    public let delivered: Int
    /// Lines that wait.
    public let waiting: Int
    /// Lines that were dropped since the start.
    public let dropped: Int
    /// Why it takes nothing now; nil where it does.
    public let failure: String?
}
