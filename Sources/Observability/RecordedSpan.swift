import Synchronization
import Tracing

/// A span of ``SpanTracer``. It keeps what ``SpanRecord`` may say and forgets the rest: events, links, messages.
public final class RecordedSpan: Tracing.Span {
    private struct State {
        var name: String
        var attributes: SpanAttributes = [:]
        var isError = false
        var hasEnded = false
    }

    public let context: InstrumentationContext
    private let trace: TraceContext
    private let parent: SpanID?
    private let kind: SpanKind
    private let start: UInt64
    /// nil where the trace is not recorded.
    private let queue: SpanQueue?
    private let state: Mutex<State>

    init(
        _ name: String, kind: SpanKind, trace: TraceContext, parent: SpanID?, context: InstrumentationContext,
        start: UInt64, queue: SpanQueue?
    ) {
        self.trace = trace
        self.parent = parent
        self.kind = kind
        self.start = start
        self.queue = trace.isSampled ? queue : nil
        var context = context
        context.trace = trace
        self.context = context
        state = Mutex(State(name: name))
    }

    public var isRecording: Bool { queue != nil && state.withLock { !$0.hasEnded } }

    public var operationName: String {
        get { state.withLock { $0.name } }
        set { state.withLock { $0.name = newValue } }
    }

    public var attributes: SpanAttributes {
        get { state.withLock { $0.attributes } }
        set {
            guard queue != nil else { return }
            state.withLock { $0.attributes = newValue }
        }
    }

    /// Keeps the code and not the message.
    public func setStatus(_ status: SpanStatus) { state.withLock { $0.isError = status.code == .error } }

    public func addEvent(_ event: SpanEvent) {}
    public func addLink(_ link: SpanLink) {}

    /// Keeps the error's type: what it says may name a key set.
    public func recordError<Instant: TracerInstant>(
        _ error: any Error, attributes: SpanAttributes, at instant: @autoclosure () -> Instant
    ) {
        guard queue != nil else { return }
        state.withLock { $0.attributes["error.type"] = String(describing: type(of: error)) }
    }

    /// Hands the span over. Only the first call counts.
    public func end<Instant: TracerInstant>(at instant: @autoclosure () -> Instant) {
        guard let queue else { return }
        let ended: State? = state.withLock { state in
            guard !state.hasEnded else { return nil }
            state.hasEnded = true
            return state
        }
        guard let ended else { return }
        queue.add(
            SpanRecord(
                name: SpanAttributePolicy.clipped(ended.name), kind: kind, traceID: trace.traceID,
                spanID: trace.spanID, parent: parent, state: trace.state, start: start,
                end: max(start, instant().nanosecondsSinceEpoch),
                attributes: SpanAttributePolicy.permitted(ended.attributes), isError: ended.isError))
    }
}
