import NIOCore
import NIOPosix

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A proxy on the loopback interface between a client and a server, which fails as networks and their machines do.
package final class FaultProxy: Sendable {
    package enum Fault: Sendable {
        /// Passes everything on.
        case none
        /// Cuts every connection, and refuses new ones.
        case refusing
        /// Passes so many bytes of what the server answers from now on, then resets the connection.
        case resetting(afterBytes: Int)
        /// Keeps connections open and passes nothing on, until there is another fault or none.
        case stalling
        /// Answers every request itself, by HTTP/1.1 in the clear; the server sees none.
        case answering(status: Int, headers: [String: String] = [:], body: String = "")
    }

    package let port: Int
    private let loop: any EventLoop
    private let core: NIOLoopBound<Core>

    /// - Parameter target: a port of the loopback interface.
    package init(to target: Int) async throws {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        self.loop = loop
        core = try await loop.submit { NIOLoopBound(Core(target: target, loop: loop), eventLoop: loop) }.get()
        port = try await loop.flatSubmit { [core] in core.value.listen() }.get()
    }

    /// What happens from now on, to open connections too.
    package func set(_ fault: Fault) async throws {
        try await loop.flatSubmit { [core] in core.value.set(fault) }.get()
    }

    /// Cuts every connection and gives the port up.
    package func stop() async throws { try await set(.refusing) }
}

/// Everything of the proxy, on its one event loop.
private final class Core {
    let target: Int
    let loop: any EventLoop
    private(set) var fault = FaultProxy.Fault.none
    private var port = 0
    private var listener: (any Channel)?
    private var links: [ObjectIdentifier: Link] = [:]

    init(target: Int, loop: any EventLoop) {
        self.target = target
        self.loop = loop
    }

    func listen() -> EventLoopFuture<Int> {
        let core = NIOLoopBound(self, eventLoop: loop)
        return ServerBootstrap(group: loop)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { client in core.value.accept(client) }
            .bind(host: "127.0.0.1", port: port)
            .map { channel in
                core.value.listener = channel
                core.value.port = channel.localAddress?.port ?? 0
                return core.value.port
            }
    }

    func set(_ fault: FaultProxy.Fault) -> EventLoopFuture<Void> {
        self.fault = fault
        for link in links.values { link.faultChanged() }
        if case .refusing = fault {
            guard let listener else { return loop.makeSucceededVoidFuture() }
            self.listener = nil
            return listener.close()
        }
        return listener == nil ? listen().map { _ in } : loop.makeSucceededVoidFuture()
    }

    private func accept(_ client: any Channel) -> EventLoopFuture<Void> {
        let link = Link(client, self)
        links[ObjectIdentifier(link)] = link
        let core = NIOLoopBound(self, eventLoop: loop)
        let bound = NIOLoopBound(link, eventLoop: loop)
        client.closeFuture.whenComplete { _ in core.value.links[ObjectIdentifier(bound.value)] = nil }
        return loop.makeCompletedFuture {
            try client.pipeline.syncOperations.addHandler(End(link, isClient: true))
        }.flatMap {
            ClientBootstrap(group: core.value.loop)
                .channelInitializer { server in
                    core.value.loop.makeCompletedFuture {
                        try server.pipeline.syncOperations.addHandler(End(bound.value, isClient: false))
                    }
                }
                .connect(host: "127.0.0.1", port: core.value.target)
                .map { bound.value.connected(to: $0) }
        }
    }
}

/// One client's connection and the proxy's own to the server.
private final class Link {
    private let client: any Channel
    private var server: (any Channel)?
    private let core: Core
    private var toServer: [ByteBuffer] = []
    private var toClient: [ByteBuffer] = []
    /// Bytes of answers since the fault began.
    private var passed = 0
    private var isAnswered = false
    private var isEnding = false

    init(_ client: any Channel, _ core: Core) {
        self.client = client
        self.core = core
    }

    func connected(to server: any Channel) {
        self.server = server
        pump()
    }

    func received(_ buffer: ByteBuffer, fromClient: Bool) {
        if fromClient { toServer.append(buffer) } else { toClient.append(buffer) }
        pump()
    }

    func ended() {
        isEnding = true
        pump()
    }

    func faultChanged() {
        passed = 0
        pump()
    }

    private func pump() {
        switch core.fault {
        case .none:
            flush()
        case .refusing:
            close()
            return
        case .resetting(let limit):
            flush(answersUpTo: limit)
        case .stalling:
            return
        case .answering(let status, let headers, let body):
            // What comes after the answer is the rest of the request: nobody reads it.
            if !toServer.isEmpty, !isAnswered { answer(status, headers, body) }
            toServer = []
        }
        if isEnding { close() }
    }

    private func flush(answersUpTo limit: Int = .max) {
        if let server {
            for buffer in toServer { server.writeAndFlush(buffer, promise: nil) }
            toServer = []
        }
        while !toClient.isEmpty {
            var buffer = toClient.removeFirst()
            let room = limit - passed
            if buffer.readableBytes > room {
                if let rest = buffer.readSlice(length: room) { client.writeAndFlush(rest, promise: nil) }
                return reset()
            }
            passed += buffer.readableBytes
            client.writeAndFlush(buffer, promise: nil)
        }
    }

    private func answer(_ status: Int, _ headers: [String: String], _ body: String) {
        isAnswered = true
        var text = "HTTP/1.1 \(status) Injected\r\nContent-Length: \(body.utf8.count)\r\nConnection: close\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        client.writeAndFlush(ByteBuffer(string: text + "\r\n" + body), promise: nil)
    }

    /// As when the machine at the other end has lost the connection: RST instead of FIN.
    private func reset() {
        let channel = NIOLoopBound(self, eventLoop: core.loop)
        _ = (client as? any SocketOptionProvider)?.setSoLinger(linger(l_onoff: 1, l_linger: 0)).always { _ in
            channel.value.close()
        }
    }

    private func close() {
        client.close(promise: nil)
        server?.close(promise: nil)
        (toServer, toClient) = ([], [])
    }
}

/// One of the two ends of a link.
private final class End: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let link: Link
    private let isClient: Bool

    init(_ link: Link, isClient: Bool) {
        self.link = link
        self.isClient = isClient
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        link.received(unwrapInboundIn(data), fromClient: isClient)
    }

    func channelInactive(context: ChannelHandlerContext) { link.ended() }

    func errorCaught(context: ChannelHandlerContext, error: any Error) { context.close(promise: nil) }
}
