import CoreMetrics
import Foundation
import Observability
import ObservabilityExport
import ServerKit
import ServiceKit
import ServiceLifecycle
import Testing
import Tracing

/// Spans on their way to a collector: a real server on loopback.
@Suite(.serialized) struct ExporterTests {
    private let registry = PrometheusRegistry()
    private let queue = SpanQueue(capacity: 4096)
    private static let resource = [(name: "service.name", value: "hkms-gateway"), (name: "quote", value: "\"\n")]

    private var tracer: SpanTracer { SpanTracer(sampling: Sampling(ratio: 1), queue: queue) }

    private func makeSpans(_ count: Int) {
        let tracer = tracer
        for number in 0..<count {
            tracer.startSpan("span \(number)", context: .topLevel, ofKind: .internal).end()
        }
    }

    private static var fast: TraceExporter.Pace {
        var pace = TraceExporter.Pace()
        pace.interval = .milliseconds(5)
        pace.firstBackoff = .milliseconds(5)
        pace.longestBackoff = .milliseconds(20)
        pace.attempts = 3
        return pace
    }

    /// Tells that its group runs.
    private struct Starter: Service {
        let started: AsyncStream<Void>.Continuation

        func run() async throws {
            started.yield()
            try await gracefulShutdown()
        }
    }

