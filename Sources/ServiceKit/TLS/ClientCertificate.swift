/// What a client's certificate says of the client, once TLS has verified it.
public struct ClientCertificate: Sendable, Hashable {
    /// The subject alternative names that are URIs, which have `://` in them, or DNS names, which have not.
    public let names: [String]
    /// The SHA-256 digest of the certificate in DER: what `x5t#S256` says (RFC 8705 section 3.1).
    public let thumbprint: [UInt8]

    public init(names: [String], thumbprint: [UInt8]) {
        self.names = names
        self.thumbprint = thumbprint
    }
}
