import Foundation
import KeyManagement
import SecretMemory
import ServiceKit
import TrustedKMSSoftware

extension KMSRegistry {
    /// The section `software`.
    @Sendable static func software(
        _ section: YAMLSection, _ path: (String) -> String, _ development: Bool
    ) -> KMSConnection? {
        let keystore = path(section.string("keystore"))
        let file = section.optionalString("passphraseFile").map(path)
        let variable = section.optionalString("passphraseEnvironment")
        guard (file == nil) != (variable == nil) else {
            section.fail("passphraseFile", "or passphraseEnvironment must say where the passphrase is, and not both")
            return nil
        }
        let files = [KMSFile(key: "software.keystore", path: keystore, isCredential: false)]
        let passphraseFile = file.map { KMSFile(key: "software.passphraseFile", path: $0) }
        return KMSConnection(secretFiles: files + [passphraseFile].compactMap(\.self)) {
            let passphrase = try Passphrase.read(file: file, variable: variable)
            let kms = try SoftwareKMS(opening: keystore, passphrase: passphrase)
            guard development || !kms.capabilities.developmentOnly else {
                throw ServerError.developmentKeystore(keystore)
            }
            return kms
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
