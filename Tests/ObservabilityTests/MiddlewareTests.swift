import CoreMetrics
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import Observability
import ServerKit
import ServiceKit
import Synchronization
import Testing
import Tracing

/// What one request leaves in metrics, spans and its context.
@Suite struct MiddlewareTests {
    private static let incoming = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

    private let registry = PrometheusRegistry()
    private let queue = SpanQueue()

    /// Routes as a server has them, and one request's answer.
    private func answer(
        _ method: HTTPRequest.Method, _ path: String, headers: HTTPFields = [:],
        seen: @escaping @Sendable (ServerKit.ServiceContext) -> Void = { _ in }
    ) async throws -> HTTPResponse.Status {
        let router = Router(context: ServerKit.ServiceContext.self)
        router.add(middleware: ObservabilityMiddleware())
        router.add(middleware: ProblemMiddleware { _ in nil })
        router.get("readyz") { _, _ in try Response.json(["ready": true], status: .serviceUnavailable) }
        router.post("v1/keysets/{id}/encrypt") { request, context in
            seen(context)
            await Spans.within("inside") {}
            return try Response.json(["done": true])
        }
        router.get("v1/broken/{id}") { _, _ -> Response in
            struct Telling: Error {}
            throw Telling()
        }
        let application = Application(
            router: router, logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let tracer = SpanTracer(sampling: Sampling(ratio: 1), queue: queue)
        return try await withMetricsFactory(registry) {
            try await withTracer(tracer) {
                try await application.test(.router) { client in
                    try await client.execute(uri: path, method: method, headers: headers).status
                }
            }
        }
    }

    @Test func `a request is measured by its route's pattern, and is a span`() async throws {
        let seen = Mutex<String?>(nil)
        var headers = HTTPFields()
        headers[HTTPField.Name("traceparent")!] = Self.incoming
        headers[.authorization] = "Bearer hkms_token"
        let status = try await answer(.post, "/v1/keysets/ks-0123/encrypt?who=alice", headers: headers) { context in
            seen.withLock { $0 = context.traceID }
        }
        #expect(status == .ok)
        #expect(seen.withLock { $0 } == "4bf92f3577b34da6a3ce929d0e0e4736")
        let text = registry.exposition()
        let labels = #"method="POST",route="/v1/keysets/{id}/encrypt",status="200""#
        #expect(text.contains("hkms_http_requests_total{\(labels)} 1\n"))
        #expect(text.contains("hkms_http_request_duration_seconds_bucket{\(labels),le=\"+Inf\"} 1\n"))
        #expect(text.contains("hkms_http_requests_in_flight 0\n"))
        let spans = queue.take(10)
        try #require(spans.map(\.name) == ["inside", "POST /v1/keysets/{id}/encrypt"])
        #expect(spans[0].parent == spans[1].spanID && spans[1].parent?.hex == "00f067aa0ba902b7")
        #expect(spans.allSatisfy { $0.traceID.hex == "4bf92f3577b34da6a3ce929d0e0e4736" && !$0.isError })
        #expect(
            spans[1].attributes.map(\.name) == ["http.request.method", "http.response.status_code", "http.route"])
        for hidden in ["ks-0123", "alice", "hkms_token"] {
            #expect(!text.contains(hidden) && !"\(spans)".contains(hidden))
        }
    }

    @Test func `failures are counted by the problem's name and make the span one`() async throws {
        #expect(try await answer(.get, "/v1/broken/ks-0123") == .internalServerError)
        #expect(try await answer(.get, "/v1/nothing/ks-0123") == .notFound)
        let text = registry.exposition()
        #expect(text.contains(#"hkms_problems_total{problem="internal-error"} 1"#))
        #expect(text.contains(#"hkms_problems_total{problem="not-found"} 1"#))
        #expect(text.contains(#"hkms_http_requests_total{method="GET",route="/v1/broken/{id}",status="500"} 1"#))
        #expect(text.contains(#"hkms_http_requests_total{method="GET",route="unmatched",status="404"} 1"#))
        let spans = queue.take(10)
        #expect(spans.map(\.isError) == [true, false])
        #expect(!text.contains("ks-0123") && !"\(spans)".contains("ks-0123"))
    }

    @Test func `made-up methods are one`() async throws {
        for name in ["BREW", "WHEN", "X-0123"] {
            let method = try #require(HTTPRequest.Method(rawValue: name))
            #expect(try await answer(method, "/v1/keysets/ks/encrypt").code >= 400)
        }
        let lines = registry.exposition().split(separator: "\n").filter { $0.hasPrefix("hkms_http_requests_total{") }
        #expect(lines.count == 1 && lines[0].contains(#"method="_OTHER""#) && lines[0].hasSuffix(" 3"))
        #expect(!queue.take(10).contains { $0.name.contains("BREW") })
    }

    @Test func `probes are measured and are no traces`() async throws {
        #expect(try await answer(.get, "/readyz") == .serviceUnavailable)
        let text = registry.exposition()
        #expect(text.contains("hkms_ready 0\n"))
        #expect(text.contains(#"hkms_http_requests_total{method="GET",route="/readyz",status="503"} 1"#))
        #expect(queue.count == 0)
    }

    @Test func `the metrics listener answers what Prometheus asks, and nothing else`() async throws {
        registry.onScrape { $0.set(MetricCatalog.jobsRunning, to: 2) }
        let server = MetricsServer(
            listen: ListenAddress(host: "127.0.0.1", port: 0), registry: registry,
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let application = Application(router: server.router())
        try await application.test(.router) { client in
            let answer = try await client.execute(uri: "/metrics", method: .get)
            #expect(answer.status == .ok)
            #expect(answer.headers[.contentType] == "text/plain; version=0.0.4; charset=utf-8")
            #expect(String(buffer: answer.body).contains("\nhkms_jobs_running 2\n"))
            #expect(try await client.execute(uri: "/metrics", method: .post).status == .methodNotAllowed)
            #expect(try await client.execute(uri: "/v1/keysets", method: .get).status == .notFound)
        }
    }
}
