import CoreMetrics
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import Observability
import ObservabilityExport
import ServerKit
import Synchronization
import Testing

/// A collector of traces that answers as it is told.
final class Collector: Sendable {
    struct Post: Sendable {
        let contentType: String?
        let credential: String?
        let body: String
    }

    /// Statuses of the next answers; 200 when none is left. 0 never answers.
    private let script: Mutex<[Int]>
    private let received = Mutex<[Post]>([])
    let port: Int
    private let server: Task<Void, any Error>

    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    var posts: [Post] { received.withLock { $0 } }
    var endpoint: String { "http://127.0.0.1:\(port)/v1/traces" }

    init(_ statuses: [Int] = []) async throws {
        script = Mutex(statuses)
        let handler = Handler()
        let router = Router()
        router.post("v1/traces") { request, _ in try await handler.answer(request) }
        let (ports, found) = AsyncStream<Int>.makeStream()
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { found.yield($0.localAddress?.port ?? 0) }, logger: Self.logger)
        server = Task { try await application.runService(gracefulShutdownSignals: []) }
        var iterator = ports.makeAsyncIterator()
        port = try #require(await iterator.next())
        handler.collector.withLock { $0 = self }
    }

    private final class Handler: Sendable {
        let collector = Mutex<Collector?>(nil)

        func answer(_ request: Request) async throws -> HTTPResponse.Status {
            guard let collector = collector.withLock({ $0 }) else { return .serviceUnavailable }
            let body = try await request.body.collect(upTo: 1 << 24)
            return try await collector.take(request.headers, String(buffer: body))
        }
    }

    private func take(_ headers: HTTPFields, _ body: String) async throws -> HTTPResponse.Status {
        received.withLock {
            $0.append(
                Post(
                    contentType: headers[.contentType], credential: headers[HTTPField.Name("X-Api-Key")!], body: body))
        }
        let status = script.withLock { $0.isEmpty ? 200 : $0.removeFirst() }
        if status == 0 { try await Task.sleep(for: .seconds(3600)) }
        return HTTPResponse.Status(code: status)
    }

    func stop() async {
        server.cancel()
        _ = try? await server.value
    }

    /// The spans of a request's body.
    static func spans(_ body: String) throws -> [[String: Any]] {
        let object = try #require(try JSONSerialization.jsonObject(with: Data(body.utf8)) as? [String: Any])
        let resources = try #require(object["resourceSpans"] as? [[String: Any]])
        let scopes = try #require(resources.first?["scopeSpans"] as? [[String: Any]])
        return try #require(scopes.first?["spans"] as? [[String: Any]])
    }
}
