import AuditLog
import NIOCore
import NIOPosix
import NIOSSL
import Synchronization

/// Syslog over TCP, each message with its length in front (octet counting, RFC 6587), under TLS (RFC 5425) but to
/// this machine.
///
/// The protocol has no acknowledgement: what the kernel has taken counts as sent, and is lost where the connection
/// breaks then. The numbers of the lines show it.
final class SyslogTCPSink: AuditSink {
    private static let timeout = TimeAmount.seconds(10)

    let name: String
    let isRequired: Bool
    private let host: String
    private let port: Int
    private let tls: NIOSSLContext?
    private let format: SyslogFormat
    private let channel = Mutex<(any Channel)?>(nil)

    init(_ settings: AuditSinkSettings, format: SyslogFormat) throws(AuditSinkError) {
        name = settings.name
        isRequired = settings.isRequired
        host = settings.host
        port = settings.port
        self.format = format
        guard !settings.isLocal || settings.caCertificate != nil else {
            tls = nil
            return
        }
        let configuration = try AuditSinkFactory.tls(settings)
        do {
            tls = try NIOSSLContext(configuration: configuration)
        } catch {
            throw .unreachable("no TLS: \(error)")
        }
    }

    func send(_ copies: [AuditCopy]) async throws {
        do {
            let channel = try await connected()
            var buffer = ByteBuffer()
            for copy in copies {
                let message = format.message(copy)
                buffer.writeString("\(message.count) ")
                buffer.writeBytes(message)
            }
            let write: EventLoopFuture<Void> = channel.writeAndFlush(buffer)
            // A peer that takes nothing would hold the write for ever.
            let limit = channel.eventLoop.scheduleTask(in: Self.timeout) { channel.close(promise: nil) }
            defer { limit.cancel() }
            try await write.get()
        } catch {
            await disconnect()
            throw AuditSinkError.unreachable("\(host):\(port): \(error)")
        }
    }

    func shutdown() async { await disconnect() }

    private func connected() async throws -> any Channel {
        if let held = channel.withLock({ $0 }), held.isActive { return held }
        let tls = tls
        let host = host
        let made = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connectTimeout(Self.timeout)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    guard let tls else { return }
                    let isAddress = (try? SocketAddress(ipAddress: host, port: 0)) != nil
                    try channel.pipeline.syncOperations.addHandler(
                        NIOSSLClientHandler(context: tls, serverHostname: isAddress ? nil : host))
                }
            }
            .connect(host: host, port: port).get()
        channel.withLock { $0 = made }
        return made
    }

    private func disconnect() async {
        let held = channel.withLock { held in
            defer { held = nil }
            return held
        }
        try? await held?.close().get()
    }
}
