import Tracing

/// Spans of this process, with W3C Trace Context towards others.
///
/// Trace ids are there and passed on even where nothing is recorded, so that logs of several processes can be put
/// together by them.
public final class SpanTracer: Tracer {
    private let sampling: Sampling
    private let queue: SpanQueue?

    /// - Parameter queue: where recorded spans go; nil records none.
    public init(sampling: Sampling, queue: SpanQueue?) {
        self.sampling = queue == nil ? Sampling(ratio: 0) : sampling
        self.queue = queue
    }

    public func startSpan<Instant: TracerInstant>(
        _ operationName: String, context: @autoclosure () -> InstrumentationContext, ofKind kind: SpanKind,
        at instant: @autoclosure () -> Instant, function: String, file fileID: String, line: UInt
    ) -> RecordedSpan {
        let context = context()
        let parent = context.trace
        let trace = TraceContext(
            traceID: parent?.traceID ?? TraceID(), isSampled: sampling.isSampled(under: parent),
            state: parent?.state ?? TraceState())
        return RecordedSpan(
            operationName, kind: kind, trace: trace, parent: parent?.spanID, context: context,
            start: instant().nanosecondsSinceEpoch, queue: queue)
    }

    /// Spans go out by themselves.
    public func forceFlush() {}

    // MARK: Instrument

    public func extract<Carrier, Extract: Extractor>(
        _ carrier: Carrier, into context: inout InstrumentationContext, using extractor: Extract
    ) where Extract.Carrier == Carrier {
        guard let field = extractor.extract(key: "traceparent", from: carrier),
            var trace = TraceContext(traceparent: field)
        else { return }
        // What cannot be read is left out, and does not make the trace another one.
        if sampling.trustsIncoming, let field = extractor.extract(key: "tracestate", from: carrier) {
            trace.state = TraceState(field) ?? TraceState()
        }
        context.trace = trace
    }

    public func inject<Carrier, Inject: Injector>(
        _ context: InstrumentationContext, into carrier: inout Carrier, using injector: Inject
    ) where Inject.Carrier == Carrier {
        guard let trace = context.trace else { return }
        injector.inject(trace.traceparent, forKey: "traceparent", into: &carrier)
        let state = trace.state.text
        if !state.isEmpty { injector.inject(state, forKey: "tracestate", into: &carrier) }
    }
}
