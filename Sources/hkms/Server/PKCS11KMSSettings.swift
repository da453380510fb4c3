import KeyManagement
import ServiceKit
import TrustedKMSPKCS11

extension KMSRegistry {
    /// The section `pkcs11`.
    @Sendable static func pkcs11(
        _ section: YAMLSection, _ path: (String) -> String, _: Bool
    ) -> KMSConnection? {
        let text = section.string("uri")
        let sessions = section.int("sessions", default: 8, in: 1...256)
        let mechanism = section.enumeration("mechanism", of: PKCS11MechanismChoice.self, default: .auto)
        let pinFile = section.optionalString("pinFile").map(path)
        let variable = section.optionalString("pinEnvironment")
        let uri: PKCS11URI
        do {
            uri = try PKCS11URI(text)
        } catch {
            section.fail("uri", "\(error)")
            return nil
        }
        guard [pinFile, variable, uri.pinFile].compactMap(\.self).count == 1 else {
            section.fail("pinFile", "or pinEnvironment, or pin-source in uri, must say where the PIN is, and only one")
            return nil
        }
        let files = [
            pinFile.map { KMSFile(key: "pkcs11.pinFile", path: $0) },
            uri.pinFile.map { KMSFile(key: "pkcs11.uri (pin-source)", path: $0) },
        ]
        return KMSConnection(secretFiles: files.compactMap(\.self)) {
            let pin = try Passphrase.read(file: pinFile ?? uri.pinFile, variable: variable)
            return try await PKCS11KMS.connect(
                PKCS11Configuration(uri: uri, sessions: sessions, mechanism: mechanism), pin: pin)
        }
    }
}
