import Crypto
import SecretMemory

/// Principals and the digests of their bearer tokens, from a YAML file:
///
/// ```yaml
/// tokens:
///   - subject: alice
///     tenant: hospital-a        # default: default
///     groups: [radiology]       # default: none
///     tokenSHA256: 64 hexadecimal digits
/// ```
///
/// The file holds no token. SHA-256 without salt and stretching is enough because tokens are
/// 256 random bits, see ``generateToken()``.
public struct StaticTokenFile: Authenticator {
    /// The issuer of every principal of such a file.
    public static let issuer = "static"
    /// The longest token looked at, in bytes.
    public static let maximumTokenBytes = 512
    /// What every generated token begins with, so that secret scanners find it.
    public static let tokenPrefix = "hkms_"

    private let principals: [Principal]
    private let digests: [[UInt8]]

    /// Reads the file at `path`.
    /// - Throws: ``ConfigurationError`` with file and line of everything that is wrong.
    public init(path: String) throws(ConfigurationError) {
        try self.init(YAMLDocument(path: path))
    }

    /// Reads `text`; `name` stands for the file in errors.
    /// - Throws: ``ConfigurationError`` with file and line of everything that is wrong.
    public init(text: String, name: String) throws(ConfigurationError) {
        try self.init(YAMLDocument(text: text, name: name))
    }

    private init(_ document: YAMLDocument) throws(ConfigurationError) {
        var principals: [Principal] = []
        var digests: [[UInt8]] = []
        for entry in document.root.sections("tokens") {
            let subject = entry.string("subject")
            let tenant = entry.string("tenant", default: "default")
            let groups = entry.strings("groups", default: [])
            for (key, names) in [("subject", [subject]), ("tenant", [tenant]), ("groups", groups)] {
                if entry.contains(key), !names.allSatisfy(Self.isName) {
                    entry.fail(key, "a name is 1 to 256 bytes without control characters")
                }
            }
            if Self.readsAsAnothers(subject) {
                entry.fail(
                    "subject", "begins as names of other issuers do: a URL or the word certificate, then a blank")
            }
            let digest = HexCoding.decode(entry.string("tokenSHA256").lowercased()) ?? []
            if entry.contains("tokenSHA256"), digest.count != SHA256.byteCount {
                entry.fail("tokenSHA256", "is not 64 hexadecimal digits, the SHA-256 digest of a token")
            }
            if !digest.isEmpty, digests.contains(digest) {
                entry.fail("tokenSHA256", "is the digest of an earlier entry too; each principal has its own token")
            }
            principals.append(Principal(issuer: Self.issuer, subject: subject, tenant: tenant, groups: groups))
            digests.append(digest)
        }
        try document.finish()
        self.principals = principals
        self.digests = digests
    }

    /// The number of tokens.
    public var count: Int { principals.count }

    /// A token of such a file is bound to no certificate.
    public func authenticate(bearer token: String, over _: ClientCertificate?) -> Principal? {
        authenticate(bearer: token)
    }

    /// Compares the token's digest with all digests in constant time, whichever matches.
    public func authenticate(bearer token: String) -> Principal? {
        guard (1...Self.maximumTokenBytes).contains(token.utf8.count) else { return nil }
        let digest = Array(SHA256.hash(data: Array(token.utf8)))
        var match = -1
        for index in digests.indices {
            let equal = equalInConstantTime(digest, digests[index]) ? 1 : 0
            // Digests are distinct, so at most one index is taken; no branch tells which.
            match += equal * (index + 1)
        }
        return match < 0 ? nil : principals[match]
    }

    /// A new token: ``tokenPrefix`` and 32 random bytes in base64url. It is to be shown once and not kept.
    public static func generateToken() -> String {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<32).map { _ in UInt8.random(in: .min ... .max, using: &generator) }
        return tokenPrefix + Base64URL.encode(bytes)
    }

    /// The value of `tokenSHA256` for a token.
    public static func tokenSHA256(_ token: String) -> String {
        HexCoding.encode(SHA256.hash(data: Array(token.utf8)))
    }

    /// Whether a configuration file that has `ISSUER SUBJECT` would mean somebody else by `subject`.
    private static func readsAsAnothers(_ subject: String) -> Bool {
        guard let blank = subject.utf8.firstIndex(of: UInt8(ascii: " ")) else { return false }
        let first = subject[..<blank]
        return first.contains("://") || first == CertificateCallers.issuer
    }

    static func isName(_ text: String) -> Bool {
        (1...256).contains(text.utf8.count)
            && text.unicodeScalars.allSatisfy { $0.properties.generalCategory != .control }
    }
}
