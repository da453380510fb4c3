import HTTPTypes
import Hummingbird
import Observability
import Synchronization
import Tracing

/// The server's span, and the metrics of requests.
///
/// Routes are told by their patterns, never by paths, which have ids in them. It stands outside of
/// ``ProblemMiddleware``, so that it sees what is answered, and gives ``ServiceContext/traceID`` to what is within.
public struct ObservabilityMiddleware: RouterMiddleware {
    public typealias Context = ServiceContext

    /// Asked for by machines all day long: measured, and no trace.
    private static let probes: Set = ["/livez", "/readyz"]

    public init() {}

    public func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let measured = MeasuredRequest(method: request.method)
        var parent = InstrumentationContext.topLevel
        guard !Self.probes.contains(request.uri.path) else {
            // What a probe asks of other systems is no trace either.
            parent.trace = TraceContext(isSampled: false)
            return try await answer(measured, request, context, parent, next)
        }
        InstrumentationSystem.instrument.extract(request.headers, into: &parent, using: FieldExtractor())
        let span = startSpan("HTTP \(measured.method)", context: parent, ofKind: .server)
        context.traceID = span.context.trace?.traceID.hex
        measured.span.withLock { $0 = span }
        return try await answer(measured, request, context, span.context, next)
    }

    private func answer(
        _ measured: MeasuredRequest, _ request: Request, _ context: Context, _ trace: InstrumentationContext,
        _ next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        do {
            var response = try await InstrumentationContext.$current.withValue(trace) {
                try await next(request, context)
            }
            measured.answered(route: context.endpointPath, status: response.status.code)
            let body = response.body
            response.body = ResponseBody(contentLength: body.contentLength) { writer in
                defer { measured.end() }
                try await body.write(writer)
            }
            return response
        } catch {
            measured.answered(route: context.endpointPath, status: 500)
            measured.end()
            throw error
        }
    }
}

/// From a request's head to its answer's last byte, wherever the answer is let go.
private final class MeasuredRequest: Sendable {
    /// One of the nine, or `_OTHER`: whoever asks must not make up labels.
    let method: String
    let span = Mutex<(any Tracing.Span)?>(nil)
    private let start = ContinuousClock.now
    private let answer = Mutex<(route: String, status: Int)?>(nil)
    private let hasEnded = Atomic(false)

    private static let methods: Set<HTTPRequest.Method> = [
        .get, .head, .post, .put, .patch, .delete, .options, .trace, .connect,
    ]

    init(method: HTTPRequest.Method) {
        self.method = Self.methods.contains(method) ? method.rawValue : "_OTHER"
        MetricCatalog.httpRequestsInFlight.move(by: 1)
    }

    func answered(route: String?, status: Int) {
        // The router has a name of its own for what it does not find.
        let route = route.flatMap { $0.hasPrefix("/") ? $0 : nil } ?? "unmatched"
        answer.withLock { $0 = (route, status) }
        // Other answers are of who may not ask, or asks wrongly.
        if route == "/readyz", method == "GET", [200, 503].contains(status) {
            MetricCatalog.ready.set(to: status == 200 ? 1 : 0)
        }
    }

    func end() {
        guard !hasEnded.exchange(true, ordering: .relaxed) else { return }
        MetricCatalog.httpRequestsInFlight.move(by: -1)
        let (route, status) = answer.withLock { $0 } ?? ("unmatched", 500)
        MetricCatalog.httpRequests.increment(method, route, "\(status)")
        MetricCatalog.httpRequestDuration.record(ContinuousClock.now - start, method, route, "\(status)")
        guard let span = span.withLock({ $0 }) else { return }
        span.operationName = "\(method) \(route)"
        span.updateAttributes {
            $0["http.request.method"] = method
            $0["http.route"] = route
            $0["http.response.status_code"] = status
        }
        if status >= 500 { span.setStatus(SpanStatus(code: .error)) }
        span.end()
    }

    deinit { end() }
}

private struct FieldExtractor: Extractor {
    /// A field that came twice has a comma in its value, and so is no `traceparent`.
    func extract(key: String, from fields: HTTPFields) -> String? {
        HTTPField.Name(key).flatMap { fields[$0] }
    }
}
