import AuditLog
import Dispatch
import Synchronization

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// Syslog on this machine: a datagram a message to a Unix socket such as `/dev/log`.
final class SyslogDatagramSink: AuditSink {
    /// How long the daemon may leave its socket full.
    private static let timeoutSeconds = 5

    let name: String
    let isRequired: Bool
    private let path: String
    private let format: SyslogFormat
    private let queue = DispatchQueue(label: "hkms.audit-syslog")
    /// -1 where there is none.
    private let socket = Mutex<Int32>(-1)

    init(_ settings: AuditSinkSettings, format: SyslogFormat) {
        name = settings.name
        isRequired = settings.isRequired
        path = settings.socket
        self.format = format
    }

    deinit { disconnect() }

    func send(_ copies: [AuditCopy]) async throws {
        let messages = copies.map { format.message($0) }
        let result: Result<Void, AuditSinkError> = await withCheckedContinuation { continuation in
            queue.async {
                do throws(AuditSinkError) {
                    try self.send(messages)
                    continuation.resume(returning: .success(()))
                } catch {
                    self.disconnect()
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        try result.get()
    }

    func shutdown() async { disconnect() }

    private func send(_ messages: [[UInt8]]) throws(AuditSinkError) {
        let descriptor = try connected()
        for message in messages {
            while systemSend(descriptor, message, message.count) < 0 {
                guard errno == EINTR else { throw failure("send") }
            }
        }
    }

    private func connected() throws(AuditSinkError) -> Int32 {
        let held = socket.withLock { $0 }
        if held >= 0 { return held }
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        guard name.count < MemoryLayout.size(ofValue: address.sun_path) else {
            throw .unreachable("the path of the socket \(path) is too long")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let made = systemSocket()
        guard made >= 0 else { throw failure("socket") }
        var limit = timeval(tv_sec: Self.timeoutSeconds, tv_usec: 0)
        setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        let isConnected = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) == 0
            }
        }
        guard isConnected else {
            let error = failure("connect")
            close(made)
            throw error
        }
        socket.withLock { $0 = made }
        return made
    }

    private func disconnect() {
        let held = socket.withLock { held in
            defer { held = -1 }
            return held
        }
        if held >= 0 { close(held) }
    }

    private func failure(_ call: String) -> AuditSinkError {
        .unreachable("\(path): \(call): \(String(cString: strerror(errno)))")
    }
}

private func systemSocket() -> Int32 {
    #if canImport(Glibc)
        socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    #else
        socket(AF_UNIX, SOCK_DGRAM, 0)
    #endif
}

private func systemSend(_ descriptor: Int32, _ bytes: [UInt8], _ count: Int) -> Int {
    #if canImport(Darwin)
        send(descriptor, bytes, count, 0)
    #else
        send(descriptor, bytes, count, Int32(MSG_NOSIGNAL))
    #endif
}
