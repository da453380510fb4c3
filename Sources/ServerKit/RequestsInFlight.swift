import HTTPTypes
import Hummingbird
import ServiceLifecycle
import Synchronization

/// Counts requests until the last byte of their answer is written, so that a server stops only once they are done.
///
/// The HTTP server itself closes HTTP/2 connections with what is still in flight on them.
public final class RequestsInFlight: Sendable {
    private struct State {
        var count = 0
        var isDraining = false
    }

    private let state = Mutex(State())

    public init() {}

    /// Requests whose answers are not yet written.
    public var count: Int { state.withLock { $0.count } }

    /// Whether the server is about to stop: it is not ready any more.
    public var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Waits until nothing is in flight, or `limit` is over.
    public func drain(within limit: Duration) async {
        state.withLock { $0.isDraining = true }
        let deadline = ContinuousClock.now + limit
        while count > 0, ContinuousClock.now < deadline {
            try? await Task.sleep(for: .milliseconds(20))
        }
    }

    /// The outermost middleware of a server.
    public var middleware: some RouterMiddleware<ServiceContext> { InFlightMiddleware(requests: self) }

    /// Stops first among the services of a group when it is the last of their list.
    public func service(within limit: Duration = .seconds(30)) -> some Service {
        DrainService(requests: self, limit: limit)
    }

    /// One request: it ends with this, wherever the answer is let go.
    fileprivate final class Token: Sendable {
        private let requests: RequestsInFlight

        init(_ requests: RequestsInFlight) {
            self.requests = requests
            requests.state.withLock { $0.count += 1 }
        }

        deinit { requests.state.withLock { $0.count -= 1 } }
    }
}

private struct InFlightMiddleware: RouterMiddleware {
    typealias Context = ServiceContext
    let requests: RequestsInFlight

    func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        let token = RequestsInFlight.Token(requests)
        var response = try await next(request, context)
        let body = response.body
        response.body = ResponseBody(contentLength: body.contentLength) { writer in
            defer { withExtendedLifetime(token) {} }
            try await body.write(writer)
        }
        return response
    }
}

private struct DrainService: Service {
    let requests: RequestsInFlight
    let limit: Duration

    func run() async throws {
        try? await gracefulShutdown()
        await requests.drain(within: limit)
    }
}
