import AsyncHTTPClient
import Logging
import NIOCore
import NIOHTTP1
import Observability
import ServerKit
import ServiceKit
import ServiceLifecycle
import Tracing
import TransportSecurity

/// Sends spans to a collector: OTLP over HTTP, as JSON, in batches.
///
/// A collector that is away holds nobody up. A batch is tried again after 429, 502, 503 and 504 and where nobody
/// answers, later and later; then it is dropped and counted, as are spans that find the queue full. At a graceful stop
/// what waits is sent, for a few seconds.
public actor TraceExporter: Service {
    /// When and how much is sent.
    public struct Pace: Sendable {
        /// Time between looks at the queue.
        public var interval = Duration.seconds(1)
        /// Spans of one request.
        public var batch = 512
        /// Requests for one batch.
        public var attempts = 6
        /// Wait before the second one; it doubles with each.
        public var firstBackoff = Duration.milliseconds(500)
        /// The longest wait, also of what the collector asks for.
        public var longestBackoff = Duration.seconds(30)
        /// For what waits when the process stops.
        public var flush = Duration.seconds(5)

        public init() {}
    }

    private enum Answer {
        case taken
        /// Worth another try; with the wait that the collector asks for.
        case busy(reason: String, wait: Duration?)
        case refused(reason: String)
    }

    private static let timeout = TimeAmount.seconds(10)
    /// Bytes of an answer that are read, so that its connection can be used again.
    private static let answerBytes = 1 << 16

    private let settings: TracingSettings
    private let resource: [(name: String, value: String)]
    private let queue: SpanQueue
    private let pace: Pace
    private let logger: Logger
    private let client: HTTPClient
    /// The batch that is being sent.
    private var pending: [SpanRecord] = []
    private var isTroubled = false

    /// - Parameter resource: attributes of this process, `service.name` and others.
    /// - Throws: `TLSError` where the authorities cannot be used.
    public init(
        _ settings: TracingSettings, resource: [(name: String, value: String)], queue: SpanQueue, logger: Logger,
        pace: Pace = Pace()
    ) throws(TLSError) {
        self.settings = settings
        self.resource = resource
        self.queue = queue
        self.pace = pace
        self.logger = logger
        var configuration = HTTPClient.Configuration()
        configuration.tlsConfiguration = try settings.tls.configuration()
        // The collector's credential goes where the operator says, and nowhere else.
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        configuration.timeout.connect = .seconds(5)
        // The limit of a request ends with its answer's head.
        configuration.timeout.read = Self.timeout
        // Who tries again, and when, is decided here.
        configuration.connectionPool.retryConnectionEstablishment = false
        // Sending spans makes none.
        configuration.tracing.tracer = nil
        client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }

    public func run() async throws {
        while !Task.isCancelled, !Task.isShuttingDownGracefully {
            let interval = pace.interval
            try? await cancelWhenGracefulShutdown { try await Task.sleep(for: interval) }
            await cancelWhenGracefulShutdown { [self] in await sendWaiting() }
        }
        // Of its own, so that a cancelled service, too, sends what it has.
        let flush = Task { try? await TimeLimit.run(within: pace.flush) { [self] in await sendWaiting() } }
        await flush.value
        drop(pending.count + queue.take(.max).count, "shutdown")
        pending = []
        try? await client.shutdown()
    }

    /// Sends batches until none waits. A batch whose sending is cancelled stays.
    private func sendWaiting() async {
        while !Task.isCancelled {
            if pending.isEmpty { pending = queue.take(pace.batch) }
            guard !pending.isEmpty else { return }
            await sendPending()
        }
    }

    private func sendPending() async {
        let body = OTLPTraces.request(pending, resource: resource)
        var backoff = pace.firstBackoff
        for attempt in 1... {
            switch await send(body) {
            case .taken:
                MetricCatalog.spansExported.increment(by: pending.count)
                pending = []
                if isTroubled { logger.notice("the trace collector takes spans again") }
                isTroubled = false
                return
            case .busy(let reason, let wait):
                if Task.isCancelled { return }
                guard attempt < pace.attempts else { return giveUp(reason, "unreachable") }
                // Spread, so that many processes do not come back together.
                let delay = min(wait ?? backoff * Double.random(in: 0.5...1), pace.longestBackoff)
                backoff = min(backoff * 2, pace.longestBackoff)
                do { try await Task.sleep(for: delay) } catch { return }
            case .refused(let reason):
                return giveUp(reason, "refused")
            }
        }
    }

    private func giveUp(_ reason: String, _ label: String) {
        // Once, and not for each batch.
        if !isTroubled { logger.warning("the trace collector takes no spans", metadata: ["reason": "\(reason)"]) }
        isTroubled = true
        drop(pending.count, label)
        pending = []
    }

    private func drop(_ count: Int, _ reason: String) {
        if count > 0 { MetricCatalog.spansDropped.increment(by: count, reason) }
    }

    private func send(_ body: String) async -> Answer {
        var request = HTTPClientRequest(url: settings.endpoint)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: OTLPTraces.mediaType)
        if let file = settings.headersFile {
            do throws(CollectorFields.Unusable) {
                for field in try CollectorFields(path: file).fields {
                    request.headers.add(name: field[0], value: field[1])
                }
            } catch { return .refused(reason: error.reason) }
        }
        request.body = .bytes(ByteBuffer(string: body))
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, timeout: Self.timeout)
            _ = try? await response.body.collect(upTo: Self.answerBytes)
        } catch let error as HTTPClientError {
            return .busy(reason: error.shortDescription, wait: nil)
        } catch {
            return .busy(reason: String(describing: type(of: error)), wait: nil)
        }
        let code = Int(response.status.code)
        switch code {
        case 200..<300: return .taken
        case 429, 502, 503, 504:
            let wait = response.headers.first(name: "Retry-After").flatMap { Int($0) }.map {
                Duration.seconds(max(0, $0))
            }
            return .busy(reason: "status \(code)", wait: wait)
        default: return .refused(reason: "status \(code)")
        }
    }
}
