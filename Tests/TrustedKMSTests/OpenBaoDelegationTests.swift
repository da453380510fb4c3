import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSOpenBao

/// Callers with JWTs of their own: the KMS identifies the user, and the gateway alone opens nothing of theirs.
@Suite struct OpenBaoDelegationTests {
    private static let context = SealingContext.forTests(["delegation"])

    /// A JWT auth method as docs/kms/openbao.md sets it up, and adapters that use it.
    private struct Setup {
        let server: OpenBaoTestServer
        let issuer = JWTIssuer()
        let mount = "jwt-\(UInt32.random(in: .min ... .max))"
        let prefix = "user-\(UInt32.random(in: .min ... .max))-"
        let gatewayToken: String

        init(uses: Int = 1, keepsDefaultPolicy: Bool = false) async throws {
            server = try OpenBaoTestServer()
            let user = try await server.load("user", replacing: ["hkms-user-": prefix])
            try await server.administer("POST", "sys/auth/\(mount)", ["type": "jwt"])
            try await server.administer(
                "POST", "auth/\(mount)/config",
                ["jwt_validation_pubkeys": [issuer.publicKeyPEM], "bound_issuer": issuer.issuer])
            try await server.administer(
                "POST", "auth/\(mount)/role/hkms-user",
                [
                    "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["kms"], "token_policies": [user],
                    "token_num_uses": uses, "token_ttl": "60s", "token_max_ttl": "60s",
                    "token_no_default_policy": true, "clock_skew_leeway": -1, "expiration_leeway": -1,
                    "not_before_leeway": -1,
                ])
            let gateway = try await server.load("gateway-delegated", replacing: ["hkms-user-": prefix])
            gatewayToken = try await server.createToken(policy: gateway)
        }

        func withKMS<Result>(
            _ authentication: OpenBaoAuthentication? = nil, _ body: (OpenBaoKMS) async throws -> Result
        ) async throws -> Result {
            try await server.withKMS(
                authentication ?? .token(OpenBaoTestServer.token(gatewayToken)),
                delegation: OpenBaoDelegation(mount: mount, role: "hkms-user", keyPrefix: prefix), body)
        }

        func caller(_ subject: String) throws -> KMSCaller { try .holding(issuer.token(subject: subject)) }

        /// Tokens of callers that live.
        func tokenCount() async throws -> Int {
            do {
                let answer = try await server.administer("LIST", "sys/leases/lookup/auth/\(mount)/login")
                return ((answer["data"] as? [String: Any])?["keys"] as? [String])?.count ?? 0
            } catch let failure as ConformanceFailure where failure.description.contains("404") {
                return 0
            }
        }

        /// The same, at most `limit` as soon as the server has revoked so many: spent ones some time after their use.
        func tokenCount(fallingTo limit: Int) async throws -> Int {
            var count = try await tokenCount()
            for _ in 0..<100 where count > limit {
                try await Task.sleep(for: .milliseconds(100))
                count = try await tokenCount()
            }
            return count
        }
    }

    private static func expectDenied(
        _ mention: String = "", sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> Void
    ) async {
        let error = await failure(body)
        guard case .denied(let reason) = error, mention.isEmpty || reason.contains(mention) else {
            Issue.record("\(String(describing: error))", sourceLocation: sourceLocation)
            return
        }
    }

    private static func roundTrip(_ kms: OpenBaoKMS, _ key: KMSKeyName, as caller: KMSCaller) async throws {
        let secret = try SecretBytes(randomCount: 32)
        let sealed = try await kms.seal(secret, under: key, context: context, as: caller)
        let opened = try await kms.open(sealed, under: key, context: context, as: caller)
        let isSame = opened.equals(secret)
        #expect(isSame)
    }

    // MARK: Who opens what

