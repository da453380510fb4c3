import Observability
import Testing
import Tracing

/// Which spans are recorded, and what they say.
@Suite struct TracerTests {
    private struct Fields: Extractor, Injector {
        func extract(key: String, from carrier: [String: String]) -> String? { carrier[key] }
        func inject(_ value: String, forKey key: String, into carrier: inout [String: String]) {
            carrier[key] = value
        }
    }

    private static let incoming = [
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tracestate": "congo=t61rcWkgMzE",
    ]

    private func extracted(_ tracer: SpanTracer, _ fields: [String: String]) -> InstrumentationContext {
        var context = InstrumentationContext.topLevel
        tracer.extract(fields, into: &context, using: Fields())
        return context
    }

    private func injected(_ tracer: SpanTracer, _ context: InstrumentationContext) -> [String: String] {
        var fields: [String: String] = [:]
        tracer.inject(context, into: &fields, using: Fields())
        return fields
    }

    @Test func `spans within spans are one trace`() throws {
        let queue = SpanQueue()
        let tracer = SpanTracer(sampling: Sampling(ratio: 1), queue: queue)
        let root = tracer.startSpan("root", context: .topLevel, ofKind: .server)
        let child = tracer.startSpan("child", context: root.context, ofKind: .client)
        child.end()
        root.end()
        root.end()
        let spans = queue.take(10)
        try #require(spans.count == 2)
        #expect(spans.map(\.name) == ["child", "root"])
        #expect(spans[0].traceID == spans[1].traceID && spans[0].parent == spans[1].spanID && spans[1].parent == nil)
        #expect(spans[0].start <= spans[0].end && spans[1].start <= spans[0].start)
        guard case .client = spans[0].kind, case .server = spans[1].kind else {
            Issue.record("the kinds are others")
            return
        }
    }

    @Test func `who is not trusted gives a trace id and nothing else`() throws {
        let never = SpanTracer(sampling: Sampling(ratio: 0), queue: SpanQueue())
        let unsampled = never.startSpan("a", context: extracted(never, Self.incoming), ofKind: .server)
        #expect(!unsampled.isRecording)
        #expect(unsampled.context.trace?.traceID.hex == "4bf92f3577b34da6a3ce929d0e0e4736")
        let fields = injected(never, unsampled.context)
        #expect(fields["traceparent"]?.hasPrefix("00-4bf92f3577b34da6a3ce929d0e0e4736-") == true)
        #expect(fields["traceparent"]?.hasSuffix("-00") == true && fields["tracestate"] == nil)

        // Nor can it hide.
        let always = SpanTracer(sampling: Sampling(ratio: 1), queue: SpanQueue())
        var quiet = Self.incoming
        quiet["traceparent"] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
        #expect(always.startSpan("a", context: extracted(always, quiet), ofKind: .server).isRecording)
    }

    @Test func `who is trusted decides, and its state goes on`() throws {
        let queue = SpanQueue()
        let tracer = SpanTracer(sampling: Sampling(ratio: 0, trustsIncoming: true), queue: queue)
        let span = tracer.startSpan("a", context: extracted(tracer, Self.incoming), ofKind: .server)
        #expect(span.isRecording)
        #expect(injected(tracer, span.context)["tracestate"] == "congo=t61rcWkgMzE")
        span.end()
        #expect(queue.take(1).first?.parent?.hex == "00f067aa0ba902b7")
        // What cannot be read is left out.
        var odd = Self.incoming
        odd["tracestate"] = "congo"
        let context = extracted(tracer, odd)
        #expect(
            context.trace?.traceID.hex == "4bf92f3577b34da6a3ce929d0e0e4736" && context.trace?.state.isEmpty == true)
        #expect(extracted(tracer, ["traceparent": "00-x"]).trace == nil)
    }

    @Test func `a ratio is kept, and children do as their parents`() {
        let tracer = SpanTracer(sampling: Sampling(ratio: 0.25), queue: SpanQueue())
        var recorded = 0
        for _ in 0..<4000 {
            let root = tracer.startSpan("root", context: .topLevel, ofKind: .server)
            let child = tracer.startSpan("child", context: root.context, ofKind: .internal)
            #expect(root.isRecording == child.isRecording)
            if root.isRecording { recorded += 1 }
        }
        // 1000 expected, standard deviation 27.
        #expect((750...1250).contains(recorded))
    }

    @Test func `without a queue ids are passed on and nothing is recorded`() {
        let tracer = SpanTracer(sampling: Sampling(ratio: 1, trustsIncoming: true), queue: nil)
        let span = tracer.startSpan("a", context: .topLevel, ofKind: .server)
        #expect(!span.isRecording && span.context.trace?.isSampled == false)
        #expect(injected(tracer, span.context)["traceparent"]?.hasSuffix("-00") == true)
    }

    @Test func `a span says what is on the list`() throws {
        struct Telling: Error { let keySet = "ks-0123" }
        let queue = SpanQueue()
        let tracer = SpanTracer(sampling: Sampling(ratio: 1), queue: queue)
        let span = tracer.startSpan("POST", context: .topLevel, ofKind: .client)
        span.updateAttributes {
            $0["http.request.method"] = "POST"
            $0["http.status_code"] = 503
            $0["server.address"] = String(repeating: "h", count: 1000)
            $0["url.full"] = "https://unit/v1/manifests/ks-0123?token=secret"
            $0["url.path"] = "/v1/manifests/ks-0123"
            $0["url.query"] = "token=secret"
            $0["user.id"] = "alice"
        }
        span.addEvent(SpanEvent(name: "ks-0123"))
        span.recordError(Telling())
        span.setStatus(SpanStatus(code: .error, message: "ks-0123 of alice"))
        span.end()
        let record = try #require(queue.take(1).first)
        #expect(record.isError)
        #expect(
            record.attributes.map(\.name) == [
                "error.type", "http.request.method", "http.response.status_code", "server.address",
            ])
        #expect(record.attributes[2].value == .integer(503))
        guard case .text(let host) = record.attributes[3].value else { return }
        #expect(host.utf8.count <= 256)
        for hidden in ["ks-0123", "alice", "secret"] { #expect(!"\(record)".contains(hidden)) }
    }

    @Test func `what has no room is dropped and counted`() {
        let queue = SpanQueue(capacity: 3)
        let tracer = SpanTracer(sampling: Sampling(ratio: 1), queue: queue)
        for number in 0..<5 { tracer.startSpan("s\(number)", context: .topLevel, ofKind: .internal).end() }
        #expect(queue.count == 3 && queue.dropped == 2)
        #expect(queue.take(2).map(\.name) == ["s0", "s1"])
        tracer.startSpan("s5", context: .topLevel, ofKind: .internal).end()
        #expect(queue.take(10).map(\.name) == ["s2", "s5"] && queue.count == 0)
    }

    @Test func `a span within nothing is no trace`() async {
        let queue = SpanQueue()
        let tracer = SpanTracer(sampling: Sampling(ratio: 1), queue: queue)
        await withTracer(tracer) {
            await Spans.within("alone") {}
            await withSpan("root") { _ in
                #expect(Spans.currentTraceID?.utf8.count == 32)
                await Spans.within("child", attributes: ["hkms.store": "objects"]) {}
            }
        }
        let spans = queue.take(10)
        #expect(spans.map(\.name) == ["child", "root"])
        #expect(spans.first?.attributes.first?.name == "hkms.store")
        #expect(Spans.currentTraceID == nil)
    }
}
