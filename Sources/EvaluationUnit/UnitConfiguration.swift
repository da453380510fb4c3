import Attestation
import EncryptedInference
import Foundation
import SecretMemory
import ServerKit
import ServiceKit

/// What an evaluation unit is told by its configuration file; docs/configuration.md has every key.
public struct UnitConfiguration: Sendable {
    /// A gateway whose requests and jobs are accepted.
    public struct Gateway: Sendable, Hashable {
        public let name: String
        public let requestKey: VerificationKey
        /// A URI or DNS name in the certificate that the gateway must show; nil where none is asked for.
        public let certificateName: String?

        public init(name: String, requestKey: VerificationKey, certificateName: String? = nil) {
            self.name = name
            self.requestKey = requestKey
            self.certificateName = certificateName
        }
    }

    public struct Limits: Sendable, Hashable {
        /// Memory for evaluation keys, in bytes.
        public var keyCacheBytes: Int
        /// Memory for models compiled for flooded results, in bytes.
        public var planCacheBytes: Int
        /// The longest body of a request, in bytes; keys have limits of their own.
        public var bodyBytes: Int
        /// Threads for homomorphic arithmetic.
        public var threads: Int
        /// Pieces of work that may wait for a thread.
        public var queued: Int

        public init(
            keyCacheBytes: Int = 1024 << 20, planCacheBytes: Int = 1024 << 20, bodyBytes: Int = 64 << 20,
            threads: Int = ProcessInfo.processInfo.activeProcessorCount, queued: Int = 256
        ) {
            self.keyCacheBytes = keyCacheBytes
            self.planCacheBytes = planCacheBytes
            self.bodyBytes = bodyBytes
            self.threads = threads
            self.queued = queued
        }
    }

    public let name: String
    public let signingKey: SigningKey
    public let listen: ListenAddress
    /// Models, and circuits on integers. No two have one name.
    public let models: [any Circuit]
    public let gateways: [Gateway]
    /// Manifests are believed under these keys alone.
    public let manifestKeys: [VerificationKey]
    /// Where given, manifests of others are refused.
    public let installation: String?
    public let tenant: String?
    public let limits: Limits
    public let observability: ObservabilitySettings
    /// Whether the signing key may be protected less than in production.
    public let development: Bool

    public init(
        name: String, signingKey: SigningKey, listen: ListenAddress, models: [any Circuit], gateways: [Gateway],
        manifestKeys: [VerificationKey], installation: String? = nil, tenant: String? = nil, limits: Limits = Limits(),
        observability: ObservabilitySettings = ObservabilitySettings(), development: Bool = false
    ) {
        self.name = name
        self.signingKey = signingKey
        self.listen = listen
        self.models = models
        self.gateways = gateways
        self.manifestKeys = manifestKeys
        self.installation = installation
        self.tenant = tenant
        self.limits = limits
        self.observability = observability
        self.development = development
    }

    /// Reads a configuration file, the signing key and the models.
    /// - Parameters:
    ///   - path: relative paths in the file start at its folder.
    ///   - applyLockPolicy: called with `memory.lock` before the signing key is read.
    /// - Throws: everything that is wrong, with lines. The signing key and the models are looked at once the
    ///   file itself is right.
    public init(
        path: String, applyLockPolicy: (MemoryLockPolicy) -> Void
    ) throws(ConfigurationError) {
        let document = try YAMLDocument(path: path)
        let reader = Reader(root: document.root, file: path)
        let unit = document.root.section("unit")
        name = reader.name(unit, "name")
        let keyFile = reader.path(unit.string("signingKeyFile"))
        listen = ListenAddress(
            document.root.optionalSection("listen"), in: document.root, defaultPort: 8081, path: reader.path)
        let modelFiles = document.root.strings("models").map(reader.path)
        if modelFiles.isEmpty, document.root.contains("models") { document.root.fail("models", "names no model") }
        gateways = reader.gateways(requireCertificates: listen.tls != nil)
        if let tls = listen.tls, tls.clientCertificates != .required {
            document.root.fail(
                "listen",
                "tls.clientAuthorities must name who issues the gateways' certificates, and tls.clientCertificates "
                    + "must be required: a unit speaks to its gateways alone")
        }
        manifestKeys = reader.manifestKeys()
        installation = document.root.optionalString("installation")
        tenant = document.root.optionalString("tenant")
        limits = reader.limits()
        // Gateways alone get in, and the trace of a prediction is one.
        observability = ObservabilitySettings(document.root, trustIncoming: true, path: reader.path)
        development = document.root.bool("development", default: false)
        let memory = document.root.optionalSection("memory")
        let policy = memory?.optionalEnumeration("lock", of: MemoryLockPolicy.self)
        if policy == .preferred, !development {
            memory?.fail(
                "lock",
                "may be preferred in development only: set development: true or raise the limit of locked memory")
        }
        try document.finish()

        applyLockPolicy(policy ?? .required)
        var loadedKey: SigningKey?
        do throws(SigningKeyFileError) {
            loadedKey = try SigningKeyFile.load(keyFile)
        } catch { unit.fail("signingKeyFile", "\(error)") }
        models = reader.models(modelFiles)
        try document.finish()
        guard let loadedKey else {
            throw ConfigurationError(file: path, line: unit.line, message: "unit.signingKeyFile: cannot be used")
        }
        signingKey = loadedKey
    }

