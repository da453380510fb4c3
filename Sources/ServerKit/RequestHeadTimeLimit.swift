import NIOCore
import NIOHTTP1
import NIOHTTPTypes

/// Closes a connection of HTTP/1.1 on which a request's head does not arrive in time: the first one from when the
/// connection is there, each later one from its first byte.
///
/// Streams of HTTP/2 begin with their head, so that it does nothing there: a connection without streams is idle.
final class RequestHeadTimeLimit: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private let limit: TimeAmount
    private var isAwaited = true
    /// Requests that are not yet answered: while there are, nothing is closed, whatever arrived behind them.
    private var unanswered = 0
    private var timer: Scheduled<Void>?

    init(_ limit: TimeAmount = .seconds(30)) { self.limit = limit }

    func handlerAdded(context: ChannelHandlerContext) {
        let pipeline = context.pipeline.syncOperations
        guard let decoder = try? pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self) else { return }
        // Only what stands before the decoder sees the bytes of a head that is not whole.
        try? pipeline.addHandler(FirstByte { [self] in start(context) }, position: .before(decoder))
        start(context)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head:
            isAwaited = false
            unanswered += 1
            stop()
        case .end: isAwaited = true
        case .body: break
        }
        context.fireChannelRead(data)
    }

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        // An interim answer has no end.
        if case .end = unwrapOutboundIn(data) { unanswered = max(0, unanswered - 1) }
        context.write(data, promise: promise)
    }

    func channelInactive(context: ChannelHandlerContext) {
        stop()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { stop() }

    private func start(_ context: ChannelHandlerContext) {
        guard isAwaited, timer == nil else { return }
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: limit) { [self] in
            timer = nil
            if unanswered > 0 { start(context) } else { context.close(promise: nil) }
        }
    }

    private func stop() {
        timer?.cancel()
        timer = nil
    }
}

/// Tells of bytes that arrive.
private final class FirstByte: ChannelInboundHandler, RemovableChannelHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let onBytes: () -> Void

    init(_ onBytes: @escaping () -> Void) { self.onBytes = onBytes }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        onBytes()
        context.fireChannelRead(data)
    }
}