    @Test("the user's own credential opens a user's seed; the gateway's does not, nor does another user's")
    func onlyTheUserOpens() async throws {
        let setup = try await Setup()
        try await setup.withKMS { kms in
            #expect(kms.capabilities.authenticates == [.service, .caller])
            let alice = try setup.caller("alice")
            let key = try await kms.principalKey(of: alice)
            #expect(key.value.hasPrefix(setup.prefix))
            let secret = try SecretBytes(randomCount: 32)
            let sealed = try await kms.seal(secret, under: key, context: Self.context, as: alice)
            let dataKey = try await kms.generateDataKey(under: key, context: Self.context, as: alice).sealed

            for blob in [sealed, dataKey] {
                _ = try await kms.open(blob, under: key, context: Self.context, as: alice)
                await Self.expectDenied("policy") {
                    _ = try await kms.open(blob, under: key, context: Self.context, as: .service)
                }
                await Self.expectDenied("caller's own token") {
                    _ = try await kms.open(blob, under: key, context: Self.context, as: setup.caller("bob"))
                }
            }
            // Nor does it seal in their name, make their key or destroy it.
            await Self.expectDenied {
                _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
            }
            await Self.expectDenied { try await kms.rotateKey(key) }
            await Self.expectDenied { try await kms.destroyKey(key) }
            await Self.expectDenied { try await kms.createKey(key) }
            #expect(try await kms.describeKey(key).latestVersion == 1)

            // It moves the user's seeds to a new version without seeing them.
            try await setup.server.administer("POST", "transit/keys/\(key)/rotate")
            let rewrapped = try await kms.rewrap(sealed, under: key, context: Self.context, as: .service)
            #expect(rewrapped.keyVersion == 2)
            let opened = try await kms.open(rewrapped, under: key, context: Self.context, as: alice)
            let isSame = opened.equals(secret)
            #expect(isSame)
        }
    }

    @Test func everyPrincipalHasOneKey() async throws {
        let setup = try await Setup()
        try await setup.withKMS { kms in
            let first = try await kms.principalKey(of: setup.caller("alice"))
            #expect(try await kms.principalKey(of: setup.caller("alice")) == first, "by another token of theirs")
            let other = try await kms.principalKey(of: setup.caller("bob"))
            #expect(other != first)
            try await Self.roundTrip(kms, first, as: setup.caller("alice"))
            try await Self.roundTrip(kms, other, as: setup.caller("bob"))
            let service = await failure { _ = try await kms.principalKey(of: .service) }
            guard case .notSupported = service else { throw ConformanceFailure("\(String(describing: service))") }
        }
        // A gateway that has just started knows no key.
        try await setup.withKMS { kms in
            let alice = try setup.caller("alice")
            try await Self.roundTrip(kms, kms.principalKey(of: alice), as: alice)
        }
    }

    /// A key in any other form than the documented one would be exportable, or not bound to contexts.
    @Test func principalsMakeTheirKeyInOneFormAlone() async throws {
        let setup = try await Setup()
        let login = try await setup.server.administer(
            "POST", "auth/\(setup.mount)/login",
            ["role": "hkms-user", "jwt": setup.issuer.token(subject: "mallory")])
        let entity = try #require((login["auth"] as? [String: Any])?["entity_id"] as? String)
        for settings in [
            ["type": "aes256-gcm96", "derived": "true", "exportable": "true"],
            ["type": "aes256-gcm96", "derived": "true", "allow_plaintext_backup": "true"],
            ["type": "aes256-gcm96", "derived": "false"], ["type": "aes256-gcm96"], [:],
        ] {
            let login = try await setup.server.administer(
                "POST", "auth/\(setup.mount)/login",
                ["role": "hkms-user", "jwt": setup.issuer.token(subject: "mallory")])
            let token = try #require((login["auth"] as? [String: Any])?["client_token"] as? String)
            let status = try await setup.server.status(
                "POST", "transit/keys/\(setup.prefix)\(entity)", settings, token: token)
            #expect(status == 403, "\(settings)")
        }
    }

    // MARK: Credentials that are refused

