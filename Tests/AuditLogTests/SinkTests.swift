import Attestation
import AuditLog
import AuditSinks
import Dispatch
import Foundation
import HTTPTypes
import Hummingbird
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TestSupport
import Testing

/// Copies of the log: what arrives, at real sockets and a real server.
@Suite("Audit sinks", .serialized) struct SinkTests {
    /// A sink that does as it is told.
    final class TestSink: AuditSink {
        let name = "test"
        let isRequired: Bool
        private let state = Mutex((taken: [AuditCopy](), isDown: false))

        struct Down: Error {}

        init(isRequired: Bool = false) { self.isRequired = isRequired }

        var taken: [AuditCopy] { state.withLock { $0.taken } }

        func setDown(_ isDown: Bool) { state.withLock { $0.isDown = isDown } }

        func send(_ copies: [AuditCopy]) async throws {
            try state.withLock {
                if $0.isDown { throw Down() }
                $0.taken += copies
            }
        }

        func shutdown() async {}
    }

    private func lines(_ bench: Bench) throws -> [String] {
        try bench.names().flatMap { try bench.lines($0) }.map { String(decoding: $0.dropLast(), as: UTF8.self) }
    }

    private func texts(_ copies: [AuditCopy]) -> [String] { copies.map { String(decoding: $0.text, as: UTF8.self) } }

    /// All lines but those of the opening, which is before there are sinks.
    private func copied(_ bench: Bench) throws -> [String] { Array(try lines(bench).dropFirst(2)) }

    // MARK: - Delivery

    @Test func `a sink gets every line once and in order`() async throws {
        let bench = try Bench()
        let sink = TestSink()
        let trail = try bench.open(sinks: [sink])
        await withTaskGroup(of: Void.self) { group in
            for number in 0..<300 { group.addTask { _ = try? await trail.append(Bench.record(number)) } }
        }
        await trail.shutdown()
        #expect(try texts(sink.taken) == copied(bench))
        #expect(trail.sinks[0].delivered == trail.head.sequence && trail.sinks[0].dropped == 0)
    }

    @Test func `a sink that is down holds nobody up, and is told what it missed`() async throws {
        let bench = try Bench()
        let sink = TestSink()
        let trail = try bench.open(queued: 10, sinks: [sink])
        sink.setDown(true)
        for number in 0..<20 { try await trail.append(Bench.record(number)) }
        try await trail.checkHealth()
        let status = trail.sinks[0]
        #expect(status.dropped == 30 && status.waiting == 11)
        sink.setDown(false)
        while trail.sinks[0].delivered < trail.head.sequence { try await Task.sleep(for: .milliseconds(10)) }
        try await trail.append(Bench.record(20))
        await trail.shutdown()
        let all = try lines(bench)
        // Lines 3 to 12, then the gap, then what came after it.
        #expect(texts(sink.taken) == Array(all[2..<12]) + [#"{"type":"gap","first":13,"last":42}"#] + Array(all[42...]))
        #expect(sink.taken[10].isGap && sink.taken[10].first == 13 && sink.taken[10].last == 42)
        #expect(bench.fault() == nil)
    }

    @Test func `an operation waits for a required sink`() async throws {
        let bench = try Bench()
        let sink = TestSink(isRequired: true)
        let trail = try bench.open(sinks: [sink])
        let head = try await trail.append(Bench.record(0))
        #expect(sink.taken.contains { $0.last == head.sequence })
        sink.setDown(true)
        let waiting = Task { try await trail.append(Bench.record(1)) }
        while trail.sinks[0].failure == nil { try await Task.sleep(for: .milliseconds(5)) }
        await #expect(throws: AuditError.self) { try await trail.checkHealth() }
        #expect(!sink.taken.contains { $0.last > head.sequence + 1 })
        sink.setDown(false)
        let late = try await waiting.value
        #expect(sink.taken.contains { $0.last == late.sequence })
        try await trail.checkHealth()
        await trail.shutdown()
        #expect(try bench.numbers() == [0, 1])
    }

    @Test func `a gap is no record: who waited for one of its lines is refused`() async throws {
        let bench = try Bench()
        let sink = TestSink(isRequired: true)
        let trail = try bench.open(queued: 4, sinks: [sink])
        try await trail.append(Bench.record(0))
        sink.setDown(true)
        let operations = (1...6).map { number in Task { try await trail.append(Bench.record(number)) } }
        while trail.head.sequence < 3 + 2 + 6 { try await Task.sleep(for: .milliseconds(5)) }
        sink.setDown(false)
        var refused = 0
        for operation in operations {
            switch await operation.result {
            case .success(let head): #expect(sink.taken.contains { !$0.isGap && $0.first == head.sequence })
            case .failure: refused += 1
            }
        }
        #expect(refused > 0)
        await trail.shutdown()
        #expect(try bench.numbers().sorted() == Array(0...6))
    }

