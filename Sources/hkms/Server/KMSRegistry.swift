import Foundation
import KeyManagement
import SecretMemory
import ServiceKit
import TrustedKMSOpenBao
import TrustedKMSSoftware

/// The section `kms` of the configuration, read and ready to be connected.
struct KMSSettings: Sendable {
    /// The key that seals seeds and data keys.
    let key: KMSKeyName
    let connect: @Sendable () async throws -> any TrustedKMS
}

/// The adapters that a configuration may name. A new one is a new target and one line here.
enum KMSRegistry {
    private static let providers:
        [String:
            @Sendable (YAMLSection, _ path: (String) -> String, _ development: Bool) -> (
                @Sendable () async throws -> any TrustedKMS
            )?] = [
                "software": software,
                "openbao": openBao,
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
        return KMSSettings(key: key, connect: connect)
    }

    @Sendable private static func software(
        _ section: YAMLSection, _ path: (String) -> String, _ development: Bool
    ) -> (@Sendable () async throws -> any TrustedKMS)? {
        let keystore = path(section.string("keystore"))
        let file = section.optionalString("passphraseFile").map(path)
        let variable = section.optionalString("passphraseEnvironment")
        guard (file == nil) != (variable == nil) else {
            section.fail("passphraseFile", "or passphraseEnvironment must say where the passphrase is, and not both")
            return nil
        }
        return {
            let passphrase = try Passphrase.read(file: file, variable: variable)
            let kms = try SoftwareKMS(opening: keystore, passphrase: passphrase)
            guard development || !kms.capabilities.developmentOnly else {
                throw ServerError.developmentKeystore(keystore)
            }
            return kms
        }
    }

    @Sendable private static func openBao(
        _ section: YAMLSection, _ path: (String) -> String, _: Bool
    ) -> (@Sendable () async throws -> any TrustedKMS)? {
        let authentication: OpenBaoAuthentication
        if let role = section.optionalSection("appRole") {
            authentication = .appRole(
                roleID: role.string("roleID"), secretIDFile: path(role.string("secretIDFile")),
                mount: role.string("mount", default: "approle"))
        } else {
            authentication = .tokenFile(path(section.string("tokenFile")))
        }
        let seconds = section.int("timeoutSeconds", default: 10, in: 1...300)
        do {
            let configuration = try OpenBaoConfiguration(
                address: section.string("address"), mount: section.string("mount", default: "transit"),
                namespace: section.optionalString("namespace"), authentication: authentication,
                caCertificateFile: section.optionalString("caCertificate").map(path),
                requestTimeout: .seconds(seconds))
            return { try OpenBaoKMS(configuration) }
        } catch {
            section.fail("address", "\(error)")
            return nil
        }
    }
}

/// Why a server does not start.
enum ServerError: Error, CustomStringConvertible {
    case developmentKeystore(String)
    case noPassphrase(String)
    case noInstallationKey(String)
    case coreDumps

    var description: String {
        switch self {
        case .developmentKeystore(let path):
            "\(path) is a development keystore: its passphrase lies beside it. "
                + "Set development: true for a trial, or make a keystore of your own with hkms init"
        case .noInstallationKey(let path):
            "cannot read \(path), the installation's sealed key that hkms init made: restore it from a backup, "
                + "or correct installation.sealedKey"
        case .coreDumps:
            "the system does not let this process forbid core dumps of itself, which could hold keys; "
                + "for a trial, set development: true"
        case .noPassphrase(let variable): "the environment variable \(variable) holds no passphrase"
        }
    }
}

/// Where the keystore's passphrase comes from: a file or the environment, never the command line.
enum Passphrase {
    static func read(file: String?, variable: String?) throws -> SecretBytes {
        if let file { return try SecretFile.read(file) }
        let name = variable ?? "HKMS_KEYSTORE_PASSPHRASE"
        guard let value = getenv(name), strlen(value) > 0 else { throw ServerError.noPassphrase(name) }
        let bytes = UnsafeMutableRawBufferPointer(start: value, count: strlen(value))
        let passphrase = try SecretBytes(copying: UnsafeRawBufferPointer(bytes))
        // Not left in /proc/PID/environ for as long as the server runs.
        SecretMemory.wipe(bytes)
        return passphrase
    }
}