    @Test func refusedCredentialsAreNamed() async throws {
        let setup = try await Setup()
        let issuer = setup.issuer
        let cases: [(String, String)] = [
            ("expired", try issuer.token(subject: "alice", lifetime: -30)),
            ("audience", try issuer.token(subject: "alice", audience: "hkms")),
            ("issuer", try issuer.token(subject: "alice", issuer: "https://evil.example.com")),
            ("not valid yet", try issuer.token(subject: "alice", notBefore: 100)),
            ("signature", try JWTIssuer().token(subject: "alice")),
            ("refused", "not-a-jwt"), ("refused", try OpenBaoTestServer().token),
        ]
        // A gateway that may do everything itself, so that a fall-back would show.
        try await setup.withKMS(setup.server.rootAuthentication) { kms in
            let alice = try setup.caller("alice")
            let key = try await kms.principalKey(of: alice)
            let secret = try SecretBytes(randomCount: 32)
            let sealed = try await kms.seal(secret, under: key, context: Self.context, as: alice)
            for (mention, token) in cases {
                let caller = try KMSCaller.holding(token)
                await Self.expectDenied(mention) {
                    _ = try await kms.open(sealed, under: key, context: Self.context, as: caller)
                }
                await Self.expectDenied(mention) {
                    _ = try await kms.generateDataKey(under: key, context: Self.context, as: caller)
                }
                await Self.expectDenied(mention) { _ = try await kms.principalKey(of: caller) }
                let error = await failure { _ = try await kms.principalKey(of: caller) }
                #expect(error?.description.contains(token) == false)
            }
        }
    }

