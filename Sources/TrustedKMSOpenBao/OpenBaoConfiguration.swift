import FoundationEssentials
import NIOCore
import SecretMemory

/// Where an OpenBao or Vault server is, and how to authenticate to it. Checked when it is made.
public struct OpenBaoConfiguration: Sendable {
    /// Scheme, host and port, without a path: `https://bao.example.com:8200`.
    public let address: String
    /// Path of the Transit engine.
    public let mount: String
    /// Value of `X-Vault-Namespace`.
    public let namespace: String?
    public let authentication: OpenBaoAuthentication
    /// PEM file of the only authorities to believe; nil for those of the system.
    public let caCertificateFile: String?
    /// For one request, connecting included.
    public let requestTimeout: Duration

    let usesTLS: Bool

    /// - Parameters:
    ///   - address: `https://...`; `http://...` for a loopback host alone.
    ///   - mount: segments of letters, digits, `-`, `_` and `.`, joined by `/`.
    ///   - requestTimeout: 100 ms to 5 minutes.
    /// - Throws: ``OpenBaoConfigurationError``.
    public init(
        address: String, mount: String = "transit", namespace: String? = nil,
        authentication: OpenBaoAuthentication, caCertificateFile: String? = nil,
        requestTimeout: Duration = .seconds(10)
    ) throws(OpenBaoConfigurationError) {
        (self.address, usesTLS) = try Self.parse(address: address)
        guard Self.isPath(mount) else { throw .invalidMount }
        self.mount = mount
        if let namespace, !Self.isPath(namespace) { throw .invalidNamespace }
        self.namespace = namespace
        if case .appRole(let roleID, _, let mount) = authentication {
            guard Self.isPath(mount) else { throw .invalidMount }
            guard (1...1024).contains(roleID.utf8.count), roleID.utf8.allSatisfy(OpenBaoToken.isAllowed) else {
                throw .invalidRoleID
            }
        }
        self.authentication = authentication
        self.caCertificateFile = caCertificateFile
        guard (.milliseconds(100) ... .seconds(300)).contains(requestTimeout) else { throw .invalidTimeout }
        self.requestTimeout = requestTimeout
    }

    private static func parse(
        address: String
    ) throws(OpenBaoConfigurationError) -> (origin: String, usesTLS: Bool) {
        guard let url = URL(string: address), let scheme = url.scheme?.lowercased(), let host = url.host,
            !host.isEmpty
        else { throw .invalidAddress(reason: "it is not a URL with a host") }
        // The address itself stays out of errors: somebody may have put a password into it.
        guard url.user == nil, url.password == nil else { throw .invalidAddress(reason: "it names a user") }
        guard url.query == nil, url.fragment == nil, url.path.isEmpty || url.path == "/" else {
            throw .invalidAddress(reason: "it has a path or query; the path of Transit is the mount")
        }
        if let port = url.port, !(1...65535).contains(port) {
            throw .invalidAddress(reason: "its port is not between 1 and 65535")
        }
        let bare = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        switch scheme {
        case "https": break
        case "http": guard isLoopback(bare) else { throw .plainHTTP(host: bare) }
        default: throw .invalidAddress(reason: "its scheme is neither https nor http")
        }
        let port = url.port ?? (scheme == "https" ? 443 : 80)
        let shown = bare.contains(":") ? "[\(bare)]" : bare
        return ("\(scheme)://\(shown):\(port)", scheme == "https")
    }

    private static func isLoopback(_ host: String) -> Bool {
        if host.lowercased() == "localhost" { return true }
        switch try? SocketAddress(ipAddress: host, port: 0) {
        case .v4(let address): return withUnsafeBytes(of: address.address.sin_addr) { $0.first == 127 }
        case .v6(let address):
            return withUnsafeBytes(of: address.address.sin6_addr) {
                $0.dropLast().allSatisfy { $0 == 0 } && $0.last == 1
            }
        default: return false
        }
    }

    /// Safe in a URL path without escaping, and not able to climb out of it.
    private static func isPath(_ path: String) -> Bool {
        path.utf8.count <= 256
            && path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { segment in
                !segment.isEmpty && segment.first != "."
                    && segment.utf8.allSatisfy { byte in
                        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
                            || byte == 0x2D || byte == 0x2E || byte == 0x5F
                    }
            }
    }
}

/// How the adapter gets its token.
public enum OpenBaoAuthentication: Sendable {
    /// A token from elsewhere. Renewed while it is renewable.
    case token(OpenBaoToken)
    /// A file that holds a token, as the OpenBao or Vault agent writes it. Read again where the token is refused.
    case tokenFile(String)
    /// AppRole login. The secret ID file is read at every login, so it can be replaced, and its secret ID
    /// must allow more than one use.
    case appRole(roleID: String, secretIDFile: String, mount: String = "approle")
}

/// A token, locked in memory between requests.
public final class OpenBaoToken: Sendable {
    private let bytes: SecretBytes

    /// - Parameter bytes: 1 to 8192 visible ASCII characters without quote and backslash.
    public init(copying bytes: borrowing SecretBytes) throws(OpenBaoConfigurationError) {
        guard bytes.withUnsafeBytes(Self.isAllowed) else { throw .invalidToken }
        do throws(SecretMemoryError) {
            self.bytes = try bytes.copy()
        } catch {
            throw .memory(error)
        }
    }

    init?(taking bytes: consuming SecretBytes) {
        guard bytes.withUnsafeBytes(Self.isAllowed) else { return nil }
        self.bytes = bytes
    }

    /// For the request header; this copy cannot be wiped.
    var headerValue: String { bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }

    func equals(_ other: OpenBaoToken) -> Bool { bytes.equals(other.bytes) }

    private static func isAllowed(_ bytes: UnsafeRawBufferPointer) -> Bool {
        (1...8192).contains(bytes.count) && bytes.allSatisfy(isAllowed)
    }

    /// Fit for a header and, unescaped, for a JSON string.
    static func isAllowed(_ byte: UInt8) -> Bool {
        (0x21...0x7E).contains(byte) && byte != 0x22 && byte != 0x5C
    }
}

/// What is wrong with an ``OpenBaoConfiguration``. No case carries a secret.
public enum OpenBaoConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
    case invalidAddress(reason: String)
    /// Tokens and seeds would cross the network in the clear.
    case plainHTTP(host: String)
    case invalidMount
    case invalidNamespace
    case invalidRoleID
    case invalidToken
    case invalidTimeout
    case caCertificate(path: String, reason: String)
    case memory(SecretMemoryError)

    public var description: String {
        switch self {
        case .invalidAddress(let reason):
            "the address of OpenBao is not usable: \(reason); write it as https://host:port"
        case .plainHTTP(let host):
            "http to \(host) would send tokens and seeds in the clear; use https, or run OpenBao on a loopback address"
        case .invalidMount:
            "the mount path may have letters, digits, '-', '_' and '.', in segments joined by '/'; "
                + "see `bao secrets list` and `bao auth list`"
        case .invalidNamespace:
            "the namespace may have letters, digits, '-', '_' and '.', in segments joined by '/'"
        case .invalidRoleID:
            "the AppRole role ID must be 1 to 1024 visible ASCII characters without quote and backslash"
        case .invalidToken:
            "the OpenBao token must be 1 to 8192 visible ASCII characters without quote and backslash"
        case .invalidTimeout:
            "the request timeout must be between 100 ms and 5 minutes"
        case .caCertificate(let path, let reason):
            "the CA certificate file \(path) is not usable: \(reason); it must hold PEM certificates"
        case .memory(let error):
            error.description
        }
    }
}
