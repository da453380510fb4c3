import Foundation
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSOpenBao

/// Servers that are away, sealed, busy or not the one to ask.
@Suite(.serialized, .timeLimit(.minutes(3))) struct OpenBaoRetryTests {
    private typealias Answer = CannedServer.Answer
    private static let context = SealingContext.forTests(["retries"])
    private static let blob = KMSSealedBlob(bytes: Array("vault:v1:AAAA".utf8), keyVersion: 1)
    private static let decrypt = "/v1/transit/decrypt/key"
    private static let rotate = "/v1/transit/keys/key/rotate"
    private static let opened = Answer(#"{"data":{"plaintext":"aGVsbG8s"}}"#)
    private static let sealed = Answer(#"{"errors":["Vault is sealed"]}"#, status: 503)

    private static var key: KMSKeyName { get throws { try #require(KMSKeyName("key")) } }

    /// Runs `body` with an adapter for these servers, in this order.
    private static func with(
        _ answers: [String: Answer]..., retryTime: Duration = .zero, timeout: Duration = .seconds(5),
        _ body: (OpenBaoKMS, [CannedServer]) async throws -> Void
    ) async throws {
        var servers: [CannedServer] = []
        for answers in answers { servers.append(try await CannedServer(answers)) }
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                addresses: servers.map(\.address), authentication: .token(OpenBaoTestServer.token("token")),
                requestTimeout: timeout, retryTime: retryTime))
        do {
            try await body(kms, servers)
        } catch {
            await kms.shutdown()
            for server in servers { try await server.stop() }
            throw error
        }
        await kms.shutdown()
        for server in servers { try? await server.stop() }
    }

    private static func open(_ kms: OpenBaoKMS) async -> KMSError? {
        await failure { _ = try await kms.open(blob, under: key, context: context, as: .service) }
    }

    // MARK: Several servers

    @Test(
        "each server is asked once, and the one that serves is asked from then on",
        arguments: [
            Answer("", status: 307, headers: ["Location": "http://192.0.2.1/"]), Answer("", status: 472),
            Answer("", status: 473), Answer("", status: 412), Answer("", status: 500), Answer("", status: 502),
            Answer(#"{"errors":["Vault is sealed"]}"#, status: 503),
        ])
    private func nextServerIsAsked(_ answer: Answer) async throws {
        try await Self.with([Self.decrypt: answer], [Self.decrypt: answer], [Self.decrypt: Self.opened]) {
            kms, servers in
            for _ in 0..<5 { #expect(await Self.open(kms) == nil) }
            #expect(servers.map { $0.requestCount(Self.decrypt) } == [1, 1, 5])
        }
    }

    @Test func serverThatIsGoneIsPassedOver() async throws {
        try await Self.with([:], [Self.decrypt: Self.opened]) { kms, servers in
            try await servers[0].stop()
            for _ in 0..<5 { #expect(await Self.open(kms) == nil) }
            #expect(servers[1].requestCount(Self.decrypt) == 5)
        }
        try await Self.with([:], [:]) { kms, servers in
            for server in servers { try await server.stop() }
            guard case .unavailable = await Self.open(kms) else { throw ConformanceFailure("nobody listens") }
        }
    }

    @Test func serverThatHangsIsPassedOver() async throws {
        let hanging = Answer("{", hangs: true)
        try await Self.with(
            [Self.decrypt: hanging], [Self.decrypt: Self.opened], timeout: .seconds(3)
        ) { kms, servers in
            #expect(await Self.open(kms) == nil)
            #expect(await Self.open(kms) == nil)
            #expect(servers.map { $0.requestCount(Self.decrypt) } == [1, 2])
        }
    }

    @Test func healthIsAskedOfEveryServerOnce() async throws {
        let path = "/v1/sys/health?standbyok=true&perfstandbyok=true"
        let own = "/v1/auth/token/lookup-self"
        try await Self.with(
            [path: Self.sealed], [path: Self.sealed], retryTime: .seconds(60)
        ) { kms, servers in
            let error = await failure { try await kms.checkHealth() }
            guard case .unavailable(let reason) = error, reason.contains("sealed") else {
                throw ConformanceFailure("\(String(describing: error))")
            }
            #expect(servers.map { $0.requestCount(path) } == [1, 1])
        }
        try await Self.with(
            [path: Self.sealed], [path: Answer("{}"), own: Answer(#"{"data":{"ttl":0,"renewable":false}}"#)]
        ) { kms, _ in
            try await kms.checkHealth()
        }
    }

    // MARK: One server

    @Test func serverThatComesBackIsWaitedFor() async throws {
        let first = try await CannedServer([:])
        let port = first.port
        try await first.stop()
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: "http://127.0.0.1:\(port)", authentication: .token(OpenBaoTestServer.token("token")),
                retryTime: .seconds(60)))
        async let error = Self.open(kms)
        try await Task.sleep(for: .seconds(1))
        let second = try await CannedServer([Self.decrypt: Self.opened], port: port)
        #expect(await error == nil)
        #expect(second.requestCount(Self.decrypt) == 1)
        await kms.shutdown()
        try await second.stop()
    }

    @Test("a sealed server waits for people, and nobody waits for them")
    func sealedServerIsAskedOnce() async throws {
        try await Self.with([Self.decrypt: Self.sealed], retryTime: .seconds(60)) { kms, servers in
            guard case .unavailable(let reason) = await Self.open(kms), reason.contains("sealed") else {
                throw ConformanceFailure("a sealed server opened")
            }
            #expect(servers[0].requestCount(Self.decrypt) == 1)
        }
    }

    @Test("what is refused is not asked again", arguments: [400, 403, 404, 405])
    func refusalIsFinal(status: Int) async throws {
        try await Self.with([Self.decrypt: Answer("{}", status: status)], [:], retryTime: .seconds(60)) {
            kms, servers in
            #expect(await Self.open(kms) != nil)
            #expect(servers.map { $0.requestCount(Self.decrypt) } == [1, 0])
        }
    }

    @Test func callsGiveUpInTheEnd() async throws {
        try await Self.with([Self.decrypt: Answer("", status: 502)], retryTime: .seconds(2)) { kms, servers in
            guard case .unavailable = await Self.open(kms) else { throw ConformanceFailure("502 opened") }
            let count = servers[0].requestCount(Self.decrypt)
            #expect((3...60).contains(count), "\(count) attempts")
        }
    }

    // MARK: Once alone

    @Test("a rotation that a server may have done is not asked for again")
    func rotationIsNotRepeated() async throws {
        let key = try Self.key
        for answer in [Answer("", status: 500), Answer("", status: 502), Answer("{", hangs: true)] {
            try await Self.with(
                [Self.rotate: answer], [Self.rotate: Answer("", status: 204)], retryTime: .seconds(60),
                timeout: .seconds(3)
            ) { kms, servers in
                guard case .unavailable = await failure({ try await kms.rotateKey(key) }) else {
                    throw ConformanceFailure("\(answer.status) rotated")
                }
                #expect(servers.map { $0.requestCount(Self.rotate) } == [1, 0])
            }
        }
        // These have not taken it.
        for answer in [Answer("", status: 307), Answer("", status: 473), Self.sealed] {
            try await Self.with([Self.rotate: answer], [Self.rotate: Answer("", status: 204)]) { kms, servers in
                try await kms.rotateKey(key)
                #expect(servers.map { $0.requestCount(Self.rotate) } == [1, 1])
            }
        }
        try await Self.with([:], [Self.rotate: Answer("", status: 204)]) { kms, servers in
            try await servers[0].stop()
            try await kms.rotateKey(key)
        }
    }

    /// Unwrapped twice, a wrapping token would look stolen.
    @Test func unwrappingIsNotRepeated() async throws {
        let unwrap = "/v1/sys/wrapping/unwrap"
        let server = try await CannedServer([
            "/v1/sys/wrapping/lookup": Answer(#"{"data":{"creation_path":"auth/approle/role/r/secret-id"}}"#),
            unwrap: Answer("", status: 502),
        ])
        let folder = try TemporaryFolder()
        let file = try folder.write("wrapping-token", to: "secret-id")
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: server.address,
                authentication: .appRole(roleID: "r", secretIDFile: file, wrapped: true), retryTime: .seconds(60)))
        guard case .unavailable = await Self.open(kms) else { throw ConformanceFailure("502 unwrapped") }
        #expect(server.requestCount(unwrap) == 1)
        await kms.shutdown()
        try await server.stop()
    }

    @Test(
        "the wrapping of anything but a secret id of this mount is refused",
        arguments: [
            "auth/token/create", "auth/other/role/r/secret-id", "kv/auth/approle/role/r/secret-id",
            "auth/approle/role/r/secret-id/x", "auth/approle/role/r/custom-secret-id", "auth/approle/role/secret-id",
            "",
        ])
    func wrappingIsOfASecretID(path: String) async throws {
        let unwrap = "/v1/sys/wrapping/unwrap"
        let server = try await CannedServer([
            "/v1/sys/wrapping/lookup": Answer(#"{"data":{"creation_path":"\#(path)"}}"#),
            unwrap: Answer(#"{"data":{"secret_id":"s"}}"#),
        ])
        let folder = try TemporaryFolder()
        let file = try folder.write("wrapping-token", to: "secret-id")
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: server.address,
                authentication: .appRole(roleID: "r", secretIDFile: file, wrapped: true), retryTime: .zero))
        guard case .denied(let reason) = await Self.open(kms), reason.contains("ALARM") else {
            throw ConformanceFailure("unwrapped")
        }
        #expect(server.requestCount(unwrap) == 0)
        await kms.shutdown()
        try await server.stop()
    }

    /// A standby that forwarded the token, and then lost the leader, redirects: the token may be spent.
    @Test func unwrappingIsNotRepeatedAfterARedirect() async throws {
        let unwrap = "/v1/sys/wrapping/unwrap"
        let answers = [
            "/v1/sys/wrapping/lookup": Answer(#"{"data":{"creation_path":"auth/approle/role/r/secret-id"}}"#),
            unwrap: Answer("", status: 307),
        ]
        let servers = [try await CannedServer(answers), try await CannedServer(answers)]
        let folder = try TemporaryFolder()
        let file = try folder.write("wrapping-token", to: "secret-id")
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                addresses: servers.map(\.address),
                authentication: .appRole(roleID: "r", secretIDFile: file, wrapped: true), retryTime: .seconds(60)))
        guard case .unavailable = await Self.open(kms) else { throw ConformanceFailure("307 unwrapped") }
        #expect(servers.map { $0.requestCount(unwrap) }.reduce(0, +) == 1)
        await kms.shutdown()
        for server in servers { try await server.stop() }
    }

    /// Servers lock a role after a few wrong secret IDs, for every gateway that has it.
    @Test(arguments: [400, 403])
    func refusedLoginIsNotAskedForAgain(_ status: Int) async throws {
        let login = "/v1/auth/approle/login"
        let server = try await CannedServer([login: Answer(#"{"errors":["invalid"]}"#, status: status)])
        let folder = try TemporaryFolder()
        let file = try folder.write("wrong", to: "secret-id")
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: server.address, authentication: .appRole(roleID: "r", secretIDFile: file),
                retryTime: .zero))
        for _ in 0..<8 {
            guard case .denied = await Self.open(kms) else { throw ConformanceFailure("\(status) logged in") }
        }
        #expect(server.requestCount(login) == 1)
        // Another secret ID is another login.
        _ = try folder.write("wrong-as-well", to: "secret-id")
        for _ in 0..<8 { _ = await Self.open(kms) }
        #expect(server.requestCount(login) == 2)
        await kms.shutdown()
        try await server.stop()
    }

    /// Another server may have the version that one which lags has not.
    @Test func versionOfAnotherServerIsLookedFor() async throws {
        let tooNew = Answer(#"{"errors":["invalid ciphertext: version is too new"]}"#, status: 400)
        try await Self.with([Self.decrypt: tooNew], [:], retryTime: .zero) { kms, servers in
            _ = await Self.open(kms)
            #expect(servers.map { $0.requestCount(Self.decrypt) } == [1, 1])
        }
        try await Self.with([Self.decrypt: tooNew], [Self.decrypt: tooNew], retryTime: .seconds(60)) { kms, servers in
            #expect(await Self.open(kms) == .cannotOpen)
            #expect(servers.map { $0.requestCount(Self.decrypt) } == [1, 1])
        }
    }

    // MARK: Retry-After

    @Test(arguments: [
        ("0", 0), ("7", 7), ("120", 120), ("999999999", 999_999_999), ("Sun, 06 Nov 1994 08:49:37 GMT", 17),
        ("Sun, 06 Nov 1994 08:49:20 GMT", 0), ("Sun, 06 Nov 1994 08:00:00 GMT", 0),
        ("Mon, 07 Nov 1994 08:49:20 GMT", 86400), ("Tue, 29 Feb 2000 00:00:00 GMT", 167_670_640),
    ])
    func retryAfterIsSecondsOrADate(_ text: String, _ seconds: Int) {
        // 06 Nov 1994 08:49:20
        #expect(RetryAfter.seconds(text, now: 784_111_760) == seconds)
    }

    @Test(arguments: [
        "", "soon", "-1", "+1", "1.5", "1e3", " 7", "7 ", "1000000000", "Sun, 06 Nov 1994 08:49:37", "٣",
        "Sun, 06 Nov 1994 08:49:37 UTC", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
        "Sun, 00 Nov 1994 08:49:37 GMT", "Sun, 32 Nov 1994 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT", "Sun, 06 Nov 1969 08:49:37 GMT",
    ])
    func anythingElseIsNoTime(_ text: String) { #expect(RetryAfter.seconds(text, now: 0) == nil) }

    @Test func throttlingIsWaitedForWithinTheTime() async throws {
        let busy = Answer("", status: 429, headers: ["Retry-After": "1"])
        try await Self.with([Self.decrypt: busy], [:], retryTime: .seconds(4)) { kms, servers in
            #expect(await Self.open(kms) == .throttled(retryAfterSeconds: 1))
            let count = servers[0].requestCount(Self.decrypt)
            #expect((2...4).contains(count), "\(count) attempts")
            #expect(servers[1].requestCount(Self.decrypt) == 0, "another server is no way around a limit")
        }
        let long = Answer("", status: 429, headers: ["Retry-After": "600"])
        try await Self.with([Self.decrypt: long], retryTime: .seconds(4)) { kms, servers in
            #expect(await Self.open(kms) == .throttled(retryAfterSeconds: 600))
            #expect(servers[0].requestCount(Self.decrypt) == 1)
        }
    }

    // MARK: What the storage had come to

    @Test func laterPositionsReplaceEarlierOnes() throws {
        func index(_ cluster: String, _ value: String) throws -> StorageIndex {
            let text = "{\"cluster\":\"\(cluster)\",\"value\":\"\(value)\"}"
            return try #require(StorageIndex(Data(text.utf8).base64EncodedString()))
        }
        #expect(try index("a", "10").replaces(index("a", "9")))
        #expect(try !index("a", "9").replaces(index("a", "10")))
        #expect(try !index("a", "9").replaces(index("a", "9")))
        #expect(try index("b", "1").replaces(index("a", "10")), "another cluster counts from the start")
        #expect(try index("a", "x").replaces(index("a", "10")), "what is not understood is sent back as it came")
        #expect(try index("a", "1").isForwarded)
        // As Vault's is, whose servers refuse to forward for the asking.
        let other = try #require(StorageIndex(Data("v1:cluster:12:0:abcdef".utf8).base64EncodedString()))
        #expect(!other.isForwarded)
        #expect(StorageIndex("") == nil)
        #expect(StorageIndex("a\r\nX-Vault-Token: t") == nil)
        #expect(StorageIndex(String(repeating: "a", count: 1025)) == nil)
    }
}
