import KeyManagement
import SecretMemory
import Testing
import TrustedKMSOpenBao

/// Answers that no real server is made to give: damaged, hostile, slow, in pieces.
@Suite(.serialized, .timeLimit(.minutes(2))) struct OpenBaoAnswerTests {
    private static let context = SealingContext.forTests(["answers"])
    private static let blob = KMSSealedBlob(bytes: Array("vault:v1:AAAA".utf8), keyVersion: 1)

    private static var key: KMSKeyName { get throws { try #require(KMSKeyName("key")) } }

    private static func withServer<Result>(
        _ answers: [String: CannedServer.Answer], timeout: Duration = .seconds(5),
        _ body: (OpenBaoKMS) async throws -> Result
    ) async throws -> Result {
        let server = try await CannedServer(answers)
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: server.address, authentication: .token(OpenBaoTestServer.token("token")),
                requestTimeout: timeout, retryTime: .zero))
        do {
            let result = try await body(kms)
            await kms.shutdown()
            try await server.stop()
            return result
        } catch {
            await kms.shutdown()
            try await server.stop()
            throw error
        }
    }

    private static func opened(_ answer: CannedServer.Answer, timeout: Duration = .seconds(5)) async throws -> [UInt8] {
        let key = try key
        return try await withServer(["/v1/transit/decrypt/key": answer], timeout: timeout) { kms in
            let secret = try await kms.open(blob, under: key, context: context, as: .service)
            return secret.withUnsafeBytes { Array($0) }
        }
    }

    private static func openingError(
        _ answer: CannedServer.Answer, timeout: Duration = .seconds(5)
    ) async throws -> KMSError? {
        do {
            _ = try await opened(answer, timeout: timeout)
            return nil
        } catch let error as KMSError {
            return error
        }
    }

    // MARK: Finding the secret

    /// "hello, world" wherever it stands.
    @Test(arguments: [
        #"{"data":{"plaintext":"aGVsbG8sIHdvcmxk"}}"#,
        #"{"auth":null,"data":{"key_version":1,"plaintext":"aGVsbG8sIHdvcmxk","x":[1,{"plaintext":"AAAA"}]},"e":-1e3}"#,
        " \r\n\t{ \"data\" :\t{ \"a\" : [ ] , \"b\" : { } , \"plaintext\" :\n\"aGVsbG8sIHdvcmxk\" } }\n ",
        #"{"plaintext":"AAAA","x":{"data":{"plaintext":"BBBB"}},"data":{"plaintext":"aGVsbG8sIHdvcmxk"},"t":true}"#,
        #"{"q\"u\\o\u0041te":"\n\"}{","data":{"x":"\"plaintext\":\"AAAA\"","plaintext":"aGVsbG8sIHdvcmxk"}}"#,
    ])
    func secretIsFoundInAnyOrderAndSpacing(_ text: String) async throws {
        for bytewise in [false, true] {
            #expect(try await Self.opened(.init(text, bytewise: bytewise)) == Array("hello, world".utf8))
        }
    }

    @Test func everyLengthOfSecretIsDecoded() async throws {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for length in 1...66 {
            let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 * 97 + length * 31) }
            // The textbook way, apart from the adapter's own.
            var text = ""
            var index = 0
            while index < bytes.count {
                let rest = bytes.count - index
                let group =
                    UInt32(bytes[index]) << 16 | (rest > 1 ? UInt32(bytes[index + 1]) << 8 : 0)
                    | (rest > 2 ? UInt32(bytes[index + 2]) : 0)
                for i in 0..<4 {
                    text += i <= rest ? String(UnicodeScalar(alphabet[Int(group >> UInt32(18 - 6 * i) & 63)])) : "="
                }
                index += 3
            }
            #expect(try await Self.opened(.init(#"{"data":{"plaintext":"\#(text)"}}"#)) == bytes)
        }
    }

    @Test(arguments: [
        "", "{}", "null", "garbage", "[]", #"{"data":null}"#, #"{"data":{}}"#, #"{"data":{"plaintext":null}}"#,
        #"{"data":{"plaintext":7}}"#, #"{"data":{"plaintext":""}}"#, #"{"data":{"plaintext":["aGVsbG8s"]}}"#,
        #"{"data":[{"plaintext":"aGVsbG8s"}]}"#, #"{"data":{"plaintext":"aGVsbG8s"}"#,
        #"{"data":{"plaintext":"aGVsbG8s"}}}"#, #"{"data":{"plaintext":"aGVsbG8s"}} {}"#,
        #"{"data":{"plaintext":"aGVsbG8s","plaintext":"aGVsbG8s"}}"#,
        #"{"data":{"plaintext":"aGVsbG8s"},"data":{}}"#, #"{"data":{"plaintext":"aGVs\u0062G8s"}}"#,
        #"{"data":{"plaintext":"aGVs\/G8s"}}"#, #"{"data":{"plaintext":"aGVsbG8"}}"#,
        #"{"data":{"plaintext":"aGVsbG9="}}"#, #"{"data":{"plaintext":"aGVsbB=="}}"#, #"{"data":{"plaintext":"a==="}}"#,
        #"{"data":{"plaintext":"===="}}"#, #"{"data":{"plaintext":"aGV=bG8s"}}"#, #"{"data":{"plaintext":"aGVs bG8"}}"#,
        #"{"data":{"plaintext":"aGVs_G8-"}}"#, #"{"data":{"plaintext":"aGVsbG8ß"}}"#,
        #"{"data" {"plaintext":"aGVs"}}"#,
        #"{"data":{"plaintext":"aGVs"},}"#, #"{data:{"plaintext":"aGVs"}}"#, #"{"data":{"plaintext":"aGVs"},"x":tru}"#,
        "{\"data\":{\"plaintext\":\"aGVs\n\"}}", String(repeating: "[", count: 10_000),
        String(repeating: #"{"data":"#, count: 10_000), #"{"data":{"plaintext":"aGVs"#, #"{"data":{"plaintext":"aGVs\"#,
    ])
    func garbageIsAnInvalidResponse(_ text: String) async throws {
        let error = try await Self.openingError(.init(text))
        guard case .invalidResponse = error else { throw ConformanceFailure("\(String(describing: error))") }
    }

    @Test func oversizedAnswerIsRefused() async throws {
        for chunk in [String(repeating: "A", count: 70_000), String(repeating: " ", count: 1 << 20)] {
            let error = try await Self.openingError(.init(chunk))
            guard case .invalidResponse(let reason) = error, reason.contains("65536") else {
                throw ConformanceFailure("\(String(describing: error))")
            }
        }
        // As much as the limit lets through.
        let space = String(repeating: " ", count: 65536 - 34)
        #expect(try await Self.opened(.init(space + #"{"data":{"plaintext":"aGVsbG8s"}}"#)) == Array("hello,".utf8))
    }

    @Test func dataKeyOfTheWrongShapeIsRefused() async throws {
        let key = try Self.key
        let good = #""plaintext":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=""#
        for fields in [
            #""plaintext":"AAAA","ciphertext":"vault:v1:AAAA""#, "\(good)", #"\#(good),"ciphertext":"AAAA""#,
            #"\#(good),"ciphertext":"vault:v0:AAAA""#, #"\#(good),"ciphertext":"vault:v1:""#,
            #"\#(good),"ciphertext":"vault:v1:AAA""#, #""ciphertext":"vault:v1:AAAA""#,
        ] {
            try await Self.withServer(["/v1/transit/datakey/plaintext/key": .init(#"{"data":{\#(fields)}}"#)]) { kms in
                let error = await failure {
                    _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
                }
                guard case .invalidResponse = error else { throw ConformanceFailure("\(String(describing: error))") }
            }
        }
        let answer = #"{"data":{\#(good),"ciphertext":"vault:v12:AAAA","key_version":12}}"#
        try await Self.withServer(["/v1/transit/datakey/plaintext/key": .init(answer, bytewise: true)]) { kms in
            let dataKey = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
            #expect(dataKey.sealed.keyVersion == 12)
            let isRight = dataKey.plaintext.equals(0..<32)
            #expect(isRight)
        }
    }

    // MARK: Status

    @Test func statusIsTranslated() async throws {
        let key = try Self.key
        typealias Answer = CannedServer.Answer
        let exact: [(Answer, KMSError)] = [
            (Answer("", status: 429, headers: ["Retry-After": "7"]), .throttled(retryAfterSeconds: 7)),
            (Answer("", status: 429, headers: ["Retry-After": "soon"]), .throttled(retryAfterSeconds: nil)),
            (Answer("", status: 429), .throttled(retryAfterSeconds: nil)),
            (Answer(#"{"errors":[]}"#, status: 404), .keyNotFound(key)),
            (Answer(#"{"errors":["cipher: message authentication failed"]}"#, status: 400), .cannotOpen),
            (Answer(#"{"errors":["encryption key not found"]}"#, status: 400), .keyNotFound(key)),
        ]
        for (answer, expected) in exact { #expect(try await Self.openingError(answer) == expected) }
        for status in [412, 472, 473, 500, 502, 503, 504, 301, 307, 308] {
            let error = try await Self.openingError(
                Answer("aGVsbG8s", status: status, headers: ["Location": "http://192.0.2.1/v1/transit/decrypt/key"]))
            guard case .unavailable(let reason) = error, !reason.contains("aGVsbG8s") else {
                throw ConformanceFailure("\(status): \(String(describing: error))")
            }
        }
        for status in [401, 405, 418, 201] {
            let error = try await Self.openingError(Answer(#"{"data":{"plaintext":"aGVsbG8s"}}"#, status: status))
            guard case .invalidResponse(let reason) = error, !reason.contains("aGVsbG8s") else {
                throw ConformanceFailure("\(status): \(String(describing: error))")
            }
        }
        let denied = try await Self.openingError(Answer("", status: 403))
        guard case .denied = denied else { throw ConformanceFailure("\(String(describing: denied))") }
    }

    @Test("a proxy's page tells nothing of a key: it is neither missing nor unable to open")
    func proxyPageIsNoAnswer() async throws {
        typealias Answer = CannedServer.Answer
        let page = "<html><h1>Not here</h1><p>key not found: POST /v1/transit/decrypt/key aGVsbG8s</p></html>"
        let html = ["Content-Type": "text/html"]
        let texts = [page, "", "{}", "[]", "null", "404 page not found\n", #"{"error":"key not found"}"#]
        for text in texts + [#"{"errors":["unsupported path"]}"#, #"{"errors":[]"#] {
            let missing = try await Self.openingError(Answer(text, status: 404, headers: html))
            guard case .invalidResponse(let reason) = missing, reason.contains("address and the mount"),
                !reason.contains("aGVsbG8s")
            else { throw ConformanceFailure("\(text): \(String(describing: missing))") }
        }
        let bad = try await Self.openingError(
            Answer(page.replacing("key not found", with: "nginx"), status: 400, headers: html))
        guard case .invalidResponse(let reason) = bad, !reason.contains("aGVsbG8s") else {
            throw ConformanceFailure("\(String(describing: bad))")
        }
        let denied = try await Self.openingError(Answer(page, status: 403, headers: html))
        guard case .denied(let reason) = denied, !reason.contains("aGVsbG8s") else {
            throw ConformanceFailure("\(String(describing: denied))")
        }
        for text in [#"{"errors":[]}"#, "{\n \"errors\" : [ ]\t}\r\n", #"{"errors":["encryption key not found"]}"#] {
            #expect(try await Self.openingError(Answer(text, status: 404)) == .keyNotFound(try Self.key))
        }
    }

    /// What OpenBao answers the loser of two calls that change one key at once.
    @Test func conflictIsTriedAgain() async throws {
        let path = "/v1/transit/keys/key/rotate"
        for (text, expected) in [("transaction commit failed", 5), ("internal error", 1)] {
            let server = try await CannedServer([
                path: .init(#"{"errors":["1 error occurred:\n\t* \#(text)\n\n"]}"#, status: 500)
            ])
            let kms = try OpenBaoKMS(
                OpenBaoConfiguration(
                    address: server.address, authentication: .token(OpenBaoTestServer.token("token")),
                    retryTime: .zero))
            let error = await failure { try await kms.rotateKey(try Self.key) }
            guard case .unavailable = error else { throw ConformanceFailure("\(String(describing: error))") }
            #expect(server.requestCount(path) == expected)
            await kms.shutdown()
            try await server.stop()
        }
    }

    @Test func sealedServerIsUnhealthy() async throws {
        for (status, word) in [(503, "sealed"), (501, "initialized"), (500, "500")] {
            let path = "/v1/sys/health?standbyok=true&perfstandbyok=true"
            try await Self.withServer([path: .init("{}", status: status)]) { kms in
                let error = await failure { try await kms.checkHealth() }
                guard case .unavailable(let reason) = error, reason.contains(word) else {
                    throw ConformanceFailure("\(String(describing: error))")
                }
            }
        }
    }

    @Test func silentServerIsUnavailable() async throws {
        let answers = [
            CannedServer.Answer(#"{"data":{"#, hangs: true), .init("", headers: ["Content-Length": "9"], hangs: true),
        ]
        for answer in answers {
            let error = try await Self.openingError(answer, timeout: .milliseconds(300))
            guard case .unavailable = error else { throw ConformanceFailure("\(String(describing: error))") }
        }
    }

    @Test func nobodyListeningIsUnavailable() async throws {
        let server = try await CannedServer([:])
        let address = server.address
        try await server.stop()
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                address: address, authentication: .token(OpenBaoTestServer.token("secret-token")),
                requestTimeout: .seconds(120), retryTime: .zero))
        let start = ContinuousClock.now
        let key = try Self.key
        let error = await failure {
            _ = try await kms.open(Self.blob, under: key, context: Self.context, as: .service)
        }
        await kms.shutdown()
        guard case .unavailable(let reason) = error, reason.contains(address), !reason.contains("secret-token") else {
            throw ConformanceFailure("\(String(describing: error))")
        }
        #expect(ContinuousClock.now - start < .seconds(60), "a refused connection is not tried again and again")
    }
}

@Suite struct OpenBaoConfigurationTests {
    private static func error(
        address: String = "https://bao.example.com:8200", mount: String = "transit", namespace: String? = nil,
        roleID: String? = nil, timeout: Duration = .seconds(1)
    ) throws -> OpenBaoConfigurationError? {
        let authentication: OpenBaoAuthentication =
            if let roleID {
                .appRole(roleID: roleID, secretIDFile: "/nowhere")
            } else {
                .token(try OpenBaoTestServer.token("token"))
            }
        do throws(OpenBaoConfigurationError) {
            _ = try OpenBaoConfiguration(
                address: address, mount: mount, namespace: namespace, authentication: authentication,
                requestTimeout: timeout)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [
        "https://bao.example.com", "https://bao.example.com:8200/", "https://192.0.2.1:8200",
        "https://[2001:db8::1]:8200",
        "http://127.0.0.1:8200", "http://127.9.9.9", "http://localhost:8200", "http://[::1]:8200",
        "HTTPS://BAO.EXAMPLE.COM",
    ])
    func goodAddresses(_ address: String) throws { #expect(try Self.error(address: address) == nil) }

    @Test(arguments: [
        "http://bao.example.com:8200", "http://192.0.2.1", "http://[2001:db8::1]:8200", "http://127.0.0.1.example.com",
        "http://localhost.example.com", "http://0.0.0.0:8200", "http://[::]:8200", "http://1",
    ])
    func plainHTTPBeyondLoopbackIsRefused(_ address: String) throws {
        guard case .plainHTTP = try Self.error(address: address) else { throw ConformanceFailure(address) }
    }

    @Test(arguments: [
        "", "bao.example.com:8200", "ftp://bao.example.com", "https://", "https:///v1", "https://bao.example.com/v1",
        "https://bao.example.com?x=1", "https://bao.example.com#x", "https://user:hunter2@bao.example.com",
        "unix:///run/bao.sock", "https://bao example", "https://bao.example.com:0", "https://bao.example.com:99999",
    ])
    func badAddressesAreNamed(_ address: String) throws {
        let error = try Self.error(address: address)
        guard case .invalidAddress = error else { throw ConformanceFailure("\(address): \(String(describing: error))") }
        #expect(error?.description.contains("hunter2") == false)
    }

    @Test func pathsAreSafe() throws {
        #expect(try Self.error(mount: "team-a/transit_2") == nil)
        #expect(try Self.error(namespace: "team/a") == nil)
        for path in [
            "", "/", "a//b", "a/", "/a", "..", "a/../b", "a?b", "a#b", "a%2Fb", "a b", "ä", "a\r\nb", ".",
            String(repeating: "a", count: 300),
        ] {
            #expect(try Self.error(mount: path) == .invalidMount, "\(path)")
            #expect(try Self.error(namespace: path) == .invalidNamespace, "\(path)")
        }
    }

    @Test func tokensAndRolesAreFitForHeadersAndJSON() throws {
        for text in ["", "a b", "a\r\nX-Evil: 1", "a\"b", "a\\b", "ä", String(repeating: "a", count: 8193)] {
            let error = failureOfToken(text)
            #expect(error == .invalidToken)
            if text.utf8.count < 1000 { #expect(try Self.error(roleID: text) == .invalidRoleID) }
        }
        #expect(try Self.error(roleID: "3f1b2c9a-role") == nil)
    }

    private func failureOfToken(_ text: String) -> OpenBaoConfigurationError? {
        do {
            _ = try OpenBaoTestServer.token(text)
            return nil
        } catch {
            return error as? OpenBaoConfigurationError
        }
    }

    @Test func timeoutsAreBounded() throws {
        for timeout in [Duration.zero, .milliseconds(99), .seconds(301), .seconds(-1)] {
            #expect(try Self.error(timeout: timeout) == .invalidTimeout)
        }
    }

    @Test func whatElseIsConfiguredIsChecked() throws {
        func error(
            addresses: [String] = ["https://bao.example.com"], authentication: OpenBaoAuthentication? = nil,
            delegation: OpenBaoDelegation? = nil, retryTime: Duration = .zero
        ) throws -> OpenBaoConfigurationError? {
            let authentication = try authentication ?? .token(OpenBaoTestServer.token("token"))
            do throws(OpenBaoConfigurationError) {
                _ = try OpenBaoConfiguration(
                    addresses: addresses, authentication: authentication, delegation: delegation,
                    retryTime: retryTime)
                return nil
            } catch {
                return error
            }
        }
        let good = "https://bao.example.com"
        #expect(try error(addresses: [good, good + ":8200"]) == nil)
        #expect(try error(addresses: []) == .invalidAddressCount)
        #expect(try error(addresses: [String](repeating: good, count: 17)) == .invalidAddressCount)
        guard case .plainHTTP = try error(addresses: [good, "http://bao.example.com"]) else {
            throw ConformanceFailure("every address is checked")
        }
        #expect(try error(authentication: .jwt(role: "a b", tokenFile: "f")) == .invalidRole)
        #expect(try error(authentication: .jwt(role: "r", tokenFile: "f", mount: "../x")) == .invalidMount)
        #expect(try error(delegation: OpenBaoDelegation(role: "hkms-user")) == nil)
        for role in ["", "a\"b", String(repeating: "r", count: 1025)] {
            #expect(try error(delegation: OpenBaoDelegation(role: role)) == .invalidRole)
        }
        #expect(try error(delegation: OpenBaoDelegation(mount: "a//b", role: "r")) == .invalidMount)
        for prefix in ["", "-a", ".a", "a/b", "a b", String(repeating: "p", count: 65)] {
            #expect(try error(delegation: OpenBaoDelegation(role: "r", keyPrefix: prefix)) == .invalidKeyPrefix)
        }
        for time in [Duration.seconds(-1), .seconds(121)] {
            #expect(try error(retryTime: time) == .invalidRetryTime)
        }
    }

    @Test func missingCAIsNamed() throws {
        let configuration = try OpenBaoConfiguration(
            address: "https://bao.example.com", authentication: .token(OpenBaoTestServer.token("token")),
            caCertificateFile: "/nowhere/ca.pem")
        do throws(OpenBaoConfigurationError) {
            _ = try OpenBaoKMS(configuration)
            Issue.record("a missing CA file was taken")
        } catch {
            #expect(error.description.contains("/nowhere/ca.pem"))
        }
    }
}
