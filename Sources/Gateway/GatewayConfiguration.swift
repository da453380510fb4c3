import Attestation
import AuditLog
import EncryptedInference
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import ServerKit
import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a gateway is told by its configuration file; docs/configuration.md has every key.
///
/// The section `kms` belongs to the adapters and is read where they are wired.
public struct GatewayConfiguration: Sendable {
    /// One evaluation unit, as the operator registers it.
    public struct Unit: Sendable {
        public let name: String
        public let url: String
        public let publicKey: VerificationKey
        /// What the unit is shown, and whom it is believed from; used with `https` alone.
        public let tls: ClientTLS
        public let certificate: CertificateFiles?
        public let `operator`: KeySetOwner?

        var registered: RegisteredUnit {
            RegisteredUnit(name: name, verificationKey: publicKey, operator: `operator`)
        }
    }

    public let installation: String
    public let gateway: String
    public let tenant: String
    public let development: Bool
    public let listen: ListenAddress
    public let observability: ObservabilitySettings
    public let lockPolicy: MemoryLockPolicy
    public let objectsDirectory: String
    public let metadataFile: String
    /// The installation's sealed signing secret.
    public let sealedKeyFile: String
    /// Earlier manifest keys that are still believed.
    public let pinnedManifestKeys: [VerificationKey]
    public let units: [Unit]
    public let decryptAnyOwners: [KeySetOwner]
    /// The access policy; nil for the built-in one.
    public let policyFile: String?
    public let audit: AuditConfiguration
    /// What flooded results have where nothing is asked.
    public let release: ReleaseRequest
    public let bodyBytes: Int
    public let threads: Int
    public let queued: Int
    /// Jobs that run in the background at a time.
    public let jobs: Int
    /// Secret keys that stay in locked memory between decryptions; nil for none.
    public let secretKeyCaching: SecretKeyCaching?

    /// Reads everything but the section `kms`. Errors are collected by the document.
    /// - Parameter directory: relative paths start here: the configuration file's folder.
    public init(_ root: YAMLSection, directory: String, processors: Int) {
        func path(_ value: String) -> String { value.hasPrefix("/") ? value : directory + "/" + value }
        func name(_ section: YAMLSection, _ key: String, default fallback: String? = nil) -> String {
            let value = fallback.map { section.string(key, default: $0) } ?? section.string(key)
            let allowed = value.utf8.allSatisfy {
                ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 || $0 == 46
            }
            if !(1...64).contains(value.utf8.count) || !allowed {
                section.fail(key, "must be 1 to 64 lower-case letters, digits, hyphens and dots")
            }
            return value
        }
        func key(_ section: YAMLSection, _ key: String, _ hex: String) -> VerificationKey? {
            guard let parsed = VerificationKey(hex: hex) else {
                section.fail(key, "must be an Ed25519 public key: 64 lower-case hex digits")
                return nil
            }
            return parsed
        }

        let identity = root.section("installation")
        installation = name(identity, "name")
        gateway = name(identity, "gateway", default: "gateway-1")
        tenant = name(identity, "tenant", default: "default")
        sealedKeyFile = path(identity.string("sealedKey", default: "installation.sealed"))
        pinnedManifestKeys = identity.strings("earlierManifestKeys", default: []).compactMap {
            key(identity, "earlierManifestKeys", $0)
        }
        development = root.bool("development", default: false)
        listen = ListenAddress(root.optionalSection("listen"), in: root, defaultPort: 8080, path: path)
        observability = ObservabilitySettings(root, path: path)
        let memory = root.optionalSection("memory")
        let lock = memory?.optionalEnumeration("lock", of: MemoryLockPolicy.self) ?? .required
        if lock == .preferred, !development {
            memory?.fail(
                "lock",
                "may be preferred in development only: set development: true or raise the limit of locked memory")
        }
        lockPolicy = lock
        let storage = root.section("storage")
        objectsDirectory = path(storage.string("objects"))
        metadataFile = path(storage.string("metadata"))
        var names: Set<String> = []
        units = root.optionalSections("units").compactMap { section in
            let unitName = name(section, "name")
            if !names.insert(unitName).inserted { section.fail("name", "is used by two units") }
            let url = section.string("url")
            Self.check(url, development: root.bool("development", default: false), section)
            let tls = section.optionalSection("tls")
            let certificate = tls.flatMap { $0.optionalString("certificate") }
            if url.hasPrefix("https:"), certificate == nil {
                section.fail(
                    "tls", "needs certificate and key: an evaluation unit lets in gateways by their certificates")
            }
            let runner = section.optionalString("operator").map(Self.user)
            guard let publicKey = key(section, "publicKey", section.string("publicKey")) else { return nil }
            return Unit(
                name: unitName, url: url, publicKey: publicKey,
                tls: ClientTLS(authorities: tls?.optionalString("authorities").map(path)),
                certificate: certificate.map {
                    CertificateFiles(certificate: path($0), key: path(tls?.string("key") ?? ""))
                },
                operator: runner)
        }
        decryptAnyOwners = (root.optionalSection("decryptAny")?.strings("owners", default: []) ?? []).map(Self.user)
        policyFile = root.optionalSection("policy").map { path($0.string("file")) }
        audit = AuditConfiguration(root.optionalSection("audit"), directory: directory)
        release = Self.release(root.optionalSection("release"))
        secretKeyCaching = root.optionalSection("secretKeyCache").map { section in
            SecretKeyCaching(
                age: .seconds(section.int("ageSeconds", default: 60, in: 1...3600)),
                uses: section.int("uses", default: 100, in: 1...1_000_000),
                bytes: section.int("mebibytes", default: 4, in: 1...1024) << 20)
        }
        let limits = root.optionalSection("limits")
        bodyBytes = (limits?.int("bodyMiB", default: 64, in: 1...1024) ?? 64) << 20
        threads = limits?.int("threads", default: processors, in: 1...1024) ?? processors
        queued = limits?.int("queued", default: 256, in: 1...65_536) ?? 256
        jobs = limits?.int("jobs", default: 16, in: 1...1024) ?? 16
    }

