import Foundation
import HKMSClient
import ServiceKit
import TestSupport
import Testing

/// The errors that a first user meets: each has a name and says what to do.
@Suite(.serialized) struct FirstErrorTests {
    @Test("errors over HTTP are named")
    func overHTTP() async throws {
        try await Installation.use(bodyMiB: 1) { installation in
            let (alice, bob) = (installation.alice, installation.bob)
            let info = try await alice.register(
                RegisterRequest(requestId: "a", mode: "direct", model: "heart-disease", release: "raw")
            ).body
            let keySet = info.id
            let vector = [EncryptRequest.Vector(real: [1, 2])]
            let ciphertexts = try await alice.encrypt(vectors: vector, keySet: keySet).body

            // Unknown and foreign look alike.
            await expectProblem("unknown-key-set", status: 404) { _ = try await alice.keySet("ks-0123456789abcdef") }
            await expectProblem("unknown-key-set", status: 404) { _ = try await bob.keySet(keySet) }
            await expectProblem("unknown-key-set", status: 404) { _ = try await bob.publicKey(ofKeySet: keySet) }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await bob.encrypt(vectors: vector, keySet: keySet)
            }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await bob.decrypt(ciphertexts, keySet: keySet)
            }
            await expectProblem("unknown-key-set", status: 404) { _ = try await bob.destroy(keySet: keySet) }
            await expectProblem("unknown-key-set", status: 404) {
                _ = try await bob.predict(
                    model: "heart-disease", PredictRequest(keySet: keySet, records: [Self.record]))
            }

