import HKMSClient
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import ServiceKit

/// What a request looked like when it arrived.
struct SeenRequest: Sendable, Equatable {
    var method = ""
    /// Path and query as they came, nothing decoded.
    var uri = ""
    var authorization: String?
    var accept: String?
    var contentType: String?
    var body: [UInt8] = []
}

/// A server that gives every request the same answer and keeps what it saw.
actor TestGateway {
    struct Answer: Sendable {
        var status = 200
        var mediaType = MediaType.json
        var headers: [String: String] = [:]
        var body: [UInt8] = []

        static func json(_ text: String, status: Int = 200) -> Answer {
            Answer(status: status, body: Array(text.utf8))
        }

        static func problem(_ problem: Problem) -> Answer {
            Answer(status: problem.status, mediaType: Problem.mediaType, body: problem.encoded())
        }
    }

    private(set) var seen = SeenRequest()

    private func note(_ request: SeenRequest) { seen = request }

    static let token = "hkms_test"

    /// Serves `answer` while `body` runs.
    @discardableResult
    static func serving<Result: Sendable>(
        _ answer: Answer, timeout: Duration = .seconds(20), limits: HKMSClient.Limits = .init(),
        _ body: @Sendable @escaping (HKMSClient, TestGateway) async throws -> Result
    ) async throws -> Result {
        let gateway = TestGateway()
        let (ports, continuation) = AsyncStream.makeStream(of: Int.self)
        let application = Application(
            responder: CallbackResponder { (request: Request, _: BasicRequestContext) in
                let body = try await request.body.collect(upTo: 1 << 20)
                await gateway.note(
                    SeenRequest(
                        method: request.method.rawValue, uri: request.uri.description,
                        authorization: request.headers[.authorization], accept: request.headers[.accept],
                        contentType: request.headers[.contentType], body: Array(buffer: body)))
                var headers: HTTPFields = [.contentType: answer.mediaType]
                for (name, value) in answer.headers {
                    if let name = HTTPField.Name(name) { headers[name] = value }
                }
                return Response(
                    status: .init(code: answer.status), headers: headers,
                    body: .init(byteBuffer: ByteBuffer(bytes: answer.body)))
            },
            configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { channel in continuation.yield(channel.localAddress?.port ?? 0) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                try await application.run()
                return nil
            }
            group.addTask {
                var iterator = ports.makeAsyncIterator()
                let port = await iterator.next() ?? 0
                let client = try HKMSClient(
                    address: "http://127.0.0.1:\(port)/", token: token, timeout: timeout, limits: limits)
                do {
                    let result = try await body(client, gateway)
                    await client.shutdown()
                    return result
                } catch {
                    await client.shutdown()
                    throw error
                }
            }
            defer { group.cancelAll() }
            while let result = try await group.next() {
                if let result { return result }
            }
            throw CancellationError()
        }
    }
}
