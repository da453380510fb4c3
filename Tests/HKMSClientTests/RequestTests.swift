import Foundation
import HKMSClient
import ServiceKit
import Testing

@Suite struct RequestTests {
    @Test func sendsTokenAndMediaTypes() async throws {
        let seen = try await TestGateway.serving(.json(#"{"keySets":[]}"#)) { client, gateway in
            let keySets = try await client.keySets().body.keySets
            #expect(keySets.isEmpty)
            return await gateway.seen
        }
        #expect(seen.method == "GET")
        #expect(seen.uri == "/v1/keysets")
        #expect(seen.authorization == "Bearer hkms_test")
        #expect(seen.accept == MediaType.json)
    }

    @Test func readinessNeedsNoToken() async throws {
        let answer = TestGateway.Answer.json(#"{"ready":false,"problems":["the KMS is sealed"]}"#, status: 503)
        try await TestGateway.serving(answer) { client, gateway in
            let readiness = try await client.ready()
            #expect(readiness.status == 503)
            #expect(readiness.body == Readiness(ready: false, problems: ["the KMS is sealed"]))
            let seen = await gateway.seen
            #expect(seen.authorization == nil)
            #expect(seen.uri == "/readyz")
        }
    }

    @Test func escapesEveryPart() async throws {
        try await TestGateway.serving(.json(#"{"release":"raw","vectors":[]}"#)) { client, gateway in
            _ = try await client.decrypt([[1, 2]], keySet: "../a b?c#d%/ä+", count: 3, complex: true)
            var seen = await gateway.seen
            #expect(
                seen.uri == "/v1/keysets/..%2Fa%20b%3Fc%23d%25%2F%C3%A4%2B/decrypt?count=3&complex=true")
            #expect(seen.contentType == OctetBundle.mediaType)
            #expect(seen.body == OctetBundle.encode([[1, 2]]))
            _ = try? await client.openJob(keySet: "a&model=b", model: "m=n", ciphertexts: [])
            seen = await gateway.seen
            #expect(seen.uri == "/v1/jobs?keyset=a%26model%3Db&model=m%3Dn")
        }
    }

    @Test(arguments: ["", ".", "..", String(repeating: "x", count: 2_000)])
    func refusesNamesThatAreNoPart(name: String) async throws {
        let client = try HKMSClient(address: "http://127.0.0.1:1", token: "t")
        await #expect {
            _ = try await client.keySet(name)
        } throws: { error in
            if case HKMSClientError.invalidArgument = error { true } else { false }
        }
        await client.shutdown()
    }

    @Test func encryptsToCiphertexts() async throws {
        var answer = TestGateway.Answer(mediaType: OctetBundle.mediaType, body: OctetBundle.encode([[1], [2, 3]]))
        answer.headers = ["Server-Timing": "sampleEncryption;dur=12.5", "X-Request-Id": "r-1"]
        try await TestGateway.serving(answer) { client, gateway in
            let response = try await client.encrypt(
                records: [["age": 50, "ca": nil]], model: "heart-disease", keySet: "k")
            #expect(response.body == [[1], [2, 3]])
            #expect(response.timings.entries == [.init(name: "sampleEncryption", milliseconds: 12.5)])
            #expect(response.requestID == "r-1")
            let seen = await gateway.seen
            #expect(seen.accept == OctetBundle.mediaType)
            #expect(
                String(decoding: seen.body, as: UTF8.self)
                    == #"{"model":"heart-disease","records":[{"age":50,"ca":null}]}"#)
        }
    }

    @Test func streamsKeys() async throws {
        let key = [UInt8](repeating: 7, count: 300_000)
        let answer = TestGateway.Answer(mediaType: MediaType.octetStream, body: key)
        try await TestGateway.serving(answer) { client, gateway in
            var received: [UInt8] = []
            let response = try await client.download(.galois(element: 3), ofKeySet: "k") {
                received.append(contentsOf: $0.readableBytesView)
            }
            #expect(response.body == key.count)
            #expect(received == key)
            #expect(await gateway.seen.uri == "/v1/keysets/k/evaluation-keys/galois/3")
            let publicKey = try await client.publicKey(ofKeySet: "k").body
            #expect(publicKey == key)
            #expect(await gateway.seen.uri == "/v1/keysets/k/public-key")
            struct Full: Error {}
            await #expect(throws: Full.self) {
                _ = try await client.download(.relinearization, ofKeySet: "k") { _ in throw Full() }
            }
        }
    }

    @Test func namesKeys() {
        for key in [KeyObject.publicKey, .relinearization, .galois(element: 3), .galois(element: .max)] {
            #expect(KeyObject(name: key.name) == key)
        }
        for name in ["", "galois-", "galois-03", "galois-+3", "galois--1", "galois-4294967296", "Relinearization"] {
            #expect(KeyObject(name: name) == nil)
        }
    }
}