    // MARK: - Syslog

    /// Checks a message of RFC 5424 and gives its content.
    private func content(_ message: [UInt8]) throws -> String {
        let text = String(decoding: message, as: UTF8.self)
        let match = try #require(
            text.wholeMatch(
                of: #/<110>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z gateway-1 hkms test audit - (\{.*\})/#), "\(text)")
        return String(match.1)
    }

    private func appendTen(_ bench: Bench, _ settings: AuditSinkSettings) async throws -> AuditTrail {
        let sink = try AuditSinkFactory.make(settings, installation: "test", gateway: "gateway-1")
        let trail = try bench.open(sinks: [sink])
        for number in 0..<10 { try await trail.append(Bench.record(number)) }
        while trail.sinks[0].delivered < trail.head.sequence { try await Task.sleep(for: .milliseconds(5)) }
        return trail
    }

    @Test func `syslog takes datagrams at a Unix socket`() async throws {
        let bench = try Bench()
        try FileManager.default.createDirectory(atPath: bench.folder, withIntermediateDirectories: true)
        let path = bench.path("log")
        let socket = try #require(UnixReceiver(path))
        let trail = try await appendTen(bench, AuditSinkSettings(name: "local", kind: .syslog, socket: path))
        await trail.shutdown()
        let copied = try copied(bench)
        #expect(try await socket.messages(copied.count).map(content) == copied)
        // No daemon: it is told, and nothing is lost but by the queue.
        socket.close()
        let sink = try AuditSinkFactory.make(
            AuditSinkSettings(name: "local", kind: .syslog, socket: path), installation: "test", gateway: "gateway-1")
        let next = try bench.open(sinks: [sink])
        try await next.append(Bench.record(10))
        while next.sinks[0].failure == nil { try await Task.sleep(for: .milliseconds(5)) }
        #expect(next.sinks[0].failure?.contains(path) == true && next.sinks[0].waiting == 2)
        let again = try #require(UnixReceiver(path))
        while next.sinks[0].delivered < next.head.sequence { try await Task.sleep(for: .milliseconds(5)) }
        await next.shutdown()
        let tail = try lines(bench).suffix(2)
        #expect(try await again.messages(2).map(content) == Array(tail))
        again.close()
    }

    @Test func `syslog takes messages over TCP, each with its length`() async throws {
        let bench = try Bench()
        let received = Mutex<[UInt8]>([])
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        Collector { bytes in received.withLock { $0 += bytes } })
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        let port = try #require(server.localAddress?.port)
        let settings = AuditSinkSettings(name: "far", kind: .syslogTCP, host: "127.0.0.1", port: port)
        let trail = try await appendTen(bench, settings)
        await trail.shutdown()
        let copied = try copied(bench)
        var messages: [String] = []
        for _ in 0..<1000 where messages.count < copied.count {
            try await Task.sleep(for: .milliseconds(5))
            messages = []
            var rest = received.withLock { $0 }[...]
            while let space = rest.firstIndex(of: 0x20),
                let count = Int(String(decoding: rest[..<space], as: UTF8.self)),
                rest.count > space - rest.startIndex + count
            {
                messages.append(try content(Array(rest[(space + 1)...].prefix(count))))
                rest = rest[(space + 1)...].dropFirst(count)
            }
        }
        #expect(messages == copied)
        try await server.close().get()
        // Nobody listens.
        let sink = try AuditSinkFactory.make(settings, installation: "test", gateway: "gateway-1")
        let next = try bench.open(sinks: [sink])
        try await next.append(Bench.record(10))
        while next.sinks[0].failure == nil { try await Task.sleep(for: .milliseconds(5)) }
        #expect(next.sinks[0].failure?.contains("127.0.0.1:\(port)") == true)
        await next.shutdown()
    }

    // MARK: - HTTP

    private struct Post: Sendable {
        let body: String
        let contentType: String?
        let log: String?
        let lines: String?
        let authorization: String?
    }