    /// The parts of the file that take more than one line to read.
    private struct Reader {
        let root: YAMLSection
        let file: String

        func path(_ value: String) -> String {
            guard !value.hasPrefix("/"), let slash = file.lastIndex(of: "/") else { return value }
            return file[...slash] + value
        }

        func name(_ section: YAMLSection, _ key: String) -> String {
            let name = section.string(key)
            let isAllowed = name.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x2E
            }
            if section.contains(key), !isAllowed || !(1...64).contains(name.utf8.count) {
                section.fail(key, "must be 1 to 64 lower-case letters, digits, hyphens and dots")
            }
            return name
        }

        func gateways(requireCertificates: Bool) -> [Gateway] {
            var gateways: [Gateway] = []
            for section in root.sections("gateways") {
                let name = name(section, "name")
                let hex = section.string("requestKey")
                guard section.contains("requestKey") else { continue }
                guard let key = VerificationKey(hex: hex) else {
                    section.fail("requestKey", "must be an Ed25519 public key: 64 lower-case hex digits")
                    continue
                }
                if gateways.contains(where: { $0.name == name }) { section.fail("name", "another gateway has it") }
                if gateways.contains(where: { $0.requestKey == key }) {
                    section.fail("requestKey", "another gateway has it; each gateway signs with a key of its own")
                }
                let certificateName = section.optionalString("certificateName")
                if requireCertificates, certificateName == nil {
                    section.fail(
                        "certificateName",
                        "is missing; it must be the URI or DNS name in the certificate that the gateway shows")
                }
                gateways.append(Gateway(name: name, requestKey: key, certificateName: certificateName))
            }
            if gateways.isEmpty, root.contains("gateways") {
                root.fail("gateways", "no usable gateway is named, so that nobody could ask for anything")
            }
            return gateways
        }

        func manifestKeys() -> [VerificationKey] {
            let keys = root.strings("manifestKeys").compactMap { hex in
                let key = VerificationKey(hex: hex)
                if key == nil {
                    root.fail("manifestKeys", "must be Ed25519 public keys: 64 lower-case hex digits each")
                }
                return key
            }
            if keys.isEmpty, root.contains("manifestKeys") {
                root.fail("manifestKeys", "no usable key is named, so that no manifest could be believed")
            }
            return keys
        }

        func limits() -> Limits {
            var limits = Limits()
            guard let section = root.optionalSection("limits") else { return limits }
            limits.keyCacheBytes = section.int("keyCacheMiB", default: 1024, in: 1...1_048_576) << 20
            limits.planCacheBytes = section.int("planCacheMiB", default: 1024, in: 1...1_048_576) << 20
            limits.bodyBytes = section.int("bodyMiB", default: 64, in: 1...1024) << 20
            limits.threads = section.int("threads", default: limits.threads, in: 1...1024)
            limits.queued = section.int("queued", default: 256, in: 0...65_536)
            return limits
        }

        func models(_ files: [String]) -> [any Circuit] {
            var models: [any Circuit] = []
            for file in files {
                do {
                    let model = try CircuitFile.compile(
                        parsing: BoundedFile.read(file, maximumBytes: CircuitFile.maximumBytes))
                    if models.contains(where: { $0.name == model.name }) {
                        root.fail("models", "\(file): another model is named \(model.name), too")
                    } else {
                        models.append(model)
                    }
                } catch let error as BoundedFileError {
                    root.fail("models", "\(error)")
                } catch {
                    root.fail("models", "\(file): \(error)")
                }
            }
            return models
        }
    }
}

extension InferenceModel {
    /// Reads a model file.
    /// - Throws: ``BoundedFileError`` or `InferenceError`.
    public init(file path: String) throws {
        try self.init(parsing: try BoundedFile.read(path, maximumBytes: Self.maximumFileBytes))
    }
}
