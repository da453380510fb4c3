import KeyManagement
import ServiceKit
import TrustedKMSOpenBao

extension KMSRegistry {
    /// The section `openbao`.
    @Sendable static func openBao(
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
