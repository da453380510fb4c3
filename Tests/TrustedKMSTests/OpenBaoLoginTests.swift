import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSOpenBao

/// How the gateway itself logs in, beyond tokens and plain AppRole.
@Suite struct OpenBaoLoginTests {
    private static let context = SealingContext.forTests(["login"])

    private static func freshKey(_ server: OpenBaoTestServer) async throws -> KMSKeyName {
        try await server.withKMS { try await TrustedKMSConformance.freshKey($0) }
    }

    private static func expectDenied(_ kms: OpenBaoKMS, mentioning mentions: String...) async throws {
        let error = await failure { try await kms.checkHealth() }
        guard case .denied(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
        for mention in mentions { #expect(reason.contains(mention), "\(reason)") }
    }

    // MARK: JWT

    @Test("a workload logs in by the JWT in a file, which is read at every login")
    func workloadLogsInByJWT() async throws {
        let server = try OpenBaoTestServer()
        let issuer = JWTIssuer()
        let key = try await Self.freshKey(server)
        let policy = try await server.leastPolicy(for: key)
        let mount = "jwt-\(UInt32.random(in: .min ... .max))"
        try await server.administer("POST", "sys/auth/\(mount)", ["type": "jwt"])
        try await server.administer(
            "POST", "auth/\(mount)/config",
            ["jwt_validation_pubkeys": [issuer.publicKeyPEM], "bound_issuer": issuer.issuer])
        try await server.administer(
            "POST", "auth/\(mount)/role/hkms",
            [
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["kms"], "bound_subject": "hkms",
                "token_policies": [policy], "token_no_default_policy": true, "token_ttl": "3s", "token_max_ttl": "4s",
            ])
        let folder = try TemporaryFolder()
        let file = try folder.write(try issuer.token(subject: "hkms") + "\n", to: "jwt")
        let authentication = OpenBaoAuthentication.jwt(role: "hkms", tokenFile: file, mount: mount)
        try await server.withKMS(authentication) { kms in
            // Beyond the token's maximum lifetime.
            let end = ContinuousClock.now + .seconds(6)
            while ContinuousClock.now < end {
                _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
                try await Task.sleep(for: .milliseconds(100))
            }
            _ = try folder.write(try issuer.token(subject: "hkms", audience: "other"), to: "jwt")
            try await server.administer("PUT", "sys/leases/revoke-prefix/auth/\(mount)/login")
            try await Self.expectDenied(kms, mentioning: file, "audience")
            _ = try folder.write(try issuer.token(subject: "hkms"), to: "jwt")
            try await kms.checkHealth()
        }
        for (content, mention) in [("", "JWT"), ("two words", "JWT"), ("no-jwt", "refused")] {
            _ = try folder.write(content, to: "jwt")
            try await server.withKMS(authentication) { try await Self.expectDenied($0, mentioning: file, mention) }
        }
        try await server.withKMS(.jwt(role: "no-such-role", tokenFile: file, mount: mount)) { kms in
            _ = try folder.write(try issuer.token(subject: "hkms"), to: "jwt")
            try await Self.expectDenied(kms, mentioning: "no such role")
        }
        try await server.withKMS(.jwt(role: "hkms", tokenFile: file, mount: "no-such-mount")) { kms in
            try await Self.expectDenied(kms, mentioning: "nothing is mounted")
        }
    }

    // MARK: Wrapped secret IDs

    private struct WrappedRole {
        let server: OpenBaoTestServer
        let key: KMSKeyName
        let role: OpenBaoTestServer.AppRole

        init() async throws {
            server = try OpenBaoTestServer()
            key = try await OpenBaoLoginTests.freshKey(server)
            role = try await server.createAppRole(policy: server.leastPolicy(for: key))
            try await wrap()
        }

        /// Puts a new wrapping token into the file.
        @discardableResult
        func wrap(_ path: String? = nil) async throws -> String {
            let answer = try await server.administer(
                "POST", path ?? "auth/\(role.mount)/role/hkms/secret-id", headers: ["X-Vault-Wrap-TTL": "120"])
            guard let token = (answer["wrap_info"] as? [String: Any])?["token"] as? String else {
                throw ConformanceFailure("not wrapped: \(answer)")
            }
            _ = try role.folder.write(token + "\n", to: "secret-id")
            return token
        }

        var authentication: OpenBaoAuthentication {
            .appRole(roleID: role.roleID, secretIDFile: role.secretIDFile, mount: role.mount, wrapped: true)
        }
    }

    @Test("a wrapped secret id is unwrapped once, and serves every later login")
    func wrappedSecretIDServesAllLogins() async throws {
        let wrapped = try await WrappedRole()
        try await wrapped.server.withKMS(wrapped.authentication) { kms in
            try await kms.checkHealth()
            for _ in 0..<2 {
                try await wrapped.role.revokeTokens()
                _ = try await kms.generateDataKey(under: wrapped.key, context: Self.context, as: .service)
            }
            try FileManager.default.removeItem(atPath: wrapped.role.secretIDFile)
            try await wrapped.role.revokeTokens()
            _ = try await kms.generateDataKey(under: wrapped.key, context: Self.context, as: .service)
            // Another wrapping token takes its place, as when secret ids are exchanged.
            try await wrapped.wrap()
            try await wrapped.role.revokeTokens()
            _ = try await kms.generateDataKey(under: wrapped.key, context: Self.context, as: .service)
        }
    }

    @Test("a wrapping token that somebody else used is an alarm")
    func usedWrappingTokenIsAnAlarm() async throws {
        let wrapped = try await WrappedRole()
        let token = try await wrapped.wrap()
        let status = try await wrapped.server.status("POST", "sys/wrapping/unwrap", token: token)
        #expect(status == 200)
        try await wrapped.server.withKMS(wrapped.authentication) { kms in
            try await Self.expectDenied(
                kms, mentioning: "ALARM", "somebody else may have the secret ID", wrapped.role.secretIDFile,
                "bao list auth/\(wrapped.role.mount)/role/ROLE/secret-id`", "destroy secret_id_accessor=ACCESSOR`")
            let error = await failure { try await kms.checkHealth() }
            #expect(error?.description.contains(token) == false)
            // A new one ends it.
            try await wrapped.wrap()
            try await kms.checkHealth()
        }
    }

    @Test("a wrapping token of another path is an alarm, and is not unwrapped")
    func wrappingOfAnotherPathIsAnAlarm() async throws {
        let wrapped = try await WrappedRole()
        for path in ["auth/token/create", "sys/wrapping/wrap", "auth/\(wrapped.role.mount)/role/hkms/custom-secret-id"]
        {
            let token: String
            if path.hasSuffix("custom-secret-id") {
                let answer = try await wrapped.server.administer(
                    "POST", path, ["secret_id": "chosen-by-somebody"], headers: ["X-Vault-Wrap-TTL": "120"])
                token = try #require((answer["wrap_info"] as? [String: Any])?["token"] as? String)
                _ = try wrapped.role.folder.write(token, to: "secret-id")
            } else {
                token = try await wrapped.wrap(path)
            }
            try await wrapped.server.withKMS(wrapped.authentication) { kms in
                try await Self.expectDenied(kms, mentioning: "ALARM", "was not made by")
            }
            #expect(try await wrapped.server.status("POST", "sys/wrapping/unwrap", token: token) == 200)
        }
        // A secret id that is not wrapped is no wrapping token.
        let secret = try await wrapped.server.administer("POST", "auth/\(wrapped.role.mount)/role/hkms/secret-id")
        let plain = try #require((secret["data"] as? [String: Any])?["secret_id"] as? String)
        _ = try wrapped.role.folder.write(plain, to: "secret-id")
        try await wrapped.server.withKMS(wrapped.authentication) { kms in
            try await Self.expectDenied(kms, mentioning: "ALARM")
        }
    }

    // MARK: Namespaces

    @Test("in a namespace, keys, logins and wrapped secret ids are its own")
    func namespaceIsItsOwn() async throws {
        let server = try OpenBaoTestServer()
        let name = "team-\(UInt32.random(in: .min ... .max))"
        try await server.administer("POST", "sys/namespaces/\(name)")
        try await server.administer("POST", "sys/mounts/transit", ["type": "transit"], namespace: name)
        let key = try await server.withKMS(namespace: name) { kms in
            for check in [
                TrustedKMSConformance.rewrapKeepsKeyAndContext, .missingKeyIsNamedAndNotMade, .rewrapTakesManyAtOnce,
            ] {
                try await check.runPromise(on: CompletedKMS(kms))
            }
            return try await TrustedKMSConformance.freshKey(kms)
        }
        let outside = await failure { try await server.withKMS { _ = try await $0.describeKey(key) } }
        #expect(outside == .keyNotFound(key))
        let absent = await failure {
            try await server.withKMS(namespace: "no-such-namespace") { _ = try await $0.describeKey(key) }
        }
        guard case .invalidResponse(let reason) = absent, reason.contains("namespace") else {
            throw ConformanceFailure("\(String(describing: absent))")
        }

        let policy =
            "path \"transit/datakey/plaintext/\(key)\" { capabilities = [\"update\"] }\n"
            + "path \"transit/keys/\(key)\" { capabilities = [\"read\"] }"
        try await server.administer("PUT", "sys/policies/acl/hkms", ["policy": policy], namespace: name)
        try await server.administer("POST", "sys/auth/approle", ["type": "approle"], namespace: name)
        try await server.administer(
            "POST", "auth/approle/role/hkms", ["token_policies": ["hkms"]], namespace: name)
        let role = try await server.administer("GET", "auth/approle/role/hkms/role-id", namespace: name)
        let roleID = try #require((role["data"] as? [String: Any])?["role_id"] as? String)
        let secret = try await server.administer(
            "POST", "auth/approle/role/hkms/secret-id", namespace: name, headers: ["X-Vault-Wrap-TTL": "60"])
        let token = try #require((secret["wrap_info"] as? [String: Any])?["token"] as? String)
        let folder = try TemporaryFolder()
        let file = try folder.write(token, to: "secret-id")
        try await server.withKMS(.appRole(roleID: roleID, secretIDFile: file, wrapped: true), namespace: name) { kms in
            _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
        }
    }
}
