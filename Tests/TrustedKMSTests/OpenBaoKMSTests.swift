import Foundation
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSOpenBao

/// Against a real server; without one they fail and name scripts/test.
@Suite struct OpenBaoKMSTests {
    private static let context = SealingContext.forTests(["openbao", "tests"])

    // MARK: TLS

    @Test func unknownAuthorityIsRefused() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS(address: OpenBaoTestServer.tlsAddress) { kms in
            try await Self.expectUnavailable(kms, mentioning: "TLS")
        }
    }

    /// The certificate is for localhost alone.
    @Test func otherHostNameIsRefused() async throws {
        let server = try OpenBaoTestServer()
        let address = try OpenBaoTestServer.tlsAddress.replacingOccurrences(of: "localhost", with: "127.0.0.1")
        try await server.withKMS(address: address, ca: OpenBaoTestServer.ca) { kms in
            try await Self.expectUnavailable(kms, mentioning: "TLS")
        }
    }

    @Test func tls12IsRefused() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS(address: OpenBaoTestServer.tls12Address, ca: OpenBaoTestServer.ca) { kms in
            try await Self.expectUnavailable(kms, mentioning: "TLS 1.3")
        }
    }

    // MARK: Authentication

    @Test func wrongTokenIsDenied() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS(.token(OpenBaoTestServer.token("no-such-token"))) { kms in
            try await Self.expectDenied(kms, TrustedKMSConformance.freshName())
            let error = await failure { try await kms.checkHealth() }
            guard case .denied = error else { throw ConformanceFailure("\(String(describing: error))") }
        }
    }

    /// The documented policy is enough for a gateway, and no more than that.
    @Test func leastPolicySuffices() async throws {
        let server = try OpenBaoTestServer()
        let (key, other) = try await Self.twoKeys(server)
        let token = try await server.createToken(policy: server.leastPolicy(for: key))
        try await server.withKMS(.token(OpenBaoTestServer.token(token))) { kms in
            try await kms.checkHealth()
            try await Self.roundTrip(kms, key)
            _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
            _ = try await kms.random(count: 32)
            _ = try await kms.describeKey(key)
            try await Self.expectDenied(kms, other)
            let calls: [@Sendable () async throws -> Void] = [
                { try await kms.createKey(TrustedKMSConformance.freshName()) },
                { try await kms.rotateKey(key) },
                { try await kms.setMinimumVersion(1, of: key) },
                { try await kms.destroyKey(key) },
            ]
            for call in calls {
                guard case .denied = await failure(call) else {
                    throw ConformanceFailure("an administrator's call passed")
                }
            }
        }
    }

    @Test("a key or mount that is misspelt is named, though a least policy only denies it")
    func misspeltNamesAreNamed() async throws {
        let server = try OpenBaoTestServer()
        let (key, _) = try await Self.twoKeys(server)
        let missing = try #require(KMSKeyName("\(key)-misspelt"))
        let token = try await server.createToken(policy: server.leastPolicy(for: key))
        for (name, mount) in [(missing, "transit"), (key, "transitt")] {
            try await server.withKMS(.token(OpenBaoTestServer.token(token)), mount: mount) { kms in
                for isDescription in [true, false] {
                    let error = await failure {
                        if isDescription {
                            _ = try await kms.describeKey(name)
                        } else {
                            _ = try await kms.generateDataKey(under: name, context: Self.context, as: .service)
                        }
                    }
                    guard case .denied(let reason) = error,
                        reason.contains("\(name) at the mount '\(mount)'"), reason.contains("misspelt")
                    else { throw ConformanceFailure("\(String(describing: error))") }
                }
            }
        }
    }

    @Test func appRoleLogsInAndSurvivesRevocation() async throws {
        let server = try OpenBaoTestServer()
        let (key, other) = try await Self.twoKeys(server)
        let role = try await server.createAppRole(policy: server.leastPolicy(for: key))
        try await server.withKMS(role.authentication) { kms in
            try await kms.checkHealth()
            try await Self.roundTrip(kms, key)
            #expect(try await role.tokenCount() == 1)
            try await role.revokeTokens()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<16 { group.addTask { try await Self.roundTrip(kms, key) } }
                try await group.waitForAll()
            }
            #expect(try await role.tokenCount() == 1, "one new login serves all")
            // What the policy forbids is no reason to log in again.
            for _ in 0..<5 { try await Self.expectDenied(kms, other) }
            #expect(try await role.tokenCount() == 1)
        }
    }

    /// Renewed until its maximum lifetime is near, then replaced.
    @Test func appRoleTokenIsRenewedBeforeItExpires() async throws {
        let server = try OpenBaoTestServer()
        let (key, _) = try await Self.twoKeys(server)
        let role = try await server.createAppRole(
            policy: server.leastPolicy(for: key), settings: ["token_ttl": "2s", "token_max_ttl": "5s"])
        try await server.withKMS(role.authentication) { kms in
            let end = ContinuousClock.now + .seconds(9)
            while ContinuousClock.now < end {
                try await Self.roundTrip(kms, key)
                try await Task.sleep(for: .milliseconds(100))
            }
        }
    }

    /// A token of its own lifetime, renewed while nobody calls.
    @Test func tokenIsRenewedWhileIdle() async throws {
        let server = try OpenBaoTestServer()
        let (key, _) = try await Self.twoKeys(server)
        let token = try await server.createToken(policy: server.leastPolicy(for: key), settings: ["period": "12s"])
        try await server.withKMS(.token(OpenBaoTestServer.token(token))) { kms in
            try await Self.roundTrip(kms, key)
            try await Task.sleep(for: .seconds(15))
            try await Self.roundTrip(kms, key)
        }
    }

    @Test func wrongSecretIDIsDenied() async throws {
        let server = try OpenBaoTestServer()
        let role = try await server.createAppRole(policy: "default")
        for content in ["no-such-secret-id", "", "with \"quotes\"", String(repeating: "a", count: 10_000)] {
            _ = try role.folder.write(content, to: "secret-id")
            try await server.withKMS(role.authentication) { kms in
                let error = await failure { try await kms.checkHealth() }
                guard case .denied(let reason) = error, reason.contains(role.secretIDFile) else {
                    throw ConformanceFailure("\(String(describing: error))")
                }
                #expect(content.isEmpty || !reason.contains(content))
            }
        }
        try FileManager.default.removeItem(atPath: role.secretIDFile)
        try await server.withKMS(role.authentication) { kms in
            let error = await failure { try await kms.checkHealth() }
            guard case .denied(let reason) = error, reason.contains(role.secretIDFile) else {
                throw ConformanceFailure("\(String(describing: error))")
            }
        }
    }

    @Test func replacedTokenFileIsReadAgain() async throws {
        let server = try OpenBaoTestServer()
        let (key, _) = try await Self.twoKeys(server)
        let policy = try await server.leastPolicy(for: key)
        let folder = try TemporaryFolder()
        let first = try await server.createToken(policy: policy)
        let file = try folder.write(first + "\n", to: "token")
        try await server.withKMS(.tokenFile(file)) { kms in
            try await Self.roundTrip(kms, key)
            try await server.administer("POST", "auth/token/revoke", ["token": first])
            try await Self.expectDenied(kms, key)
            _ = try await folder.write(server.createToken(policy: policy), to: "token")
            try await Self.roundTrip(kms, key)
        }
    }

    // MARK: Keys that do not fit

    @Test(arguments: [
        ["type": "aes256-gcm96"], ["type": "chacha20-poly1305", "derived": "true"], ["type": "ed25519"],
        ["type": "aes256-gcm96", "derived": "true", "convergent_encryption": "true"],
    ])
    func unfitKeySealsNothing(_ settings: [String: String]) async throws {
        let server = try OpenBaoTestServer()
        let key = TrustedKMSConformance.freshName()
        try await server.administer("POST", "transit/keys/\(key)", settings.mapValues { $0 as any Sendable })
        try await server.withKMS { kms in
            let secret = try SecretBytes(randomCount: 32)
            let sealing = await failure {
                _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
            }
            let dataKey = await failure {
                _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
            }
            for error in [sealing, dataKey] {
                guard case .keyUnusable(key, _) = error else {
                    throw ConformanceFailure("\(String(describing: error))")
                }
            }
        }
    }

    /// Transit itself reads version 0 as version 1, and base64 with stray bits.
    @Test func otherSpellingsOfACiphertextDoNotOpen() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS { kms in
            let key = try await TrustedKMSConformance.freshKey(kms)
            let secret = try SecretBytes(randomCount: 32)
            let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
            let text = String(decoding: blob.bytes, as: UTF8.self)
            let others = [
                text.replacingOccurrences(of: "v1", with: "v0"), text.replacingOccurrences(of: "v1", with: "v01"),
                text.replacingOccurrences(of: "v1", with: "v+1"), text + "\n", text + "=", text + " ",
                text.replacingOccurrences(of: "vault", with: "Vault"),
            ]
            for other in others {
                let error = await failure {
                    _ = try await kms.open(
                        KMSSealedBlob(bytes: Array(other.utf8), keyVersion: 1), under: key, context: Self.context,
                        as: .service)
                }
                #expect(error == .cannotOpen, "\(other)")
            }
        }
    }

    @Test func missingMountIsNamed() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS(mount: "nothing/here") { kms in
            let error = await failure {
                _ = try await kms.describeKey(TrustedKMSConformance.freshName())
            }
            guard case .invalidResponse(let reason) = error, reason.contains("nothing/here") else {
                throw ConformanceFailure("\(String(describing: error))")
            }
        }
    }

    @Test func callsAfterShutdownAreUnavailable() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS { kms in
            try await kms.checkHealth()
            await kms.shutdown()
            try await Self.expectUnavailable(kms, mentioning: "")
        }
    }

    // MARK: Tools

    private static func twoKeys(_ server: OpenBaoTestServer) async throws -> (KMSKeyName, KMSKeyName) {
        try await server.withKMS { kms in
            (try await TrustedKMSConformance.freshKey(kms), try await TrustedKMSConformance.freshKey(kms))
        }
    }

    private static func roundTrip(_ kms: OpenBaoKMS, _ key: KMSKeyName) async throws {
        let secret = try SecretBytes(randomCount: 32)
        let sealed = try await kms.seal(secret, under: key, context: context, as: .service)
        let rewrapped = try await kms.rewrap(sealed, under: key, context: context, as: .service)
        let opened = try await kms.open(rewrapped, under: key, context: context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
    }

    private static func expectDenied(_ kms: OpenBaoKMS, _ key: KMSKeyName) async throws {
        let blob = KMSSealedBlob(bytes: Array("vault:v1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA".utf8), keyVersion: 1)
        let opening = await failure {
            _ = try await kms.open(blob, under: key, context: context, as: .service)
        }
        let sealing = await failure {
            _ = try await kms.generateDataKey(under: key, context: context, as: .service)
        }
        for error in [opening, sealing] {
            guard case .denied = error else { throw ConformanceFailure("\(String(describing: error))") }
        }
    }

    private static func expectUnavailable(_ kms: OpenBaoKMS, mentioning text: String) async throws {
        let error = await failure { try await kms.checkHealth() }
        guard case .unavailable(let reason) = error, text.isEmpty || reason.contains(text) else {
            throw ConformanceFailure("\(String(describing: error))")
        }
    }
}
