import IdentityOIDC
import Logging
import ServiceKit

/// Whether callers could be identified.
enum IdentityChecks {
    static func checks(_ identity: IdentitySettings) -> [DoctorCheck] {
        var checks: [DoctorCheck] = []
        if let tokens = identity.tokensFile {
            checks.append(
                DoctorCheck("identity.tokens", fix: "Correct the named lines.") {
                    _ = try StaticTokenFile(path: tokens)
                    return .warning(
                        "static tokens, which never expire",
                        fix: "Name an issuer under identity.oidc before real data comes.")
                })
        }
        return checks + identity.issuers.map { issuer($0, development: identity.development) }
    }

    private static func issuer(_ configuration: OIDCConfiguration, development: Bool) -> DoctorCheck {
        let fix = "See that this machine reaches the issuer, and what its discovery document names as jwks_uri."
        return DoctorCheck("identity.oidc \(configuration.issuer)", fix: fix) {
            let authenticator = try OIDCAuthenticator(
                configuration: configuration, development: development,
                logger: Logger(label: "hkms.doctor") { _ in SwiftLogNoOpLogHandler() })
            let keys: Result<Int, OIDCError>
            do throws(OIDCError) {
                keys = .success(try await authenticator.usableKeys())
            } catch { keys = .failure(error) }
            await authenticator.shutdown()
            let count = try keys.get()
            let algorithms = configuration.algorithms.map(\.rawValue).joined(separator: ", ")
            guard count > 0 else {
                return .failed(
                    "the issuer publishes no key for \(algorithms)",
                    fix: "Add the issuer's algorithm to identity.oidc[].algorithms.")
            }
            return .ok("\(count == 1 ? "one key" : "\(count) keys") for \(algorithms)")
        }
    }
}
