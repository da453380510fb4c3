import Foundation
import HKMSClient
import ServiceKit
import TestSupport
import Testing

/// The KMS itself identifies the user: gateway, command line and real OpenBao, with the policies of docs/kms/policies.
@Suite(.serialized) struct DelegationFlowTests {
    /// A JWT auth method for users, a token of the gateway's own, and the policies of both.
    private struct Setup {
        let bao: OpenBaoServer
        let issuer = JWTIssuer()
        let mount = "jwt-\(UUID().uuidString.lowercased().prefix(8))"
        let prefix = "user-\(UUID().uuidString.lowercased().prefix(8))-"
        let gatewayToken: String

        init(key: String) throws {
            bao = try OpenBaoServer()
            let user = try bao.load("user", ["hkms-user-": prefix])
            // The gateway seals its own secret, and nobody's seed, under a key of its own.
            let gateway = [
                try bao.load("gateway", ["hkms-seeds": key]),
                try bao.load("gateway-delegated", ["hkms-user-": prefix]),
            ]
            try bao.call("POST", "sys/auth/\(mount)", #"{"type": "jwt"}"#)
            let pem = issuer.publicKeyPEM.replacingOccurrences(of: "\n", with: "\\n")
            try bao.call(
                "POST", "auth/\(mount)/config",
                #"{"jwt_validation_pubkeys": ["\#(pem)"], "bound_issuer": "\#(issuer.issuer)"}"#)
            try bao.call(
                "POST", "auth/\(mount)/role/hkms-user",
                """
                {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["kms"], "token_policies": ["\(user)"],
                 "token_num_uses": 1, "token_ttl": "60s", "token_max_ttl": "60s", "token_no_default_policy": true}
                """)
            let made = try bao.call(
                "POST", "auth/token/create", #"{"policies": ["\#(gateway[0])", "\#(gateway[1])"], "no_parent": true}"#)
            let answer = try JSONSerialization.jsonObject(with: Data(made.utf8)) as? [String: Any]
            gatewayToken = try #require((answer?["auth"] as? [String: Any])?["client_token"] as? String)
        }

        /// Has the installation seal under keys of its principals, with nothing but the gateway's own token.
        func take(_ installation: Installation) async throws {
            let file = installation.folder.appendingPathComponent("hkms.yaml")
            let tokenFile = installation.folder.appendingPathComponent("gateway.token")
            try Data(gatewayToken.utf8).write(to: tokenFile)
            try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: tokenFile.path)
            var lines = try String(contentsOf: file, encoding: .utf8).components(separatedBy: "\n")
            let kms = try #require(lines.firstIndex(of: "kms:"))
            lines.insert("  keys: perPrincipal", at: kms + 1)
            let token = try #require(lines.firstIndex { $0.contains("tokenFile:") })
            lines[token] = "    tokenFile: \(tokenFile.path)"
            lines.insert(
                "    delegated: {mount: \(mount), role: hkms-user, keyPrefix: \(prefix)}", at: token + 1)
            try Data(lines.joined(separator: "\n").utf8).write(to: file)
            installation.endGateway()
            try await installation.start()
        }

        func client(_ installation: Installation, _ subject: String?) throws -> HKMSClient {
            let token = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            return try HKMSClient(
                address: installation.gatewayURL, token: token,
                kmsToken: subject.map { try issuer.token(subject: $0) })
        }
    }

    @Test(
        "the gateway's own token is denied, the user's passes, another user's is denied",
        arguments: ["direct", "envelope"])
    func whoOpens(mode: String) async throws {
        let key = "hkms-\(UUID().uuidString.lowercased())"
        let setup = try Setup(key: key)
        try await Installation.use(.openbao, key: key) { installation in
            try await setup.take(installation)
            let alice = try setup.client(installation, "alice")
            let request = RegisterRequest(requestId: "r-\(mode)", mode: mode, preset: "ckks-12", release: "raw")
            await expectProblem("kms-token-required", status: 403) {
                let nobody = try setup.client(installation, nil)
                defer { Task { await nobody.shutdown() } }
                _ = try await nobody.register(request)
            }
            let keySet = try await alice.register(request).body
            #expect(keySet.kms.authority == "principal" && keySet.kms.key.hasPrefix(setup.prefix))
            let ciphertexts = try await alice.encrypt(
                vectors: [.init(real: [0.5, -0.25])], keySet: keySet.id
            ).body

            // The user's own passes, each time with a token that the KMS takes once.
            for _ in 0..<3 {
                let opened = try await alice.decrypt(ciphertexts, keySet: keySet.id, count: 2).body
                #expect(abs(opened.vectors[0].real[1] + 0.25) < 1e-3)
            }
            // While the user is away, the gateway can do nothing: it has no token to try with,
            let away = try setup.client(installation, nil)
            await expectProblem("kms-token-required", status: 403) {
                _ = try await away.decrypt(ciphertexts, keySet: keySet.id, count: 2)
            }
            await away.shutdown()
            // and who takes the gateway's own, with what storage holds, is denied by the KMS.
            let sealed = installation.object(keySet.id, mode == "direct" ? "sealed-seed" : "sealed-data-key")
            let blob = String(decoding: try Data(contentsOf: sealed).dropFirst(20).dropLast(32), as: UTF8.self)
            for operation in ["decrypt", "encrypt", "datakey/plaintext"] {
                let answer = try setup.bao.call(
                    "POST", "transit/\(operation)/\(keySet.kms.key)",
                    #"{"ciphertext": "\#(blob)", "context": "aGttcw==", "plaintext": "aGttcw=="}"#,
                    token: setup.gatewayToken, mayFail: true)
                #expect(answer.contains("permission denied"), "\(operation): \(answer)")
            }
            // Another user's token, in the user's name or not.
            let other = try setup.client(installation, "bob")
            await expectProblem("kms-token-refused", status: 403) {
                _ = try await other.decrypt(ciphertexts, keySet: keySet.id, count: 2)
            }
            await other.shutdown()
            await expectProblem("unknown-key-set") {
                _ = try await installation.bob.decrypt(ciphertexts, keySet: keySet.id, count: 2)
            }
            // None of it counts as a failed decryption, and the field takes no other text.
            #expect(try await alice.keySet(keySet.id).body.counters.failures == 0)
            let bad = try installation.curl(
                "-H", #"HKMS-KMS-Token: a"b"#, "-X", "DELETE", "\(installation.gatewayURL)/v1/keysets/\(keySet.id)")
            #expect(bad.out.contains("invalid-kms-token"))

            // The command line sends it from a file.
            let tokenFile = installation.folder.appendingPathComponent("alice.kms-token")
            try Data(setup.issuer.token(subject: "alice").utf8).write(to: tokenFile)
            let input = installation.folder.appendingPathComponent("vectors.ct")
            let values = installation.folder.appendingPathComponent("values.json")
            try Data("[[0.5, -0.25]]".utf8).write(to: values)
            let options = ["--gateway", installation.gatewayURL, "--token-file", installation.tokenFile]
            let hkms = try Programs.path("hkms")
            let encrypted = try Programs.run(
                hkms, ["encrypt", keySet.id, "--values", values.path, "--out", input.path] + options)
            #expect(encrypted.status == 0, "\(encrypted.error)")
            let decrypt = ["decrypt", keySet.id, "--in", input.path, "--count", "2"] + options
            let without = try Programs.run(hkms, decrypt)
            #expect(without.status == 77 && without.error.contains("--kms-token-file"), "\(without.error)")
            let with = try Programs.run(hkms, decrypt + ["--kms-token-file", tokenFile.path])
            let first = with.out.split { $0.isWhitespace || $0 == "," }.first.flatMap { Double($0) }
            #expect(with.status == 0 && abs((first ?? .nan) - 0.5) < 1e-2, "\(with.out) \(with.error)")
            await alice.shutdown()
        }
    }

    @Test("no log holds the user's JWT, its signature or the gateway's own token, not even at the finest level")
    func silentLogs() async throws {
        let key = "hkms-\(UUID().uuidString.lowercased())"
        let setup = try Setup(key: key)
        try await Installation.use(.openbao, key: key) { installation in
            try await setup.take(installation)
            installation.endGateway()
            try await installation.start(logLevel: "trace")
            // One that the KMS takes, one of another user, one that has expired, one of another issuer's key.
            let tokens = [
                try setup.issuer.token(subject: "alice", lifetime: 600), try setup.issuer.token(subject: "bob"),
                try setup.issuer.token(subject: "alice", lifetime: -3600), try JWTIssuer().token(subject: "alice"),
            ]
            let developer = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let clients = try tokens.map {
                try HKMSClient(address: installation.gatewayURL, token: developer, kmsToken: $0)
            }
            let alice = clients[0]
            var keySets: [String] = []
            for mode in ["direct", "envelope"] {
                let keySet = try await alice.register(
                    RegisterRequest(requestId: "r-\(mode)", mode: mode, preset: "ckks-12", release: "raw")
                ).body
                keySets.append(keySet.id)
                let ciphertexts = try await alice.encrypt(
                    vectors: [.init(real: [0.5, -0.25])], keySet: keySet.id
                ).body
                let opened = try await alice.decrypt(ciphertexts, keySet: keySet.id, count: 2).body
                #expect(abs(opened.vectors[0].real[1] + 0.25) < 1e-3)
                // Where something fails more is logged.
                for refused in clients.dropFirst() {
                    await expectProblem("kms-token-refused", status: 403) {
                        _ = try await refused.decrypt(ciphertexts, keySet: keySet.id, count: 2)
                    }
                }
                let file = installation.object(keySet.id, "sealed-seed")
                let sealed = try Data(contentsOf: file)
                try Data(sealed.reversed()).write(to: file)
                await expectProblem("object-tampered") {
                    _ = try await alice.decrypt(ciphertexts, keySet: keySet.id, count: 2)
                }
                try sealed.write(to: file)
                _ = try await alice.destroy(keySet: keySet.id)
            }
            for client in clients { await client.shutdown() }
            // What is on record is on disk.
            installation.endGateway()

            var known = SecretScan()
            known.add(secret: Array(setup.gatewayToken.utf8), "the gateway's token")
            known.add(secret: Array(developer.utf8), "the user's token for the gateway")
            for token in tokens {
                // Its head says the same as that of any other; the claims name alice, whom the log may name.
                let signature = try #require(token.split(separator: ".").last)
                known.add(secret: Array(signature.utf8), "signature")
                let claims = token.split(separator: ".")[1]
                known.add("claims", Array(claims.utf8))
                #expect(known.finds(in: Array("before \(token) behind".utf8)))
            }
            let folder = installation.folder
            let gateway = folder.appendingPathComponent("gateway.log")
            let log = try String(contentsOf: gateway, encoding: .utf8)
            #expect(log.contains(" debug hkms:") || log.contains(" trace hkms:"))
            let audit = folder.appendingPathComponent("audit")
            let files = try FileManager.default.contentsOfDirectory(at: audit, includingPropertiesForKeys: nil)
            let recorded = try files.map { String(decoding: try Data(contentsOf: $0), as: UTF8.self) }.joined()
            for keySet in keySets { #expect(recorded.contains(keySet), "each is on record") }
            for file in files + [gateway, folder.appendingPathComponent("unit.log")] {
                let bytes = Array(try Data(contentsOf: file))
                #expect(!known.finds(in: bytes), "\(file.lastPathComponent) holds a token, or a part of one")
                let text = String(decoding: bytes, as: UTF8.self)
                for token in tokens + [setup.gatewayToken] {
                    #expect(!text.contains(token), "\(file.lastPathComponent) holds a token")
                }
            }
        }
    }
}
