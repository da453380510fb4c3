import Foundation
import IdentityOIDC
import Logging
import ServiceKit

/// The section `identity` of the configuration, read and ready to be used.
struct IdentitySettings: Sendable {
    let tokensFile: String?
    let issuers: [OIDCConfiguration]
    let certificates: CertificateCallers
    let development: Bool

    /// Reads `identity: {tokens, oidc, clientCertificates}`; errors are collected by the document.
    /// - Parameter asksForCertificates: whether the listener has authorities for its clients.
    init(
        _ section: YAMLSection, directory: String, tenant: String, development: Bool, asksForCertificates: Bool
    ) {
        let path = { (value: String) in value.hasPrefix("/") ? value : directory + "/" + value }
        self.development = development
        tokensFile = section.optionalString("tokens").map(path)
        issuers = section.optionalSections("oidc").map {
            OIDCConfiguration($0, tenant: tenant, development: development, path: path)
        }
        if tokensFile != nil, !development {
            section.fail(
                "tokens", "are for development: true only, since they never expire; name an issuer under oidc")
        }
        certificates = CertificateCallers(section, tenant: tenant)
        if section.contains("clientCertificates"), !asksForCertificates {
            section.fail(
                "clientCertificates",
                "needs listen.tls.clientAuthorities, the PEM file of who issues them; nobody shows one otherwise")
        }
        if tokensFile == nil, issuers.isEmpty, !section.contains("clientCertificates") {
            section.fail("oidc", "names no issuer, so that nobody could be identified")
        }
        if Set(issuers.map(\.issuer)).count != issuers.count { section.fail("oidc", "names one issuer twice") }
    }

    /// - Throws: `ConfigurationError` for the file of tokens, `TLSError` for an issuer's authorities.
    func authenticator(logger: Logger) throws -> any Authenticator {
        var issuers: [String: any Authenticator] = [:]
        for issuer in self.issuers {
            issuers[issuer.issuer] = try OIDCAuthenticator(
                configuration: issuer, development: development, logger: logger)
        }
        return IssuerChoice(
            tokens: try tokensFile.map { try StaticTokenFile(path: $0) }, issuers: issuers,
            certificates: certificates, claimedIssuer: OIDCAuthenticator.claimedIssuer)
    }
}
