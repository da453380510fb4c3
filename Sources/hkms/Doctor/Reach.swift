import Foundation
import NIOCore
import NIOPosix

/// Whether somebody takes connections at an address. Nothing is said over them.
enum TCPReach {
    private static let timeout = TimeAmount.seconds(5)

    /// - Returns: why not; nil where somebody does.
    static func failure(_ host: String, _ port: Int) async -> String? {
        do {
            let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .connectTimeout(timeout).connect(host: host, port: port).get()
            try? await channel.close().get()
            return nil
        } catch {
            return reason(error)
        }
    }

    /// Binds, and lets go again.
    /// - Returns: why a server could not; nil where it could.
    static func bindFailure(_ host: String, _ port: Int) async -> String? {
        do {
            let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
                .serverChannelOption(.socketOption(.so_reuseaddr), value: 1).bind(host: host, port: port).get()
            try? await channel.close().get()
            return nil
        } catch {
            return reason(error)
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case let error as IOError: String(cString: strerror(error.errnoCode))
        case let error as NIOConnectionError:
            if error.dnsAError != nil || error.dnsAAAAError != nil, error.connectionErrors.isEmpty {
                "the name \(error.host) is not known"
            } else {
                error.connectionErrors.first.map { reason($0.error) } ?? "no connection"
            }
        case ChannelError.connectTimeout: "no answer within \(timeout.nanoseconds / 1_000_000_000) s"
        default: "failed (\(type(of: error)))"
        }
    }
}

/// Whether a daemon of this machine takes messages.
enum LocalSocket {
    /// - Returns: why not; nil where it does.
    static func failure(ofDatagrams path: String) -> String? {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let name = Array(path.utf8)
        guard name.count < MemoryLayout.size(ofValue: address.sun_path) else { return "its path is too long" }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        #if canImport(Glibc)
            let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        #else
            let descriptor = socket(AF_UNIX, SOCK_DGRAM, 0)
        #endif
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        defer { close(descriptor) }
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        return result == 0 ? nil : String(cString: strerror(errno))
    }
}