    @Test func `an HTTP server takes lines, is asked again after an error, and gets the token`() async throws {
        let bench = try Bench()
        try FileManager.default.createDirectory(atPath: bench.folder, withIntermediateDirectories: true)
        let token = bench.path("token")
        #expect(
            FileManager.default.createFile(
                atPath: token, contents: Data("abc.def\n".utf8), attributes: [.posixPermissions: 0o600]))
        let posts = Mutex<[Post]>([])
        let failures = Mutex(2)
        let router = Router()
        router.post("/audit") { request, _ -> HTTPResponse.Status in
            func field(_ name: String) -> String? { HTTPField.Name(name).flatMap { request.headers[$0] } }
            let body = try await request.body.collect(upTo: 1 << 24)
            let isDown = failures.withLock { left in
                left -= 1
                return left >= 0
            }
            if isDown { return .serviceUnavailable }
            posts.withLock {
                $0.append(
                    Post(
                        body: String(buffer: body), contentType: request.headers[.contentType],
                        log: field("HKMS-Audit-Log"), lines: field("HKMS-Audit-Lines"),
                        authorization: request.headers[.authorization]))
            }
            return .noContent
        }
        let (ports, found) = AsyncStream<Int>.makeStream()
        let application = Application(
            router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)),
            onServerRunning: { found.yield($0.localAddress?.port ?? 0) },
            logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
        let server = Task { try await application.runService(gracefulShutdownSignals: []) }
        var iterator = ports.makeAsyncIterator()
        let port = try #require(await iterator.next())
        let trail = try await appendTen(
            bench,
            AuditSinkSettings(
                name: "siem", kind: .http, isRequired: true, url: "http://127.0.0.1:\(port)/audit", tokenFile: token))
        await trail.shutdown()
        server.cancel()
        _ = try? await server.value
        let all = posts.withLock { $0 }
        #expect(all.allSatisfy { $0.contentType == "application/x-ndjson" && $0.log == "test/gateway-1" })
        #expect(all.allSatisfy { $0.authorization == "Bearer abc.def" })
        let copied = try copied(bench)
        #expect(all.map(\.body).joined() == copied.map { $0 + "\n" }.joined())
        var next = 3
        for post in all {
            let count = post.body.split(separator: "\n").count
            #expect(post.lines == "\(next)-\(next + count - 1)")
            next += count
        }
        #expect(failures.withLock { $0 } < 0)
    }

    @Test func `files that a sink needs are named where they cannot be used`() async throws {
        let bench = try Bench()
        let settings = AuditSinkSettings(
            name: "siem", kind: .http, url: "https://siem.example/", caCertificate: bench.path("none.pem"))
        #expect(throws: AuditSinkError.caCertificate(path: bench.path("none.pem"))) {
            try AuditSinkFactory.make(settings, installation: "test", gateway: "gateway-1")
        }
        let sink = try AuditSinkFactory.make(
            AuditSinkSettings(name: "siem", kind: .http, url: "http://127.0.0.1:1/", tokenFile: bench.path("token")),
            installation: "test", gateway: "gateway-1")
        let trail = try bench.open(sinks: [sink])
        try await trail.append(Bench.record(0))
        while trail.sinks[0].failure == nil { try await Task.sleep(for: .milliseconds(5)) }
        #expect(trail.sinks[0].failure?.contains("token file") == true)
        await trail.shutdown()
    }
}

/// Hands on what a connection brings.
private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer

    private let take: @Sendable ([UInt8]) -> Void

    init(_ take: @escaping @Sendable ([UInt8]) -> Void) { self.take = take }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        take(Array(unwrapInboundIn(data).readableBytesView))
    }
}

/// A syslog daemon's socket, which somebody reads: few datagrams wait in one.
private final class UnixReceiver: Sendable {
    private let descriptor: Int32
    private let taken = Mutex<[[UInt8]]>([])
    private let thread = DispatchQueue(label: "test.syslog")

    init?(_ path: String) {
        unlink(path)
        #if canImport(Glibc)
            let made = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        #else
            let made = socket(AF_UNIX, SOCK_DGRAM, 0)
        #endif
        descriptor = made
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let isBound = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isBound else { return nil }
        thread.async { [weak self] in
            var buffer = [UInt8](repeating: 0, count: 1 << 18)
            while case let count = recv(made, &buffer, buffer.count, 0), count > 0 {
                self?.taken.withLock { $0.append(Array(buffer[..<count])) }
            }
        }
    }

    /// Waits for so many messages.
    func messages(_ count: Int) async throws -> [[UInt8]] {
        for _ in 0..<2000 where taken.withLock({ $0.count }) < count { try await Task.sleep(for: .milliseconds(5)) }
        return taken.withLock { $0 }
    }

    /// Nothing is taken any more.
    func close() {
        shutdown(descriptor, Int32(SHUT_RDWR))
        thread.sync {}
        Foundation.close(descriptor)
    }
}
