import Foundation
import KeyManagement
import SecretMemory

/// Whether users could log in to the KMS by themselves, as far as that is told without one of them.
enum DelegationChecks {
    /// - Returns: none where the KMS authenticates the gateway alone.
    static func checks(
        _ name: String, _ settings: KMSSettings, _ kms: DoctorResult<any TrustedKMS>, healthCheck: String,
        keyCheck: String, context: SealingContext, isCurrent: Bool
    ) -> [DoctorCheck] {
        guard let prefix = settings.connection.principalKeyPrefix else { return [] }
        let section = "\(settings.section).\(settings.provider).delegated"
        let key = settings.key
        let calls = [
            DoctorCheck("\(name).delegated.login", after: [healthCheck], fix: "Correct \(section).") {
                try await login(kms.get(), section)
            },
            DoctorCheck("\(name).delegated.policy", after: [keyCheck], fix: "Correct \(section).keyPrefix.") {
                try await policy(kms.get(), key, prefix, context)
            },
        ]
        // Of a KMS that seals nothing new it says nothing.
        guard isCurrent else { return calls }
        return [
            DoctorCheck("\(name).delegated.placement", fix: "Correct \(settings.section).keys.") {
                placement(settings, section)
            }
        ] + calls
    }

    private static func placement(_ settings: KMSSettings, _ section: String) -> DoctorFinding {
        guard settings.placement != .perPrincipal else { return .ok("seeds are sealed under users' own keys") }
        return .warning(
            "\(section) is set, and \(settings.section).keys is \(settings.placement.rawValue): users' credentials "
                + "are not asked for, and the gateway's own opens every key set",
            fix: "Set \(settings.section).keys: perPrincipal, which counts for key sets that are registered from then "
                + "on; or take \(section) out.")
    }

    /// By a JWT that nobody signed: what is refused first tells how far it came.
    private static func login(_ kms: any TrustedKMS, _ section: String) async throws -> DoctorFinding {
        do throws(KMSError) {
            _ = try await kms.principalKey(of: .principal(try unsigned()))
        } catch {
            switch error {
            // Mount, role and configuration come first, then the JWT itself.
            case .denied(let reason) where reason.contains("nobody else's credential is tried: the JWT"):
                return .ok("mount and role are there, and a JWT that nobody signed is refused")
            case .denied(let reason), .unavailable(let reason):
                return .failed(
                    "users' logins fail whatever their JWT says: \(reason)",
                    fix: "Correct \(section).mount and \(section).role, or set up mount and role in the KMS "
                        + "(docs/kms/openbao.md).")
            default: throw error
            }
        }
        return .failed(
            "a JWT that nobody signed was taken for a user's",
            fix: "Have the KMS verify signatures at the mount that \(section) names, before anything else.")
    }

    private static func unsigned() throws(KMSError) -> KMSCredential {
        let expiry = Int(Date().timeIntervalSince1970) + 60
        let parts = [
            Data(#"{"alg":"RS256","typ":"JWT"}"#.utf8),
            Data(#"{"iss":"nobody","sub":"nobody","aud":"nobody","iat":\#(expiry - 60),"exp":\#(expiry)}"#.utf8),
            Data((0..<256).map { _ in UInt8.random(in: .min ... .max) }),
        ]
        let text = parts.map { part in
            part.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
        }.joined(separator: ".")
        let made = Array(text.utf8).withUnsafeBytes { bytes -> Result<KMSCredential?, SecretMemoryError> in
            do throws(SecretMemoryError) { return .success(try KMSCredential(copying: bytes)) } catch {
                return .failure(error)
            }
        }
        let credential: KMSCredential?
        do throws(SecretMemoryError) { credential = try made.get() } catch { throw .memory(error) }
        guard let credential else { throw .notSupported(operation: "a JWT of this length") }
        return credential
    }

    /// Whether the gateway may move users' key sets to new versions of their keys: on the key of a user that there is
    /// not, so that nothing is touched.
    private static func policy(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ prefix: String, _ context: SealingContext
    ) async throws -> DoctorFinding {
        guard let nobodys = KMSKeyName(prefix + "00000000-0000-0000-0000-000000000000") else {
            return .skipped("keys of principals cannot have this prefix")
        }
        let sealed = try await kms.generateDataKey(under: key, context: context, as: .service).sealed
        var refused: [String] = []
        do throws(KMSError) { _ = try await kms.describeKey(nobodys) } catch {
            if case .denied = error { refused.append("read") } else { try passMissing(error) }
        }
        do throws(KMSError) { _ = try await kms.rewrap(sealed, under: nobodys, context: context, as: .service) } catch {
            if case .denied = error { refused.append("rewrap") } else { try passMissing(error) }
        }
        guard refused.isEmpty else {
            return .warning(
                "the gateway may not \(refused.joined(separator: " or ")) users' keys (\(prefix)...): their key sets "
                    + "cannot follow when the KMS's keys are rotated",
                fix: "Give its credential the policy docs/kms/policies/gateway-delegated.hcl besides, with this prefix."
            )
        }
        return .ok("the gateway may read and rewrap under \(prefix)...")
    }

    /// - Throws: whatever is not what a key that there is not gives.
    private static func passMissing(_ error: KMSError) throws(KMSError) {
        switch error {
        case .keyNotFound, .keyUnusable, .cannotOpen: return
        default: throw error
        }
    }
}
