import Foundation
import HKMSClient
import ServiceKit
import Testing

/// What real OpenBao is asked: counted between it and the gateway.
@Suite(.serialized) struct KMSRoundTripTests {
    private let decryptions = 20

    private func port(_ variable: String) throws -> Int {
        let address = try #require(ProcessInfo.processInfo.environment[variable], "no OpenBao server: run scripts/test")
        return try #require(URL(string: address)?.port)
    }

    private func register(_ installation: Installation, _ mode: String) async throws -> String {
        try await installation.alice.register(
            RegisterRequest(requestId: UUID().uuidString, mode: mode, preset: "ckks-12", release: "raw")
        ).body.id
    }

    @Test("one request a decryption, at most three a registration, and no new connection")
    func requests() async throws {
        let counter = try RequestCounter(to: port("HKMS_TEST_OPENBAO_ADDRESS"))
        defer { counter.stop() }
        let key = "hkms-\(UUID().uuidString)"
        try await Installation.use(.openbao, key: key, openBaoAddress: "http://127.0.0.1:\(counter.port)") {
            installation in
            #expect(try counter.take().contains("connect"), "the gateway's start opens its own keys")
            for (index, mode) in ["direct", "envelope"].enumerated() {
                let keySet = try await register(installation, mode)
                var expected = ["POST /v1/transit/random/32"]
                // What kind of key it is, is looked at once.
                if index == 0 { expected.append("GET /v1/transit/keys/\(key)") }
                expected.append("POST /v1/transit/\(mode == "direct" ? "encrypt" : "datakey/plaintext")/\(key)")
                #expect(try counter.take() == expected)
                let encrypted = try await installation.alice.encrypt(
                    vectors: [.init(real: [0.5, -0.25])], keySet: keySet)
                #expect(try counter.take().isEmpty)
                for _ in 0..<decryptions {
                    _ = try await installation.alice.decrypt(encrypted.body, keySet: keySet, count: 2)
                }
                #expect(
                    try counter.take() == Array(repeating: "POST /v1/transit/decrypt/\(key)", count: decryptions))
            }
        }
    }

    @Test("over TLS, too, connections are kept alive")
    func connections() async throws {
        let counter = try RequestCounter(to: port("HKMS_TEST_OPENBAO_TLS_ADDRESS"))
        defer { counter.stop() }
        try await Installation.use(.openbao, openBaoAddress: "https://localhost:\(counter.port)") { installation in
            let keySet = try await register(installation, "envelope")
            let encrypted = try await installation.alice.encrypt(vectors: [.init(real: [0.5, -0.25])], keySet: keySet)
            // The gateway's start connected, and nothing since then needs more than that.
            #expect(try counter.take().contains("connect"))
            for _ in 0..<decryptions {
                _ = try await installation.alice.decrypt(encrypted.body, keySet: keySet, count: 2)
            }
            #expect(try counter.take().isEmpty)
        }
    }
}
