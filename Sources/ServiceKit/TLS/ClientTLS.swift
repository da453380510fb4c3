/// How a client of ours speaks TLS: 1.3 alone, X25519MLKEM768 first, and the peer's certificate and host name checked.
public struct ClientTLS: Sendable, Hashable {
    /// PEM file of the authorities that are believed instead of the system's.
    public let authorities: String?

    public init(authorities: String? = nil) { self.authorities = authorities }
}
