import KeyManagement
import ServiceKit

/// How an adapter is reached.
struct KMSConnection: Sendable {
    /// The file of a credential that works once: who connects leaves none for the next.
    var usedUpFile: String?
    let connect: @Sendable () async throws -> any TrustedKMS
}

/// One KMS of the configuration, read and ready to be connected.
struct KMSSettings: Sendable {
    /// What manifests and `hkms kms` call it.
    let name: String
    /// The key that seals seeds and data keys.
    let key: KMSKeyName
    let placement: KeyPlacement
    let connection: KMSConnection

    func connect() async throws -> any TrustedKMS {
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
    static func read(_ section: YAMLSection, directory: String, development: Bool) -> KMSSettings? {
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
        return KMSSettings(name: name, key: key, placement: placement, connection: connection)
    }

    private static func isName(_ name: String) -> Bool {
        (1...64).contains(name.utf8.count)
            && name.utf8.allSatisfy {
                (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D || $0 == 0x2E
            }
    }
}