            // Ciphertexts that nobody vouches for.
            var altered = ciphertexts[0]
            altered[altered.count / 2] ^= 1
            let bytes = altered
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await alice.decrypt([bytes], keySet: keySet)
            }
            let other = try await alice.register(
                RegisterRequest(requestId: "b", mode: "direct", preset: "ckks-12", release: "raw")
            )
            .body
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await alice.decrypt(ciphertexts, keySet: other.id)
            }
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await alice.openJob(keySet: keySet, model: "heart-disease", ciphertexts: [bytes])
            }
            await expectProblem("key-set-does-not-fit-model", status: 409) {
                _ = try await alice.predict(
                    model: "heart-disease", PredictRequest(keySet: other.id, records: [Self.record]))
            }
            // Encrypted here, but not at the model's level.
            let low = try await alice.encrypt(vectors: vector, keySet: keySet, level: 2).body
            let job = try await alice.openJob(keySet: keySet, model: "heart-disease", ciphertexts: low).body
            let ended = try await alice.finished(job)
            #expect(ended.state == "failed")
            #expect(ended.failure == "unit-refused")

            // Values.
            await expectProblem("value-out-of-range") {
                _ = try await alice.encrypt(vectors: [.init(real: [1e200])], keySet: keySet)
            }
            await expectProblem("too-many-values") {
                _ = try await alice.encrypt(vectors: [.init(real: .init(repeating: 0, count: 4097))], keySet: keySet)
            }
            await expectProblem("invalid-request", status: 400) {
                _ = try await alice.encrypt(vectors: [.init(real: [1, 2], imaginary: [1])], keySet: keySet)
            }
            await expectProblem("level-does-not-fit") {
                _ = try await alice.encrypt(vectors: vector, keySet: keySet, level: 9)
            }
            for value in ["NaN", "Infinity", "1e999"] {
                let answer = try installation.curl(
                    "-X", "POST", "-d", "{\"vectors\":[{\"real\":[\(value)]}]}",
                    "\(installation.gatewayURL)/v1/keysets/\(keySet)/encrypt")
                let problem = Problem(decoding: Array(answer.out.utf8), status: 0)
                #expect(["invalid-request", "value-not-finite"].contains(problem.name), "\(value): \(answer.out)")
            }

            // Records.
            for (field, value) in [("age", 500.0), ("cp", 9), ("sex", 2)] as [(String, Double)] {
                var record = Self.record
                record[field] = .some(value)
                let changed = record
                await expectProblem("invalid-records", status: 422) {
                    _ = try await alice.predict(
                        model: "heart-disease", PredictRequest(keySet: keySet, records: [changed]))
                }
            }
            var lacking = Self.record
            lacking["chol"] = nil
            let incomplete = lacking
            await expectProblem("invalid-records") {
                _ = try await alice.predict(
                    model: "heart-disease", PredictRequest(keySet: keySet, records: [incomplete]))
            }
            await expectProblem("invalid-records") {
                _ = try await alice.predict(model: "heart-disease", PredictRequest(keySet: keySet, records: []))
            }
            await expectProblem("unknown-model", status: 404) {
                _ = try await alice.predict(model: "weather", PredictRequest(keySet: keySet, records: [Self.record]))
            }

            // Requests.
            await expectProblem("unknown-preset") {
                _ = try await alice.register(
                    RegisterRequest(requestId: "c", mode: "direct", preset: "ckks-99", release: "raw"))
            }
            await expectProblem("invalid-request") {
                _ = try await alice.register(
                    RegisterRequest(requestId: "c", mode: "open", preset: "ckks-12", release: "raw"))
            }
            await expectProblem("request-id-reused", status: 409) {
                _ = try await alice.register(
                    RegisterRequest(requestId: "a", mode: "envelope", model: "heart-disease", release: "raw"))
            }
            var weak = RegisterRequest(requestId: "weak", mode: "direct", release: "raw")
            weak.parameters = ParametersBody(
                scheme: "ckks", logN: 11, q: [1_152_921_504_606_830_593], p: [], alpha: 0)
            let insecure = weak
            await expectProblem("insecure-parameters") { _ = try await alice.register(insecure) }
            var any = RegisterRequest(requestId: "any", mode: "direct", preset: "ckks-12", release: "raw")
            any.decryptAny = true
            let anything = any
            await expectProblem("decrypt-any-not-granted", status: 403) { _ = try await alice.register(anything) }
            await expectProblem("body-too-large", status: 413) {
                _ = try await alice.encrypt(
                    vectors: .init(repeating: .init(real: .init(repeating: 0.123456789, count: 4096)), count: 40),
                    keySet: keySet)
            }
            let nobody = try HKMSClient(address: installation.gatewayURL, token: StaticTokenFile.generateToken())
            await expectProblem("unauthenticated", status: 401) { _ = try await nobody.keySets() }
            await nobody.shutdown()
            let wrongMethod = try installation.curl(
                "-i", "-X", "PUT", "\(installation.gatewayURL)/v1/keysets/\(keySet)")
            #expect(wrongMethod.out.contains(" 405 ") && wrongMethod.out.contains("method-not-allowed"))
            #expect(wrongMethod.out.lowercased().contains("allow: delete, get"))
            let predicted = try await alice.predict(
                model: "heart-disease", PredictRequest(keySet: keySet, records: [Self.record])
            ).body
            await expectProblem("job-keeps-no-results", status: 409) {
                _ = try await alice.results(ofJob: predicted.job)
            }
            let lost = try installation.curl("\(installation.gatewayURL)/v1/nothing")
            #expect(Problem(decoding: Array(lost.out.utf8), status: 0).name == "not-found")
            let garbage = try installation.curl(
                "-X", "POST", "--data-binary", "garbage", "\(installation.gatewayURL)/v1/keysets/\(keySet)/decrypt")
            #expect(garbage.out.contains("\"fix\""))

            // The store alters an object: named, and healed when it is put back.
            let file = installation.object(keySet, "sealed-seed")
            let original = try Data(contentsOf: file)
            var tampered = original
            tampered[30] ^= 1
            try tampered.write(to: file)
            await expectProblem("object-tampered") { _ = try await alice.decrypt(ciphertexts, keySet: keySet) }
            try FileManager.default.removeItem(at: file)
            await expectProblem("object-missing") { _ = try await alice.decrypt(ciphertexts, keySet: keySet) }
            try original.write(to: file)
            _ = try await alice.decrypt(ciphertexts, keySet: keySet)

            _ = try await alice.destroy(keySet: keySet)
            await expectProblem("key-set-destroyed", status: 410) {
                _ = try await alice.decrypt(ciphertexts, keySet: keySet)
            }
            await expectProblem("key-set-destroyed", status: 410) {
                _ = try await alice.predict(
                    model: "heart-disease", PredictRequest(keySet: keySet, records: [Self.record]))
            }
        }
    }

    @Test("a Transit key that is gone is named, and comes back as nothing")
    func transitKeyGone() async throws {
        let key = "gone-\(UUID().uuidString)"
        try await Installation.use(.openbao, key: key) { installation in
            let info = try await installation.alice.register(
                RegisterRequest(requestId: "a", mode: "direct", preset: "ckks-12", release: "raw")
            ).body
            let ciphertexts = try await installation.alice.encrypt(
                vectors: [.init(real: [1])], keySet: info.id
            ).body
            let environment = ProcessInfo.processInfo.environment
            let address = try #require(environment["HKMS_TEST_OPENBAO_ADDRESS"])
            let token = try #require(environment["HKMS_TEST_OPENBAO_TOKEN"])
            for (method, path, body) in [
                ("POST", "\(key)/config", "{\"deletion_allowed\":true}"), ("DELETE", key, ""),
            ] {
                _ = try Programs.run(
                    "/usr/bin/curl",
                    [
                        "-s", "--noproxy", "*", "-H", "X-Vault-Token: \(token)", "-X", method, "-d", body,
                        "\(address)/v1/transit/keys/\(path)",
                    ])
            }
            await expectProblem("kms-key-not-found", status: 502) {
                _ = try await installation.alice.decrypt(ciphertexts, keySet: info.id)
            }
            await expectProblem("kms-key-not-found", status: 502) {
                _ = try await installation.alice.register(
                    RegisterRequest(requestId: "b", mode: "envelope", preset: "ckks-12", release: "raw"))
            }
            #expect(try await installation.alice.keySets().body.keySets.count == 1)
        }
    }

    @Test("a KMS that goes away is named, what needs none goes on, and all is well when it is back")
    func kmsGoesAway() async throws {
        let environment = ProcessInfo.processInfo.environment
        let address = try #require(environment["HKMS_TEST_OPENBAO_TLS_ADDRESS"])
        let relay = try await FaultProxy(to: try #require(address.split(separator: ":").last.flatMap { Int($0) }))
        try await Installation.use(.openbao, openBaoAddress: "https://localhost:\(relay.port)") { installation in
            let alice = installation.alice
            let keySet = try await alice.register(
                RegisterRequest(requestId: "a", mode: "envelope", preset: "ckks-12", release: "raw")
            ).body.id
            let first = try await alice.encrypt(vectors: [.init(real: [1])], keySet: keySet).body

            try await relay.set(.refusing)
            await expectProblem("kms-unavailable", status: 503) {
                _ = try await alice.decrypt(first, keySet: keySet)
            }
            await expectProblem("kms-unavailable", status: 503) {
                _ = try await alice.register(
                    RegisterRequest(requestId: "b", mode: "direct", preset: "ckks-12", release: "raw"))
            }
            let readiness = try installation.curl("\(installation.gatewayURL)/readyz")
            #expect(readiness.out.contains("\"ready\":false"))
            #expect(readiness.out.contains("KMS (openbao): it does not answer"))
            #expect(try installation.curl("\(installation.gatewayURL)/livez").out.contains("true"))
            let second = try await alice.encrypt(vectors: [.init(real: [2])], keySet: keySet).body

            // Nor does a gateway start without it.
            installation.killGateway()
            let start = try Programs.run(
                Programs.path("hkms"),
                ["serve", "--config", installation.folder.appendingPathComponent("hkms.yaml").path])
            #expect(start.status != 0)
            #expect(start.error.contains("The trusted KMS does not answer"))
            #expect(start.error.contains("fix:"))
            #expect(!start.error.contains(try #require(environment["HKMS_TEST_OPENBAO_TOKEN"])))

            try await relay.set(.none)
            try await installation.start()
            let values = try await alice.decrypt(first + second, keySet: keySet, count: 1).body.vectors
            #expect(abs(values[0].real[0] - 1) < 1e-3 && abs(values[1].real[0] - 2) < 1e-3)
            // What failed cost nothing, and left nothing.
            #expect(try await alice.keySet(keySet).body.counters.decryptions == 2)
            #expect(try await alice.keySets().body.keySets.count == 1)
            _ = try await alice.register(
                RegisterRequest(requestId: "b", mode: "direct", preset: "ckks-12", release: "raw"))
        }
        try await relay.stop()
    }

    @Test("a KMS that throttles, and one that gives another secret than it sealed, are named")
    func lyingKMS() async throws {
        let address = try #require(ProcessInfo.processInfo.environment["HKMS_TEST_OPENBAO_ADDRESS"])
        let liar = try LyingUnit(before: try #require(address.split(separator: ":").last.flatMap { Int($0) }))
        try await Installation.use(.openbao, openBaoAddress: "http://127.0.0.1:\(liar.port)") { installation in
            let alice = installation.alice
            for mode in ["direct", "envelope"] {
                var request = RegisterRequest(requestId: mode, mode: mode, preset: "ckks-12", release: "raw")
                request.decryptionBudget = 9
                let keySet = try await alice.register(request).body.id
                let ciphertexts = try await alice.encrypt(vectors: [.init(real: [1])], keySet: keySet).body

                try liar.tell("throttled", at: "POST /v1/transit/")
                do {
                    _ = try await alice.decrypt(ciphertexts, keySet: keySet)
                    Issue.record("decrypted")
                } catch HKMSClientError.problem(let problem) {
                    #expect(problem.name == "kms-throttled" && problem.status == 503)
                    #expect(problem.retryAfterSeconds == 7)
                }
                await expectProblem("kms-throttled", status: 503) {
                    _ = try await alice.register(
                        RegisterRequest(requestId: "throttled-\(mode)", mode: mode, preset: "ckks-12", release: "raw"))
                }
                try liar.tell("other secret", at: "POST /v1/transit/decrypt/")
                for _ in 0..<2 {
                    await expectProblem("decryption-failed", status: 500) {
                        _ = try await alice.decrypt(ciphertexts, keySet: keySet)
                    }
                }
                try liar.tell(nil)
                // The one uniform error is counted; what was never opened is not.
                let counters = try await alice.keySet(keySet).body.counters
                #expect(counters.failures == 2 && counters.decryptions == 0 && counters.decryptionsLeft == 9)
                let values = try await alice.decrypt(ciphertexts, keySet: keySet, count: 1).body.vectors
                #expect(abs(values[0].real[0] - 1) < 1e-3)
            }
            #expect(try await alice.keySets().body.keySets.count == 2)
        }
    }

    @Test("init takes a token that may use the key but not make it")
    func leastPrivilege() async throws {
        let environment = ProcessInfo.processInfo.environment
        let address = try #require(environment["HKMS_TEST_OPENBAO_ADDRESS"])
        let root = try #require(environment["HKMS_TEST_OPENBAO_TOKEN"])
        let key = "least-\(UUID().uuidString)"
        func administer(_ method: String, _ path: String, _ body: String) throws -> String {
            try Programs.run(
                "/usr/bin/curl",
                [
                    "-sf", "--noproxy", "*", "-H", "X-Vault-Token: \(root)", "-X", method, "-d", body,
                    "\(address)/v1/\(path)",
                ]
            ).out
        }
        let rules = [
            "transit/encrypt/\(key)": "update", "transit/decrypt/\(key)": "update",
            "transit/datakey/plaintext/\(key)": "update", "transit/random/*": "update", "transit/keys/\(key)": "read",
        ].map { "path \"\($0)\" { capabilities = [\"\($1)\"] }" }.joined(separator: "\n")
        let policy = try JSONSerialization.data(withJSONObject: ["policy": rules])
        _ = try administer("PUT", "sys/policies/acl/\(key)", String(decoding: policy, as: UTF8.self))
        let made = try administer("POST", "auth/token/create", "{\"policies\":[\"\(key)\"],\"no_parent\":true}")
        let auth = try JSONSerialization.jsonObject(with: Data(made.utf8)) as? [String: Any]
        let token = try #require((auth?["auth"] as? [String: Any])?["client_token"] as? String)
        let work = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-least-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: work, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: work) }
        // A name that YAML would read as something else than it is.
        let tokenFile = work.appendingPathComponent("token: #1 \"x\"")
        try Data(token.utf8).write(to: tokenFile)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: tokenFile.path)
        let hkms = try Programs.path("hkms")
        func start(_ name: String) throws -> Programs.Output {
            try Programs.run(
                hkms,
                [
                    "init", work.appendingPathComponent(name).path, "--dev", "--kms", "openbao", "--key", key,
                    "--openbao-address", address, "--openbao-token-file", tokenFile.path,
                ])
        }
        let refused = try start("first")
        #expect(refused.status != 0)
        #expect(refused.error.contains("denied"))
        #expect(!refused.error.contains(token))
        _ = try administer("POST", "transit/keys/\(key)", "{\"type\":\"aes256-gcm96\",\"derived\":true}")
        let accepted = try start("second")
        #expect(accepted.status == 0, "\(accepted.error)")
        let check = try Programs.run(
            hkms, ["serve", "--check", "--config", work.appendingPathComponent("second/hkms.yaml").path])
        #expect(check.status == 0, "\(check.error)")
    }

    @Test(
        "a bad configuration is refused with file, line and what to do",
        arguments: [
            ("listen:\n  host: 0.0.0.0\n  port: 0\n", "loopback"), ("unknownKey: 1\n", "unknownKey"),
            ("limits: {threads: none}\n", "threads"),
            ("units: [{name: X, url: ftp://a, publicKey: 00}]\n", "publicKey"),
        ])
    func badConfiguration(lines: String, word: String) throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-bad-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: folder) }
        let hkms = try Programs.path("hkms")
        #expect(try Programs.run(hkms, ["init", folder.path, "--dev"]).status == 0)
        let file = folder.appendingPathComponent("hkms.yaml")
        let text = try String(contentsOf: file, encoding: .utf8)
        #expect(try Programs.run(hkms, ["serve", "--check", "--config", file.path]).status == 0)
        let top = lines.prefix { $0 != ":" } + ":"
        let kept = text.components(separatedBy: "\n")
        // Replaces the section of the same name, where there is one.
        var result: [String] = []
        var skipping = false
        for line in kept {
            if !line.hasPrefix(" ") { skipping = line.hasPrefix(String(top)) }
            if !skipping { result.append(line) }
        }
        try Data((result.joined(separator: "\n") + lines).utf8).write(to: file)
        let output = try Programs.run(hkms, ["serve", "--config", file.path])
        #expect(output.status == 78)
        #expect(output.error.contains("hkms.yaml:"))
        #expect(output.error.contains(word))
    }

    @Test("a KMS that does not answer stops the start by name")
    func kmsDown() async throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-down-\(UUID().uuidString)")
        let token = FileManager.default.temporaryDirectory.appendingPathComponent("token-\(UUID().uuidString)")
        defer { for file in [folder, token] { try? FileManager.default.removeItem(at: file) } }
        try Data("nothing".utf8).write(to: token)
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: token.path)
        let output = try Programs.run(
            Programs.path("hkms"),
            [
                "init", folder.path, "--kms", "openbao", "--openbao-address",
                "http://127.0.0.1:\(try Installation.freePort())", "--openbao-token-file", token.path,
                "--oidc-issuer", "https://issuer.invalid",
            ])
        #expect(output.status != 0)
        #expect(output.error.contains("KMS"))
        #expect(!output.error.contains("nothing"))
    }

    static let record: RecordBody = [
        "age": 63, "sex": 1, "cp": 1, "trestbps": 145, "chol": 233, "fbs": 1, "restecg": 2, "thalach": 150, "exang": 0,
        "oldpeak": 2.3, "slope": 3, "ca": nil, "thal": 6,
    ]
}