    @Test func withoutDelegationCallersAreRefused() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS { kms in
            #expect(kms.capabilities.authenticates == .service)
            let key = try await TrustedKMSConformance.freshKey(kms)
            let caller = try KMSCaller.holding(JWTIssuer().token(subject: "alice"))
            let errors = [
                await failure { _ = try await kms.principalKey(of: caller) },
                await failure {
                    _ = try await kms.generateDataKey(under: key, context: Self.context, as: caller)
                },
            ]
            for error in errors {
                guard case .notSupported = error else { throw ConformanceFailure("\(String(describing: error))") }
            }
        }
    }

    // MARK: Tokens

    @Test("tokens of one request leave none behind, and the gateway's own credential is not asked for")
    func tokensAreSpent() async throws {
        let setup = try await Setup()
        try await setup.withKMS(.tokenFile("/nowhere/token")) { kms in
            let alice = try setup.caller("alice")
            let key = try await kms.principalKey(of: alice)
            for _ in 0..<5 { try await Self.roundTrip(kms, key, as: alice) }
            #expect(try await setup.tokenCount(fallingTo: 0) == 0)
            await Self.expectDenied("/nowhere/token") {
                _ = try await kms.rewrap(
                    KMSSealedBlob(bytes: Array("vault:v1:AAAA".utf8), keyVersion: 1), under: key,
                    context: Self.context, as: .service)
            }
        }
    }

    @Test func aTokenOfSeveralRequestsServesThemAll() async throws {
        let setup = try await Setup(uses: 3)
        try await setup.withKMS { kms in
            let alice = try setup.caller("alice")
            let key = try await kms.principalKey(of: alice)
            for _ in 0..<10 { try await Self.roundTrip(kms, key, as: alice) }
            let kept = try await setup.tokenCount(fallingTo: 1)
            #expect(kept <= 1)
            // Revoked behind the gateway's back: the next call logs in again.
            try await setup.server.administer("PUT", "sys/leases/revoke-prefix/auth/\(setup.mount)/login")
            for _ in 0..<4 { try await Self.roundTrip(kms, key, as: alice) }
            // A kept token is its own caller's alone.
            await Self.expectDenied {
                let blob = try await kms.generateDataKey(under: key, context: Self.context, as: alice).sealed
                _ = try await kms.open(blob, under: key, context: Self.context, as: setup.caller("bob"))
            }
        }
    }

    @Test func callersSideBySideKeepTheirKeys() async throws {
        let setup = try await Setup()
        try await setup.withKMS { kms in
            try await withThrowingTaskGroup(of: KMSKeyName.self) { group in
                for user in 0..<64 {
                    group.addTask {
                        let caller = try setup.caller("user \(user % 16)")
                        let key = try await kms.principalKey(of: caller)
                        try await Self.roundTrip(kms, key, as: caller)
                        return key
                    }
                }
                var keys: Set<KMSKeyName> = []
                for try await key in group { keys.insert(key) }
                #expect(keys.count == 16)
            }
        }
    }

    @Test("round trips: two for a principal's key, two for opening and sealing")
    func roundTripsAreCounted() async throws {
        let login = "/v1/auth/jwt/login"
        let key = "/v1/transit/keys/hkms-user-e1"
        let decrypt = "/v1/transit/decrypt/hkms-user-e1"
        for (uses, logins) in [(1, 8), (4, 2), (0, 1)] {
            let server = try await CannedServer([
                login: .init(
                    #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true,"entity_id":"e1","#
                        + #""num_uses":\#(uses)}}"#),
                decrypt: .init(#"{"data":{"plaintext":"aGVsbG8s"}}"#),
                "/v1/transit/encrypt/hkms-user-e1": .init(#"{"data":{"ciphertext":"vault:v1:AAAA"}}"#),
            ])
            let kms = try OpenBaoKMS(
                OpenBaoConfiguration(
                    address: server.address, authentication: .tokenFile("/nowhere"),
                    delegation: OpenBaoDelegation(role: "hkms-user"), retryTime: .zero))
            let caller = try KMSCaller.holding("a.b.c")
            let name = try await kms.principalKey(of: caller)
            #expect(try await kms.principalKey(of: caller) == name)
            for _ in 0..<6 {
                let blob = KMSSealedBlob(bytes: Array("vault:v1:AAAA".utf8), keyVersion: 1)
                _ = try await kms.open(blob, under: name, context: Self.context, as: caller)
            }
            let secret = try SecretBytes(randomCount: 32)
            _ = try await kms.seal(secret, under: name, context: Self.context, as: caller)
            #expect(server.requestCount(key) == 1)
            #expect(server.requestCount(decrypt) == 6)
            #expect(server.requestCount(login) == logins, "\(uses) uses")
            await kms.shutdown()
            try await server.stop()
        }
    }

    /// Answers to a login that no real server is made to give.
    @Test(arguments: [
        "", "{}", "null", #"{"auth":null}"#, #"{"auth":{"client_token":"t"}}"#,
        #"{"auth":{"client_token":"","lease_duration":60,"renewable":true,"entity_id":"e"}}"#,
        #"{"auth":{"client_token":"a b","lease_duration":60,"renewable":true,"entity_id":"e"}}"#,
        #"{"auth":{"client_token":"t","lease_duration":-1,"renewable":true,"entity_id":"e"}}"#,
        #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true,"entity_id":"e","num_uses":-1}}"#,
        #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true}}"#,
        #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true,"entity_id":""}}"#,
        #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true,"entity_id":"../seeds"}}"#,
        #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true,"entity_id":"a/b"}}"#,
        #"{"auth":{"client_token":"t","lease_duration":60,"renewable":true,"entity_id":"e\u0041"}}"#,
    ])
    func loginThatSaysNothingOfUseIsInvalid(_ text: String) async throws {
        let server = try await CannedServer(["/v1/auth/jwt/login": .init(text)])
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: server.address, authentication: .tokenFile("/nowhere"),
                delegation: OpenBaoDelegation(role: "hkms-user"), retryTime: .zero))
        let caller = try KMSCaller.holding("a.b.c")
        let error = await failure { _ = try await kms.principalKey(of: caller) }
        await kms.shutdown()
        try await server.stop()
        guard case .invalidResponse = error else { throw ConformanceFailure("\(String(describing: error))") }
    }
}
