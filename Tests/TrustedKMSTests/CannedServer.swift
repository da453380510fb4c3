import Foundation
import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A tiny HTTP server that gives every request to one path the same answer, as hostile as a test wants.
final class CannedServer: Sendable {
    struct Answer: Sendable {
        var status = 200
        var headers: [String: String] = [:]
        /// Sent and flushed one by one.
        var chunks: [String] = []
        /// Never ends the answer.
        var hangs = false

        /// One chunk for the whole text, or one for each byte.
        init(
            _ text: String = "", status: Int = 200, headers: [String: String] = [:], bytewise: Bool = false,
            hangs: Bool = false
        ) {
            self.status = status
            self.headers = headers
            self.hangs = hangs
            chunks = bytewise ? text.utf8.map { String(UnicodeScalar($0)) } : [text]
        }
    }

    private let channel: any Channel
    private let counts = Counts()

    var port: Int { channel.localAddress?.port ?? 0 }
    var address: String { "http://127.0.0.1:\(port)" }

    /// - Parameters:
    ///   - answers: by path; every other path answers as a healthy OpenBao would about keys and tokens.
    ///   - port: 0 for any free one.
    init(_ answers: [String: Answer], port: Int = 0) async throws {
        let counts = counts
        channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(Handler(answers, counts))
                }
            }
            .bind(host: "127.0.0.1", port: port).get()
    }

    /// Requests that came to a path.
    func requestCount(_ path: String) -> Int { counts.byPath.withLock { $0[path] ?? 0 } }

    private final class Counts: Sendable {
        let byPath = Mutex<[String: Int]>([:])
    }

    func stop() async throws { try await channel.close() }

    private static let key = Answer(
        #"{"data":{"type":"aes256-gcm96","derived":true,"latest_version":1,"min_decryption_version":1}}"#)

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let answers: [String: Answer]
        private let counts: Counts
        private var path = ""

        init(_ answers: [String: Answer], _ counts: Counts) {
            self.answers = answers
            self.counts = counts
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head): path = head.uri
            case .body: break
            case .end:
                counts.byPath.withLock { $0[path, default: 0] += 1 }
                send(answers[path] ?? fallback, context)
            }
        }

        private var fallback: Answer {
            path.hasPrefix("/v1/transit/keys/")
                ? CannedServer.key : Answer("{}", status: path.contains("lookup-self") ? 403 : 404)
        }

        private func send(_ answer: Answer, _ context: ChannelHandlerContext) {
            var head = HTTPResponseHead(version: .http1_1, status: .init(statusCode: answer.status))
            for (name, value) in answer.headers { head.headers.add(name: name, value: value) }
            context.writeAndFlush(wrapOutboundOut(.head(head)), promise: nil)
            for chunk in answer.chunks {
                context.writeAndFlush(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: chunk)))), promise: nil)
            }
            if !answer.hangs { context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil) }
        }
    }
}
