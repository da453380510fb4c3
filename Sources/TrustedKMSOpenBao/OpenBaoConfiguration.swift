import FoundationEssentials
import KeyManagement
import NIOCore
import SecretMemory

/// Where the OpenBao or Vault servers are, and how to authenticate to them. Checked when it is made.
public struct OpenBaoConfiguration: Sendable {
    /// Scheme, host and port of every node, without a path: `https://bao.example.com:8200`. The first is asked until it
    /// does not serve, then the next.
    public let addresses: [String]
    /// Path of the Transit engine.
    public let mount: String
    /// Value of `X-Vault-Namespace`.
    public let namespace: String?
    public let authentication: OpenBaoAuthentication
    /// How callers log in by themselves; nil where they do not.
    public let delegation: OpenBaoDelegation?
    /// PEM file of the only authorities to believe; nil for those of the system.
    public let caCertificateFile: String?
    /// For one request, connecting included.
    public let requestTimeout: Duration
    /// How long a call that a server did not serve is begun again.
    public let retryTime: Duration

    let usesTLS: Bool

    /// The most addresses.
    public static let maximumAddresses = 16

    /// - Parameters:
    ///   - addresses: 1 to ``maximumAddresses``, each `https://...`; `http://...` for a loopback host alone.
    ///   - mount: segments of letters, digits, `-`, `_` and `.`, joined by `/`.
    ///   - requestTimeout: 100 ms to 5 minutes.
    ///   - retryTime: 0 to 2 minutes. A call takes at most this and the time of its last request. Raft elects a new
    ///     leader in about 12 s.
    /// - Throws: ``OpenBaoConfigurationError``.
    public init(
        addresses: [String], mount: String = "transit", namespace: String? = nil,
        authentication: OpenBaoAuthentication, delegation: OpenBaoDelegation? = nil,
        caCertificateFile: String? = nil, requestTimeout: Duration = .seconds(10), retryTime: Duration = .seconds(15)
    ) throws(OpenBaoConfigurationError) {
        guard (1...Self.maximumAddresses).contains(addresses.count) else { throw .invalidAddressCount }
        var origins: [String] = []
        var usesTLS = false
        for address in addresses {
            let (origin, isTLS) = try Self.parse(address: address)
            origins.append(origin)
            usesTLS = usesTLS || isTLS
        }
        self.addresses = origins
        self.usesTLS = usesTLS
        guard Self.isPath(mount) else { throw .invalidMount }
        self.mount = mount
        if let namespace, !Self.isPath(namespace) { throw .invalidNamespace }
        self.namespace = namespace
        switch authentication {
        case .token, .tokenFile: break
        case .appRole(let roleID, _, let mount, _):
            guard Self.isPath(mount) else { throw .invalidMount }
            guard Self.isName(roleID) else { throw .invalidRoleID }
        case .jwt(let role, _, let mount):
            guard Self.isPath(mount) else { throw .invalidMount }
            guard Self.isName(role) else { throw .invalidRole }
        }
        self.authentication = authentication
        if let delegation {
            guard Self.isPath(delegation.mount) else { throw .invalidMount }
            guard Self.isName(delegation.role) else { throw .invalidRole }
            // What follows is a UUID.
            guard KMSKeyName(delegation.keyPrefix) != nil, delegation.keyPrefix.utf8.count <= 64,
                delegation.keyPrefix.utf8.first != UInt8(ascii: "-")
            else { throw .invalidKeyPrefix }
        }
        self.delegation = delegation
        self.caCertificateFile = caCertificateFile
        guard (.milliseconds(100) ... .seconds(300)).contains(requestTimeout) else { throw .invalidTimeout }
        self.requestTimeout = requestTimeout
        guard (.zero ... .seconds(120)).contains(retryTime) else { throw .invalidRetryTime }
        self.retryTime = retryTime
    }

