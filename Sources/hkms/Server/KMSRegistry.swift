import KeyManagement
import ServiceKit

/// The section `kms` of the configuration, read and ready to be connected.
struct KMSSettings: Sendable {
    /// The key that seals seeds and data keys.
    let key: KMSKeyName
    let connect: @Sendable () async throws -> any TrustedKMS
}

/// The adapters that a configuration may name. A new one is a new target, a file beside this one that reads its
/// section, and one line here.
enum KMSRegistry {
    /// Reads the adapter's own section, whose errors are collected by the document.
    /// - Returns: what connects to it; nil where the section is not usable.
    typealias Reader =
        @Sendable (YAMLSection, _ path: (String) -> String, _ development: Bool) -> (
            @Sendable () async throws -> any TrustedKMS
        )?

    private static let providers: [String: Reader] = [
        "software": software,
        "openbao": openBao,
        "pkcs11": pkcs11,
    ]

    /// Reads the section; errors are collected by the document.
    static func read(_ section: YAMLSection, directory: String, development: Bool) -> KMSSettings? {
        let path = { (value: String) in value.hasPrefix("/") ? value : directory + "/" + value }
        let name = section.string("key")
        let key = KMSKeyName(name)
        if key == nil { section.fail("key", "must be 1 to 128 letters, digits, dots, hyphens and underscores") }
        let provider = section.string("provider")
        guard let reader = providers[provider] else {
            section.fail("provider", "must be one of \(providers.keys.sorted().joined(separator: ", "))")
            return nil
        }
        guard let connect = reader(section.section(provider), path, development), let key else { return nil }
        return KMSSettings(key: key, connect: { CompletedKMS(try await connect()) })
    }
}
