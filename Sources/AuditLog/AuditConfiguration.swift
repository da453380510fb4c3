import Attestation
import ServiceKit

/// What a configuration file says about the audit log; docs/audit.md has every key.
///
/// ```yaml
/// audit:
///   directory: audit             # default: audit
///   fileMiB: 64                  # default: 64
///   hash: [subject, keySet]      # default: none
///   publicKeys: [64 hex digits]  # default: none
///   queued: 10000                # default: 10000
///   sinks:
///     - name: siem
///       kind: http
///       url: https://siem.example/hkms
/// ```
public struct AuditConfiguration: Sendable {
    /// A folder that belongs to one gateway process.
    public let directory: String
    /// A file of this size or more is followed by a new one.
    public let fileBytes: Int
    /// Identifiers of which a keyed hash is written in their place.
    public let hashed: Set<AuditIdentifierPolicy.Field>
    /// Keys whose signatures count beside that of the installation: its earlier ones. `hkms audit verify` takes all
    /// of them from here.
    public let publicKeys: [VerificationKey]
    /// Lines that may wait for a sink.
    public let queued: Int
    public let sinks: [AuditSinkSettings]

    public init(
        directory: String, fileBytes: Int = 64 << 20, hashed: Set<AuditIdentifierPolicy.Field> = [],
        publicKeys: [VerificationKey] = [], queued: Int = 10_000, sinks: [AuditSinkSettings] = []
    ) {
        self.directory = directory
        self.fileBytes = fileBytes
        self.hashed = hashed
        self.publicKeys = publicKeys
        self.queued = queued
        self.sinks = sinks
    }

    /// Reads the section `audit`, or the defaults where there is none. Errors are collected by the document.
    /// - Parameter directory: relative paths start here: the configuration file's folder.
    public init(_ section: YAMLSection?, directory base: String) {
        func path(_ value: String) -> String { value.hasPrefix("/") ? value : base + "/" + value }
        let fields = (section?.strings("hash", default: []) ?? []).compactMap { name in
            let field = AuditIdentifierPolicy.Field(rawValue: name)
            if field == nil {
                let known = AuditIdentifierPolicy.Field.allCases.map(\.rawValue).joined(separator: ", ")
                section?.fail("hash", "must be some of \(known)")
            }
            return field
        }
        let keys = (section?.strings("publicKeys", default: []) ?? []).compactMap { hex in
            let key = VerificationKey(hex: hex)
            if key == nil { section?.fail("publicKeys", "must be Ed25519 public keys: 64 lower-case hex digits each") }
            return key
        }
        var names: Set<String> = []
        let sinks = (section?.optionalSections("sinks") ?? []).map { entry in
            let sink = AuditSinkSettings(entry, path: path)
            if !names.insert(sink.name).inserted { entry.fail("name", "is used by two sinks") }
            return sink
        }
        self.init(
            directory: path(section?.string("directory", default: "audit") ?? "audit"),
            fileBytes: (section?.int("fileMiB", default: 64, in: 1...65_536) ?? 64) << 20, hashed: Set(fields),
            publicKeys: keys, queued: section?.int("queued", default: 10_000, in: 1...1_000_000) ?? 10_000,
            sinks: sinks)
    }
}

/// One sink, as the operator names it.
public struct AuditSinkSettings: Sendable, Hashable {
    public enum Kind: String, Sendable, CaseIterable {
        /// POST of newline-delimited JSON.
        case http
        /// RFC 5424 as datagrams to a Unix socket.
        case syslog
        /// RFC 5424 over TCP with octet counting, under TLS (RFC 5425) but to this machine.
        case syslogTCP
    }

    public let name: String
    public let kind: Kind
    /// Whether operations wait until their records are there.
    public let isRequired: Bool
    /// Of kind `http`.
    public let url: String
    /// A file with the bearer token for `url`.
    public let tokenFile: String?
    /// Certificates to trust, PEM, in place of the system's.
    public let caCertificate: String?
    /// Path of the Unix socket, of kind `syslog`.
    public let socket: String
    /// Of kind `syslogTCP`.
    public let host: String
    public let port: Int

    /// Whether what is sent stays on this machine.
    public var isLocal: Bool { Self.isLoopback(host) }

    init(_ section: YAMLSection, path: (String) -> String) {
        name = section.string("name")
        if section.contains("name"), !AuditLine.FileStart.isName(name) {
            section.fail("name", "must be 1 to 64 printable ASCII characters without spaces")
        }
        kind = section.enumeration("kind", of: Kind.self)
        isRequired = section.bool("required", default: false)
        url = kind == .http ? section.string("url") : ""
        tokenFile = kind == .http ? section.optionalString("tokenFile").map(path) : nil
        caCertificate = kind == .syslog ? nil : section.optionalString("caCertificate").map(path)
        socket = kind == .syslog ? path(section.string("socket", default: "/dev/log")) : ""
        host = kind == .syslogTCP ? section.string("host") : Self.host(of: url) ?? ""
        port = kind == .syslogTCP ? section.int("port", default: 6514, in: 1...65535) : 0
        if kind == .http, section.contains("url") {
            let isPlain = url.hasPrefix("http://")
            if !isPlain && !url.hasPrefix("https://") || host.isEmpty {
                section.fail("url", "must be https://HOST[:PORT]/PATH")
            } else if isPlain, !isLocal {
                section.fail("url", "must be https:// unless it is on this machine: names are in the records")
            }
        }
    }

    public init(
        name: String, kind: Kind, isRequired: Bool = false, url: String = "", tokenFile: String? = nil,
        caCertificate: String? = nil, socket: String = "/dev/log", host: String = "", port: Int = 6514
    ) {
        self.name = name
        self.kind = kind
        self.isRequired = isRequired
        self.url = url
        self.tokenFile = tokenFile
        self.caCertificate = caCertificate
        self.socket = socket
        self.host = kind == .http ? Self.host(of: url) ?? "" : host
        self.port = port
    }

    static func isLoopback(_ host: String) -> Bool { ["127.0.0.1", "::1", "localhost"].contains(host) }

    /// The host of a URL without user information; nil for what is none.
    private static func host(of url: String) -> String? {
        guard let scheme = url.firstRange(of: "://") else { return nil }
        let authority = url[scheme.upperBound...].prefix { !"/?#".contains($0) }
        guard !authority.contains("@"), url.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else { return nil }
        if authority.hasPrefix("[") { return String(authority.dropFirst().prefix { $0 != "]" }) }
        return String(authority.prefix { $0 != ":" })
    }
}
