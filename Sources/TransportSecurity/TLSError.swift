/// Why TLS cannot be set up. Names files, never what is in them.
public enum TLSError: Error, Equatable, CustomStringConvertible {
    /// A certificate chain and its private key cannot be used.
    case identity(certificate: String, key: String, reason: String)
    /// A file of authorities cannot be used.
    case authorities(path: String, reason: String)
    /// A list of revoked certificates cannot be used.
    case revocationList(path: String, reason: String)

    /// What is wrong, without the files' names.
    public var reason: String {
        switch self {
        case .identity(_, _, let reason), .authorities(_, let reason), .revocationList(_, let reason): reason
        }
    }

    public var description: String {
        switch self {
        case .identity(let certificate, let key, let reason):
            "the certificate \(certificate) with the key \(key) cannot be used: \(reason)"
        case .authorities(let path, let reason): "the authorities in \(path) cannot be used: \(reason)"
        case .revocationList(let path, let reason): "the revocation list \(path) cannot be used: \(reason)"
        }
    }
}
