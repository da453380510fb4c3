import KeyManagement
import ServiceKit
import TrustedKMSOpenBao

extension KMSRegistry {
    /// The section `openbao`.
    @Sendable static func openBao(
        _ section: YAMLSection, _ path: (String) -> String, _: Bool
    ) -> KMSConnection? {
        let addresses =
            section.contains("addresses") ? section.strings("addresses") : [section.string("address")]
        if section.contains("addresses"), section.contains("address") {
            section.fail("addresses", "stands beside address; name all servers in addresses")
            section.ignore("address")
        }
        let authentication = openBaoAuthentication(section, path)
        let delegation = section.optionalSection("delegated").map { delegated in
            OpenBaoDelegation(
                mount: delegated.string("mount", default: "jwt"), role: delegated.string("role"),
                keyPrefix: delegated.string("keyPrefix", default: "hkms-user-"))
        }
        let seconds = section.int("timeoutSeconds", default: 10, in: 1...300)
        let retrySeconds = section.int("retrySeconds", default: 15, in: 0...120)
        do {
            let configuration = try OpenBaoConfiguration(
                addresses: addresses, mount: section.string("mount", default: "transit"),
                namespace: section.optionalString("namespace"), authentication: authentication,
                delegation: delegation, caCertificateFile: section.optionalString("caCertificate").map(path),
                requestTimeout: .seconds(seconds), retryTime: .seconds(retrySeconds))
            let wrapped: String? =
                if case .appRole(_, let file, _, wrapped: true) = authentication { file } else { nil }
            return KMSConnection(
                secretFiles: secretFile(authentication).map { [$0] } ?? [], usedUpFile: wrapped,
                principalKeyPrefix: delegation?.keyPrefix
            ) { try OpenBaoKMS(configuration) }
        } catch {
            section.fail("address", "\(error)")
            return nil
        }
    }

    private static func secretFile(_ authentication: OpenBaoAuthentication) -> KMSFile? {
        switch authentication {
        case .token: nil
        case .tokenFile(let path): KMSFile(key: "openbao.tokenFile", path: path)
        case .appRole(_, let path, _, _): KMSFile(key: "openbao.appRole.secretIDFile", path: path)
        case .jwt(_, let path, _): KMSFile(key: "openbao.jwt.tokenFile", path: path)
        }
    }

    /// One of `appRole`, `jwt` and `tokenFile`.
    private static func openBaoAuthentication(
        _ section: YAMLSection, _ path: (String) -> String
    ) -> OpenBaoAuthentication {
        if section.contains("appRole"), section.contains("jwt") {
            section.fail("jwt", "stands beside appRole; name one way to log in")
            section.ignore("jwt")
        }
        if let role = section.optionalSection("appRole") {
            return .appRole(
                roleID: role.string("roleID"), secretIDFile: path(role.string("secretIDFile")),
                mount: role.string("mount", default: "approle"), wrapped: role.bool("secretIDWrapped", default: false))
        }
        if let jwt = section.optionalSection("jwt") {
            return .jwt(
                role: jwt.string("role"), tokenFile: path(jwt.string("tokenFile")),
                mount: jwt.string("mount", default: "jwt"))
        }
        return .tokenFile(path(section.string("tokenFile")))
    }
}
