import FoundationEssentials
import NIOCore

/// The address of a gateway, checked.
struct GatewayAddress: Sendable, Hashable {
    /// Scheme, host, port and path, without a slash at the end.
    let text: String
    let usesTLS: Bool

    init(_ address: String) throws(HKMSClientError) {
        let shown = String(address.prefix(200))
        guard address.utf8.count <= 2_048, address.utf8.allSatisfy({ (0x21...0x7E).contains($0) }),
            let components = URLComponents(string: address)
        else { throw .invalidAddress(address: shown, reason: "is no URL") }
        // The address stands in errors and logs, so none with a password gets further than this.
        guard components.user == nil, components.password == nil else {
            throw .invalidAddress(address: components.host ?? "", reason: "must not hold a user name or password")
        }
        guard components.query == nil, components.fragment == nil else {
            throw .invalidAddress(address: shown, reason: "must not have a query or fragment")
        }
        guard let scheme = components.scheme?.lowercased(), scheme == "http" || scheme == "https" else {
            throw .invalidAddress(address: shown, reason: "begins neither with https:// nor with http://")
        }
        guard let host = components.host, !host.isEmpty, host != "[]" else {
            throw .invalidAddress(address: shown, reason: "has no host")
        }
        if let port = components.port, !(1...65_535).contains(port) {
            throw .invalidAddress(address: shown, reason: "has a port outside of 1 to 65535")
        }
        usesTLS = scheme == "https"
        guard usesTLS || Self.isLoopback(host) else { throw .plainHTTP(address: shown) }
        var text = address
        while text.hasSuffix("/") { text.removeLast() }
        self.text = text
    }

    private static func isLoopback(_ host: String) -> Bool {
        var host = host.lowercased()
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        if host == "localhost" { return true }
        // Parsed as an address: 127.0.0.1.example is a name like any other.
        guard let address = try? SocketAddress(ipAddress: host, port: 0) else { return false }
        return switch address {
        case .v4: host.hasPrefix("127.")
        case .v6: address.ipAddress == "::1"
        case .unixDomainSocket: false
        }
    }
}