    /// With one address, of a server or of a load balancer.
    public init(
        address: String, mount: String = "transit", namespace: String? = nil,
        authentication: OpenBaoAuthentication, delegation: OpenBaoDelegation? = nil,
        caCertificateFile: String? = nil, requestTimeout: Duration = .seconds(10), retryTime: Duration = .seconds(15)
    ) throws(OpenBaoConfigurationError) {
        try self.init(
            addresses: [address], mount: mount, namespace: namespace, authentication: authentication,
            delegation: delegation, caCertificateFile: caCertificateFile, requestTimeout: requestTimeout,
            retryTime: retryTime)
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

    /// Fit for a JSON string without escapes.
    private static func isName(_ text: String) -> Bool {
        (1...1024).contains(text.utf8.count) && text.utf8.allSatisfy(OpenBaoToken.isAllowed)
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
    /// AppRole login. The secret ID must allow more than one use. Its file is read at every login, so that it can be
    /// replaced. Where it is `wrapped`, it holds a response-wrapping token of the secret ID, which is unwrapped once;
    /// the secret ID is in no file, and the wrapping token may be deleted after the first login.
    case appRole(roleID: String, secretIDFile: String, mount: String = "approle", wrapped: Bool = false)
    /// JWT login as a workload, for example with the token that Kubernetes projects. The file is read at every login.
    case jwt(role: String, tokenFile: String, mount: String = "jwt")
}

/// How callers log in at the server by JWTs of their own, each for one Transit key that only its principal opens with.
public struct OpenBaoDelegation: Sendable, Hashable {
    /// Path of the JWT auth method.
    public var mount: String
    /// Its role for callers.
    public var role: String
    /// A principal's key has this name, followed by the id of the principal's entity.
    public var keyPrefix: String

    public init(mount: String = "jwt", role: String, keyPrefix: String = "hkms-user-") {
        self.mount = mount
        self.role = role
        self.keyPrefix = keyPrefix
    }
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

    func withUnsafeBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result { bytes.withUnsafeBytes(body) }

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
    case invalidAddressCount
    /// Tokens and seeds would cross the network in the clear.
    case plainHTTP(host: String)
    case invalidMount
    case invalidNamespace
    case invalidRoleID
    case invalidRole
    case invalidKeyPrefix
    case invalidToken
    case invalidTimeout
    case invalidRetryTime
    case caCertificate(path: String, reason: String)
    case memory(SecretMemoryError)

    public var description: String {
        switch self {
        case .invalidAddress(let reason):
            "the address of OpenBao is not usable: \(reason); write it as https://host:port"
        case .invalidAddressCount:
            "name 1 to \(OpenBaoConfiguration.maximumAddresses) addresses of OpenBao, each as https://host:port"
        case .plainHTTP(let host):
            "http to \(host) would send tokens and seeds in the clear; use https, or run OpenBao on a loopback address"
        case .invalidMount:
            "the mount path may have letters, digits, '-', '_' and '.', in segments joined by '/'; "
                + "see `bao secrets list` and `bao auth list`"
        case .invalidNamespace:
            "the namespace may have letters, digits, '-', '_' and '.', in segments joined by '/'"
        case .invalidRoleID:
            "the AppRole role ID must be 1 to 1024 visible ASCII characters without quote and backslash"
        case .invalidRole:
            "the role of the JWT login must be 1 to 1024 visible ASCII characters without quote and backslash; "
                + "see `bao list auth/jwt/role`"
        case .invalidKeyPrefix:
            "the prefix of principals' keys must be 1 to 64 letters, digits, '-', '_' and '.', "
                + "and start with a letter, a digit or '_'"
        case .invalidToken:
            "the OpenBao token must be 1 to 8192 visible ASCII characters without quote and backslash"
        case .invalidTimeout:
            "the request timeout must be between 100 ms and 5 minutes"
        case .invalidRetryTime:
            "the time of retries must be between 0 and 2 minutes"
        case .caCertificate(let path, let reason):
            "the CA certificate file \(path) is not usable: \(reason); it must hold PEM certificates"
        case .memory(let error):
            error.description
        }
    }
}