    /// `ISSUER SUBJECT` where the issuer is a URL, `certificate SUBJECT` for who is known by a certificate, or the
    /// subject of a static token alone: a file of tokens has none that reads like one of the others.
    static func user(_ text: String) -> KeySetOwner {
        if let blank = text.firstIndex(of: " "),
            text[..<blank].contains("://") || text[..<blank] == CertificateCallers.issuer
        {
            return KeySetOwner(
                kind: .user, issuer: String(text[..<blank]), subject: String(text[text.index(after: blank)...]))
        }
        return KeySetOwner(kind: .user, issuer: StaticTokenFile.issuer, subject: text)
    }

    private static func release(_ section: YAMLSection?) -> ReleaseRequest {
        var precision = 1e-3
        if let text = section?.optionalString("precision") {
            if let number = Double(text), (0x1p-40...0x1p20).contains(number) {
                precision = number
            } else {
                section?.fail("precision", "must be a number between 2^-40 and 2^20, such as 1e-3")
            }
        }
        let bits = FloodingPolicy.defaultStatisticalBits
        return ReleaseRequest(
            precision: precision,
            statisticalBits: section?.int("statisticalBits", default: bits, in: 1...128) ?? bits,
            budget: section?.int("decryptions", default: 1024, in: 1...1 << 40) ?? 1024,
            audience: section?.optionalEnumeration("audience", of: ReleaseAudience.self) ?? .owner)
    }

    /// https anywhere; http in development, to this machine.
    private static func check(_ url: String, development: Bool, _ section: YAMLSection) {
        let parsed = URL(string: url)
        guard let parsed, let host = parsed.host(), !host.isEmpty, ["", "/"].contains(parsed.path()),
            parsed.user() == nil, parsed.query() == nil, parsed.fragment() == nil,
            ["http", "https"].contains(parsed.scheme)
        else {
            section.fail("url", "must be https://HOST:PORT")
            return
        }
        if parsed.scheme == "https" { return }
        if !["127.0.0.1", "::1", "[::1]", "localhost"].contains(host) {
            section.fail("url", "must be https://HOST:PORT; http:// is for 127.0.0.1, [::1] and localhost only")
        } else if !development {
            section.fail("url", "must be https://HOST:PORT; http:// is for development: true only")
        }
    }
}
