import Foundation
import KeyManagement
import ServiceKit

/// A file with a secret that an adapter reads.
struct KMSFile: Sendable {
    /// Where the adapter's section names it: `openbao.tokenFile`.
    let key: String
    let path: String
    /// Whether it opens something by itself, and is missed before the KMS is asked anything.
    var isCredential = true
}

/// How an adapter is reached.
struct KMSConnection: Sendable {
    let secretFiles: [KMSFile]
    /// The file of a credential that works once: who connects leaves none for the next.
    var usedUpFile: String?
    /// What the names of principals' own keys begin with; nil where the KMS authenticates the gateway alone.
    var principalKeyPrefix: String?
    let connect: @Sendable () async throws -> any TrustedKMS
}

/// One KMS of the configuration, read and ready to be connected.
struct KMSSettings: Sendable {
    /// Its section of the configuration: `kms` or `otherKMS[0]`.
    let section: String
    /// The adapter.
    let provider: String
    /// What manifests and `hkms kms` call it.
    let name: String
    /// The key that seals seeds and data keys.
    let key: KMSKeyName
    let placement: KeyPlacement
    let connection: KMSConnection

    /// - Throws: ``ServerError`` for what the configuration lacks, and what the adapter says.
    func connect() async throws -> any TrustedKMS {
        // What an earlier KMS lacks costs what that one sealed, and not the gateway's start.
        for file in connection.secretFiles where file.isCredential && section == "kms" {
            guard let reason = Self.unreadable(file.path) else { continue }
            throw ServerError.noCredential(setting: "\(section).\(file.key)", path: file.path, reason: reason)
        }
        let kms = CompletedKMS(try await connection.connect())
        guard placement != .perPrincipal || kms.capabilities.authenticates.contains(.caller) else {
            await kms.shutdown()
            throw ServerError.noCallers(name)
        }
        return kms
    }

    func configured() async throws -> ConfiguredKMS {
        ConfiguredKMS(name: name, ObservedKMS(try await connect()), key: key, placement: placement)
    }

    /// Why a file cannot be read; nil where it can. It is not opened: a pipe gives what it has once.
    private static func unreadable(_ path: String) -> String? {
        guard access(path, R_OK) == 0 else { return String(cString: strerror(errno)) }
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        return isFolder.boolValue ? String(cString: strerror(EISDIR)) : nil
    }
}

extension KMSSettings {
    /// Connects to all KMSs of a configuration; those that were connected are shut down where one fails.
    static func directory(_ current: KMSSettings, others: [KMSSettings]) async throws -> KMSDirectory {
        var connected: [ConfiguredKMS] = []
        do {
            for settings in [current] + others { connected.append(try await settings.configured()) }
        } catch {
            for known in connected { await known.kms.shutdown() }
            throw error
        }
        return KMSDirectory(connected[0], others: Array(connected.dropFirst()))
    }
}

/// The adapters that a configuration may name. A new one is a new target, a file beside this one that reads its
/// section, and one line here.
enum KMSRegistry {
    /// Reads the adapter's own section, whose errors are collected by the document.
    /// - Returns: what connects to it; nil where the section is not usable.
    typealias Reader =
        @Sendable (YAMLSection, _ path: (String) -> String, _ development: Bool) -> KMSConnection?

    private static let providers: [String: Reader] = [
        "software": software,
        "openbao": openBao,
        "pkcs11": pkcs11,
    ]

    /// Reads `kms`, or one of `otherKMS`; errors are collected by the document.
    /// - Parameter title: of the section, in the words of an error.
    static func read(
        _ section: YAMLSection, _ title: String = "kms", directory: String, development: Bool
    ) -> KMSSettings? {
        let path = { (value: String) in value.hasPrefix("/") ? value : directory + "/" + value }
        let keyName = section.string("key")
        let key = KMSKeyName(keyName)
        if key == nil { section.fail("key", "must be 1 to 128 letters, digits, dots, hyphens and underscores") }
        let provider = section.string("provider")
        let name = section.string("name", default: provider)
        if !isName(name) { section.fail("name", "must be 1 to 64 lower-case letters, digits, dots and hyphens") }
        let placements = KeyPlacement.allCases.map(\.rawValue)
        let placement = KeyPlacement(rawValue: section.string("keys", default: KeyPlacement.shared.rawValue))
        if placement == nil { section.fail("keys", "must be one of \(placements.joined(separator: ", "))") }
        guard let reader = providers[provider] else {
            section.fail("provider", "must be one of \(providers.keys.sorted().joined(separator: ", "))")
            return nil
        }
        guard let connection = reader(section.section(provider), path, development), let key, let placement else {
            return nil
        }
        return KMSSettings(
            section: title, provider: provider, name: name, key: key, placement: placement, connection: connection)
    }

    private static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x2E
            }
    }
}