    /// Runs an exporter until `done`, then stops it gracefully.
    private func export(
        to endpoint: String, pace: TraceExporter.Pace = fast, headersFile: String? = nil,
        until done: @escaping @Sendable () -> Bool
    ) async throws {
        let exporter = try TraceExporter(
            TracingSettings(endpoint: endpoint, headersFile: headersFile), resource: Self.resource, queue: queue,
            logger: Collector.logger, pace: pace)
        let (starts, started) = AsyncStream<Void>.makeStream()
        let group = ServiceGroup(
            configuration: .init(services: [exporter, Starter(started: started)], logger: Collector.logger))
        try await withMetricsFactory(registry) {
            try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask { try await group.run() }
                _ = await starts.first { true }
                for _ in 0..<6000 {
                    if done() { break }
                    try await Task.sleep(for: .milliseconds(5))
                }
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
            }
        }
    }

    private func count(_ name: String) -> Int {
        let line = registry.exposition().split(separator: "\n").first { $0.hasPrefix(name + " ") }
        return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
    }

    private var exported: Int { count("hkms_trace_spans_exported_total") }
    private func dropped(_ reason: String) -> Int { count("hkms_trace_spans_dropped_total{reason=\"\(reason)\"}") }

    @Test func `a span in OTLP's JSON`() throws {
        let root = tracer.startSpan("POST /v1/keysets/{id}/encrypt", context: .topLevel, ofKind: .server)
        let child = tracer.startSpan("kms open", context: root.context, ofKind: .client)
        child.updateAttributes {
            $0["hkms.provider"] = "openbao"
            $0["server.port"] = 8200
        }
        child.setStatus(SpanStatus(code: .error))
        child.end()
        root.end()
        let records = queue.take(2)
        let text = OTLPTraces.request(records, resource: Self.resource)
        let (first, second) = (records[0], records[1])
        #expect(
            text == """
                {"resourceSpans":[{"resource":{"attributes":[\
                {"key":"service.name","value":{"stringValue":"hkms-gateway"}},\
                {"key":"quote","value":{"stringValue":"\\"\\n"}}]},\
                "scopeSpans":[{"scope":{"name":"hkms"},"spans":[\
                {"traceId":"\(first.traceID)","spanId":"\(first.spanID)","parentSpanId":"\(second.spanID)",\
                "name":"kms open","kind":3,"startTimeUnixNano":"\(first.start)","endTimeUnixNano":"\(first.end)",\
                "attributes":[{"key":"hkms.provider","value":{"stringValue":"openbao"}},\
                {"key":"server.port","value":{"intValue":"8200"}}],"status":{"code":2}},\
                {"traceId":"\(first.traceID)","spanId":"\(second.spanID)",\
                "name":"POST /v1/keysets/{id}/encrypt","kind":2,"startTimeUnixNano":"\(second.start)",\
                "endTimeUnixNano":"\(second.end)","attributes":[],"status":{}}]}]}]}
                """)
        #expect(try Collector.spans(text).count == 2)
    }

    @Test func `all spans arrive once, in batches, with the fields of the file`() async throws {
        let collector = try await Collector()
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("headers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        try Data("X-Api-Key: a:b c\n\n".utf8).write(to: file)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file.path)
        makeSpans(1100)
        try await export(to: collector.endpoint, headersFile: file.path) { exported == 1100 }
        await collector.stop()
        let posts = collector.posts
        #expect(posts.allSatisfy { $0.contentType == "application/json" && $0.credential == "a:b c" })
        let batches = try posts.map { try Collector.spans($0.body) }
        #expect(batches.map(\.count) == [512, 512, 76])
        let names = batches.joined().compactMap { $0["name"] as? String }
        #expect(names == (0..<1100).map { "span \($0)" })
        #expect(exported == 1100)
    }

    @Test func `a busy collector gets the same batch again`() async throws {
        let collector = try await Collector([503, 429, 200])
        makeSpans(3)
        try await export(to: collector.endpoint) { exported == 3 }
        await collector.stop()
        #expect(collector.posts.count == 3 && Set(collector.posts.map(\.body)).count == 1)
        #expect(exported == 3)
    }

    @Test func `what is refused, or taken by nobody, is dropped and counted, and the next ones go`() async throws {
        let collector = try await Collector([400, 502, 504, 502])
        makeSpans(1)
        try await export(to: collector.endpoint) { dropped("refused") == 1 }
        #expect(dropped("refused") == 1 && collector.posts.count == 1)
        makeSpans(2)
        try await export(to: collector.endpoint) { dropped("unreachable") == 2 }
        #expect(dropped("unreachable") == 2 && collector.posts.count == 4)
        makeSpans(4)
        try await export(to: collector.endpoint) { exported == 4 }
        await collector.stop()
        #expect(exported == 4 && queue.count == 0)
        // Nobody listens any more.
        makeSpans(5)
        try await export(to: collector.endpoint) { dropped("unreachable") == 7 }
        #expect(dropped("unreachable") == 7)
    }

    @Test func `a stop sends what waits`() async throws {
        let collector = try await Collector()
        var pace = Self.fast
        pace.interval = .seconds(3600)
        makeSpans(7)
        try await export(to: collector.endpoint, pace: pace) { true }
        await collector.stop()
        // A batch that was being sent when the stop came is sent again.
        let spans = try collector.posts.flatMap { try Collector.spans($0.body) }
        #expect(Set(spans.compactMap { $0["spanId"] as? String }).count == 7)
    }

    @Test func `a collector that never answers does not hold a stop up`() async throws {
        let collector = try await Collector([0, 0])
        var pace = Self.fast
        pace.flush = .milliseconds(100)
        makeSpans(7)
        try await export(to: collector.endpoint, pace: pace) { collector.posts.count >= 1 }
        await collector.stop()
        #expect(dropped("shutdown") == 7 && queue.count == 0)
    }

    @Test func `a file of fields that cannot be used keeps the spans here`() async throws {
        let collector = try await Collector()
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("headers-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: file) }
        for (text, mode) in [("X-Api-Key: k", 0o644), ("no field", 0o600), ("X: a\u{7}", 0o600), ("\u{e9}: a", 0o600)] {
            try Data(text.utf8).write(to: file)
            try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: file.path)
            let before = dropped("refused")
            makeSpans(1)
            let queue = queue
            try await export(to: collector.endpoint, headersFile: file.path) { queue.count == 0 }
            #expect(dropped("refused") == before + 1, "\(text)")
        }
        await collector.stop()
        #expect(collector.posts.isEmpty)
    }
}
