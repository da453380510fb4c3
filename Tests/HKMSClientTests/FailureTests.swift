import Foundation
import HKMSClient
import ServiceKit
import Testing

@Suite struct FailureTests {
    @Test func decodesProblems() async throws {
        let problem = Problem(
            name: "key-set-destroyed", title: "Key set destroyed", status: 409, detail: "it was", fix: "Make one.")
        var answer = TestGateway.Answer.problem(problem)
        answer.headers = ["X-Request-Id": "r-2", "Retry-After": "7"]
        try await TestGateway.serving(answer) { client, _ in
            await #expect {
                _ = try await client.keySet("k")
            } throws: { error in
                guard case HKMSClientError.problem(let got) = error else { return false }
                return got.name == "key-set-destroyed" && got.status == 409 && got.fix == "Make one."
                    && got.instance == "r-2" && got.retryAfterSeconds == 7
            }
        }
    }

    @Test(arguments: [
        (TestGateway.Answer(status: 502, mediaType: "text/html", body: Array("<h1>token hkms_test</h1>".utf8)), 502),
        (TestGateway.Answer(status: 302, headers: ["Location": "http://127.0.0.1:1/"]), 302),
        (TestGateway.Answer.json("{}"), 200),
        (TestGateway.Answer.json("no JSON"), 200),
        (
            TestGateway.Answer(
                status: 500, mediaType: Problem.mediaType, body: [UInt8](repeating: 32, count: 100_000)), 500
        ),
    ])
    func namesUnexpectedAnswers(answer: TestGateway.Answer, status: Int) async throws {
        try await TestGateway.serving(answer) { client, _ in
            await #expect {
                _ = try await client.keySets()
            } throws: { error in
                guard case HKMSClientError.unexpectedResponse(status, _) = error else { return false }
                return !"\(error)".contains("hkms_test")
            }
        }
    }

    @Test func refusesAnswersThatAreTooLarge() async throws {
        let answer = TestGateway.Answer(mediaType: MediaType.octetStream, body: [UInt8](repeating: 32, count: 100_000))
        let limits = HKMSClient.Limits(jsonBytes: 1_000, binaryBytes: 99_999)
        try await TestGateway.serving(answer, limits: limits) { client, _ in
            await #expect(throws: HKMSClientError.responseTooLarge(maximumBytes: 1_000)) {
                _ = try await client.models()
            }
            await #expect(throws: HKMSClientError.responseTooLarge(maximumBytes: 99_999)) {
                _ = try await client.publicKey(ofKeySet: "k")
            }
        }
    }

    @Test func refusesBundlesThatAreNone() async throws {
        let answer = TestGateway.Answer(mediaType: OctetBundle.mediaType, body: Array("HKMSBNDL and more".utf8))
        try await TestGateway.serving(answer) { client, _ in
            await #expect {
                _ = try await client.results(ofJob: "j")
            } throws: { error in
                if case HKMSClientError.unexpectedResponse(200, _) = error { true } else { false }
            }
        }
    }

    @Test func namesWhatIsUnreachable() async throws {
        // Port 1 of this machine serves nobody.
        let client = try HKMSClient(address: "http://127.0.0.1:1", token: "hkms_secret")
        await #expect {
            _ = try await client.keySets()
        } throws: { error in
            guard case HKMSClientError.unreachable("http://127.0.0.1:1", _) = error else { return false }
            let text = "\(error)"
            return text.contains("hkms serve --config") && !text.contains("hkms_secret")
        }
        await client.shutdown()
    }

    @Test func refusesNumbersThatAreNotFinite() async throws {
        let client = try HKMSClient(address: "http://127.0.0.1:1", token: "t")
        await #expect {
            _ = try await client.encrypt(vectors: [.init(real: [.nan])], keySet: "k")
        } throws: { error in
            if case HKMSClientError.invalidArgument = error { true } else { false }
        }
        await client.shutdown()
    }

    @Test(arguments: [
        "", "gateway", "ftp://127.0.0.1", "http://", "https://user:pw@gateway", "https://gateway?x=1", "https://g#f",
        "https://gate way", "https://gateway:0", "https://gateway:65536", "https://gatewäy", "http://[]",
    ])
    func refusesAddresses(address: String) {
        #expect {
            _ = try HKMSClient(address: address, token: "t")
        } throws: { error in
            guard case HKMSClientError.invalidAddress = error else { return false }
            return !"\(error)".contains("pw@")
        }
    }

    @Test(arguments: [
        "http://gateway", "http://10.0.0.1:8080", "http://127.0.0.1.example", "http://localhost.example",
        "http://[::2]", "http://0.0.0.0", "http://127.1",
    ])
    func refusesHTTPOverNetworks(address: String) {
        #expect(throws: HKMSClientError.plainHTTP(address: address)) {
            _ = try HKMSClient(address: address, token: "t")
        }
    }

    @Test(arguments: [
        "http://localhost:8080", "http://LOCALHOST", "http://127.8.9.10", "http://[::1]:8080", "https://gateway",
        "https://gateway:8443/hkms/",
    ])
    func acceptsAddresses(address: String) async throws {
        let client = try HKMSClient(address: address, token: "t")
        await client.shutdown()
    }

    @Test(arguments: ["", "two words", "line\r\nX-Other: 1", "schlüssel", String(repeating: "x", count: 12_289)])
    func refusesTokens(token: String) {
        #expect {
            _ = try HKMSClient(address: "https://gateway", token: token)
        } throws: { error in
            guard case HKMSClientError.invalidToken = error else { return false }
            return token.isEmpty || !"\(error)".contains(token)
        }
    }

    @Test func refusesCertificateFilesThatAreNone() throws {
        #expect {
            _ = try HKMSClient(address: "https://gateway", token: "t", caCertificateFile: "/nowhere.pem")
        } throws: { error in
            if case HKMSClientError.caCertificate("/nowhere.pem", _) = error { true } else { false }
        }
    }

    @Test("a client shows a certificate or a token, and says which file it cannot use")
    func clientCertificate() {
        let files = CertificateFiles(certificate: "/nowhere.pem", key: "/nowhere.key")
        #expect {
            _ = try HKMSClient(address: "https://gateway", token: nil, clientCertificate: files)
        } throws: { error in
            if case HKMSClientError.clientCertificate("/nowhere.pem", "/nowhere.key", _) = error { true } else { false }
        }
        #expect {
            _ = try HKMSClient(address: "https://gateway", token: nil)
        } throws: { error in
            if case HKMSClientError.invalidToken = error { true } else { false }
        }
        // It would not be shown there.
        #expect {
            _ = try HKMSClient(address: "http://127.0.0.1:1", token: "t", clientCertificate: files)
        } throws: { error in
            if case HKMSClientError.invalidArgument = error { true } else { false }
        }
    }

}
