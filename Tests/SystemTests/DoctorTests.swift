import Foundation
import HKMSClient
import ServiceKit
import TestSupport
import Testing

/// `hkms doctor` on installations that are well, and on ones that are spoilt in one way each.
@Suite(.serialized) struct DoctorTests {
    /// What is in files of the installation and must be in no output.
    private func secrets(in folder: URL) -> [String] {
        ["developer.token", "keystore.passphrase", "unit-signing.key", "tls/gateway-1.key", "kms.token"].flatMap {
            name -> [String] in
            guard let text = try? String(contentsOf: folder.appendingPathComponent(name), encoding: .utf8) else {
                return []
            }
            return text.split(separator: "\n").map(String.init).filter { $0.count >= 16 && !$0.hasPrefix("-----") }
        }
    }

    private func register(_ installation: Installation, _ mode: String) async throws {
        _ = try await installation.alice.register(
            RegisterRequest(requestId: UUID().uuidString, mode: mode, preset: "ckks-12", release: "raw"))
    }

    @Test("a healthy installation, with its gateway and without; nothing is left behind")
    func healthy() async throws {
        try await Installation.use(tls: true) { installation in
            try await register(installation, "direct")
            let running = try Doctor(installation.folder)
            #expect(running.status == 0 && running.names("failed").isEmpty, "\(running.text)")
            #expect(running.checks["listen"]?.detail.contains("a gateway answers") == true, "\(running.text)")
            #expect(running.checks["storage.objects"]?.outcome == "ok")
            let rows = try #require(running.checks["storage.rows"])
            #expect(rows.outcome == "ok" && !rows.detail.hasPrefix("0 "), "\(rows)")
            // Whatever the gateway is writing.
            #expect(["ok", "warning"].contains(running.checks["audit.log"]?.outcome), "\(running.text)")
            #expect(running.checks["unit.unit-1"]?.detail.contains("signed by the pinned key") == true)

            installation.endGateway()
            try installation.settleMetadata()
            let before = try contents(of: installation.folder).filter { $0.key != "unit.log" }
            let ended = try Doctor(installation.folder)
            #expect(ended.status == 0 && ended.names("failed").isEmpty, "\(ended.text)")
            #expect(ended.checks["listen"]?.detail.contains("is free") == true, "\(ended.text)")
            let log = try #require(ended.checks["audit.log"])
            #expect(log.outcome == "ok" && log.detail.contains("which the metadata store keeps"), "\(log)")
            #expect(ended.names("skipped") == ["kms.privileges"], "\(ended.text)")
            // Static tokens, a development keystore, and that it is for development.
            #expect(
                ended.names("warning") == ["configuration", "identity.tokens", "kms.capabilities"], "\(ended.text)")
            #expect(ended.checks["kms.seal"]?.detail == "sealed and opened, refused in another context")
            let after = try contents(of: installation.folder).filter { $0.key != "unit.log" }
            #expect(after == before)
            for secret in secrets(in: installation.folder) {
                #expect(!running.text.contains(secret) && !ended.text.contains(secret))
            }
            let config = installation.folder.appendingPathComponent("hkms.yaml").path
            let people = try Programs.run(Programs.path("hkms"), ["doctor", "--config", config])
            #expect(people.status == 0 && people.error.isEmpty, "\(people.error)")
            #expect(people.out.contains("\nok       kms.key "), "\(people.out)")
            #expect(people.out.contains("fix: Take the line out before real data comes."), "\(people.out)")
        }
    }

    @Test("what is spoilt fails by name with its fix, and the other checks still run")
    func spoilt() async throws {
        try await Installation.use(tls: true) { installation in
            try await register(installation, "envelope")
            installation.endGateway()
            try installation.settleMetadata()
            let authority = try TestAuthority(of: installation)
            let patients = try Spoilt.all(installation, authority)
            for patient in patients {
                let folder = FileManager.default.temporaryDirectory.appendingPathComponent(
                    "hkms-doctor-\(UUID().uuidString)")
                try FileManager.default.copyItem(at: installation.folder, to: folder)
                defer { try? FileManager.default.removeItem(at: folder) }
                try patient.spoil(folder)
                let before = try contents(of: folder)
                let doctor = try Doctor(folder)
                let found = "\(patient.name): \(doctor.text)"
                #expect(doctor.status == (patient.fails.isEmpty ? 0 : 1), "\(found)")
                #expect(doctor.names("failed") == patient.fails, "\(found)")
                #expect(doctor.names("skipped").subtracting(["kms.privileges"]) == patient.skips, "\(found)")
                for name in patient.fails.union(patient.warns) {
                    let check = try #require(doctor.checks[name], "\(found)")
                    #expect(patient.warns.contains(name) == (check.outcome == "warning"), "\(found)")
                    #expect(!check.fix.isEmpty, "\(found)")
                }
                #expect(doctor.checks.values.contains { $0.detail.contains(patient.tells) }, "\(found)")
                #expect(try contents(of: folder) == before, "\(patient.name)")
                for secret in secrets(in: installation.folder) { #expect(!doctor.text.contains(secret)) }
            }
        }
    }

    @Test("real OpenBao over TLS: the least policy is enough, more is warned of, and what is refused is named")
    func openBao() async throws {
        let key = "hkms-\(UUID().uuidString)"
        try await Installation.use(.openbao, key: key, tls: true) { installation in
            try await register(installation, "direct")
            let root = try Doctor(installation.folder)
            #expect(root.status == 0 && root.names("failed").isEmpty, "\(root.text)")
            #expect(root.checks["kms.privileges"]?.detail == "the credential may do everything", "\(root.text)")
            #expect(root.checks["kms.privileges"]?.outcome == "warning")
            #expect(root.checks["listen"]?.detail.contains("a gateway answers") == true)
            let token = try String(
                contentsOf: installation.openBaoTokenFile(), encoding: .utf8
            ).trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(!root.text.contains(token))

            installation.endGateway()
            let bao = try OpenBaoServer()
            let least = try bao.token(policy: Self.leastPolicy(key))
            let cases: [(token: String, fails: Set<String>, warns: Set<String>)] = [
                (least, [], []),
                (
                    try bao.token(policy: Self.leastPolicy(key, without: "rewrap")), [],
                    ["kms.rewrap"]
                ),
                (
                    try bao.token(policy: Self.leastPolicy(key, without: "decrypt")),
                    ["kms.seal", "kms.dataKey", "kms.rewrap", "installation.key"], []
                ),
                (
                    try bao.token(
                        policy: Self.leastPolicy(key)
                            + "path \"transit/keys/\(key)/rotate\" { capabilities = [\"update\"] }"),
                    [], ["kms.privileges"]
                ),
                ("s.not-a-token", ["kms.health"], []),
            ]
            for (token, fails, warns) in cases {
                try installation.replaceOpenBaoToken(by: token)
                let doctor = try Doctor(installation.folder)
                #expect(doctor.names("failed") == fails, "\(doctor.text)")
                #expect(
                    doctor.names("warning").subtracting(["configuration", "identity.tokens"]) == warns,
                    "\(doctor.text)")
                #expect(!doctor.text.contains(token))
                #expect(doctor.checks["tls.listen"]?.outcome == "ok")
            }

            for (usesRoot, old, new, fails, tells) in [
                (true, "key: \"\(key)\"", "key: hkms-not-there", "kms.key", "no key named hkms-not-there"),
                // The least policy names one key.
                (false, "key: \"\(key)\"", "key: hkms-not-there", "kms.key", "refused to read key hkms-not-there"),
                (true, "mount: \"transit\"", "mount: nowhere", "kms.key", "nothing is mounted at 'nowhere'"),
                (false, "caCertificate:", "# caCertificate:", "kms.health", "TLS handshake failed"),
            ] {
                try installation.replaceOpenBaoToken(by: usesRoot ? token : least)
                let file = installation.folder.appendingPathComponent("hkms.yaml")
                let text = try String(contentsOf: file, encoding: .utf8)
                try #require(text.contains(old), "\(text)")
                try Data(text.replacingOccurrences(of: old, with: new).utf8).write(to: file)
                let doctor = try Doctor(installation.folder)
                #expect(
                    doctor.status == 1 && doctor.names("failed").subtracting(["kms.random"]) == [fails],
                    "\(doctor.text)")
                #expect(doctor.checks[fails]?.detail.contains(tells) == true, "\(doctor.text)")
                #expect(doctor.names("skipped").isSuperset(of: ["installation.key", "unit.unit-1"]), "\(doctor.text)")
                #expect(doctor.checks["storage.metadata"]?.outcome == "ok", "\(doctor.text)")
                try Data(text.utf8).write(to: file)
            }
        }
    }

    @Test("a credential that works once is left to the gateway, unless it is meant")
    func worksOnce() async throws {
        let key = "hkms-\(UUID().uuidString)"
        try await Installation.use(.openbao, key: key, tls: true) { installation in
            installation.endGateway()
            let bao = try OpenBaoServer()
            let mount = "approle-\(UUID().uuidString.lowercased())"
            try bao.call("POST", "sys/auth/\(mount)", #"{"type": "approle"}"#)
            defer { _ = try? bao.call("DELETE", "sys/auth/\(mount)") }
            let policy = try bao.load("gateway", ["hkms-seeds": key])
            try bao.call("POST", "auth/\(mount)/role/hkms", #"{"token_policies": "\#(policy)"}"#)
            struct Role: Decodable {
                struct Data: Decodable { let role_id: String }
                let data: Data
            }
            struct Wrapped: Decodable {
                struct Info: Decodable { let token: String }
                let wrap_info: Info
            }
            func decode<Value: Decodable>(_ text: String) throws -> Value {
                try JSONDecoder().decode(Value.self, from: Data(text.utf8))
            }
            let role: Role = try decode(bao.call("GET", "auth/\(mount)/role/hkms/role-id"))
            let wrapped: Wrapped = try decode(
                bao.call("POST", "auth/\(mount)/role/hkms/secret-id", "{}", wrapSeconds: 300))
            let token = wrapped.wrap_info.token
            try installation.replaceOpenBaoToken(by: token)
            let file = installation.folder.appendingPathComponent("hkms.yaml")
            let text = try String(contentsOf: file, encoding: .utf8)
            let line = try #require(text.split(separator: "\n").first { $0.contains("tokenFile:") })
            let path = try installation.openBaoTokenFile().path
            let own = "appRole: {roleID: \(role.data.role_id), secretIDFile: \(path), secretIDWrapped: true, "
            let indent = line.prefix { $0 == " " }
            try Data(
                text.replacingOccurrences(of: line, with: "\(indent)\(own)mount: \(mount)}").utf8
            ).write(to: file)

            for _ in 0..<2 {
                let left = try Doctor(installation.folder)
                #expect(left.status == 0, "\(left.text)")
                for name in left.names("skipped").subtracting(["kms.connect"]) {
                    #expect(left.checks[name]?.detail == "left out with kms.connect", "\(name): \(left.text)")
                }
                #expect(left.names("skipped").isSuperset(of: ["kms.connect", "kms.key", "installation.key"]))
                #expect(left.checks["kms.connect"]?.detail.contains("--unwrap") == true, "\(left.text)")
                #expect(!left.text.contains(token))
            }
            // What only looks needs no login, and what does is refused before it spends the gateway's.
            func kms(_ word: String) throws -> Programs.Output {
                try Programs.run(Programs.path("hkms"), ["kms", word, "--config", file.path])
            }
            let status = try kms("status")
            #expect(status.status == 0 && status.out == "no job yet\n", "\(status.error)")
            for word in ["rotate", "cancel"] {
                let refused = try kms(word)
                #expect(refused.status == 1 && refused.error.contains("--unwrap"), "\(refused.error)")
                #expect(refused.error.contains(path) && !refused.error.contains(token), "\(refused.error)")
            }

            let used = try Doctor(installation.folder, "--unwrap")
            #expect(used.status == 0 && used.checks["installation.key"]?.outcome == "ok", "\(used.text)")
            let spent = try #require(used.checks["kms.connect"])
            #expect(spent.outcome == "warning" && spent.detail.contains("has spent the token in \(path)"), "\(spent)")
            let again = try Doctor(installation.folder, "--unwrap")
            #expect(again.names("failed") == ["kms.health"], "\(again.text)")
            #expect(again.checks["kms.health"]?.detail.contains("ALARM") == true, "\(again.text)")
            #expect(!used.text.contains(token) && !again.text.contains(token))
        }
    }

    @Test("users' logins at the KMS: mount, role and policy are asked for, and that the configuration uses them")
    func delegated() async throws {
        let key = "hkms-\(UUID().uuidString.lowercased())"
        try await Installation.use(.openbao, key: key, tls: true) { installation in
            installation.endGateway()
            let bao = try OpenBaoServer()
            let mount = "jwt-\(UUID().uuidString.lowercased().prefix(8))"
            let empty = "\(mount)-empty"
            for mount in [mount, empty] { try bao.call("POST", "sys/auth/\(mount)", #"{"type": "jwt"}"#) }
            defer { for mount in [mount, empty] { _ = try? bao.call("DELETE", "sys/auth/\(mount)") } }
            let pem = JWTIssuer().publicKeyPEM.replacingOccurrences(of: "\n", with: "\\n")
            try bao.call("POST", "auth/\(mount)/config", #"{"jwt_validation_pubkeys": ["\#(pem)"]}"#)
            try bao.call(
                "POST", "auth/\(mount)/role/hkms-user",
                #"{"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["kms"]}"#)
            func token(_ policies: String...) throws -> String {
                let names = policies.map { "\"\($0)\"" }.joined(separator: ", ")
                let made = try bao.call("POST", "auth/token/create", #"{"policies": [\#(names)], "ttl": "10m"}"#)
                struct Answer: Decodable {
                    struct Auth: Decodable { let client_token: String }
                    let auth: Auth
                }
                return try JSONDecoder().decode(Answer.self, from: Data(made.utf8)).auth.client_token
            }
            let gateway = try bao.load("gateway", ["hkms-seeds": key])
            let besides = try bao.load("gateway-delegated", ["hkms-user-": "user-of-doctor-"])
            let (whole, partly) = (try token(gateway, besides), try token(gateway))
            try installation.replaceOpenBaoToken(by: whole)
            let file = installation.folder.appendingPathComponent("hkms.yaml")
            let text = try String(contentsOf: file, encoding: .utf8)
            let line = try #require(text.split(separator: "\n").first { $0.contains("tokenFile:") })
            let (login, policy, placement) = (
                "kms.delegated.login", "kms.delegated.policy", "kms.delegated.placement"
            )
            let cases: [(String, String, String, String, fails: Set<String>, warns: Set<String>)] = [
                (mount, "hkms-user", "perPrincipal", whole, [], []),
                (mount, "hkms-user", "perPrincipal", partly, [], [policy]),
                (mount, "hkms-user", "shared", whole, [], [placement]),
                (mount, "nobody", "perPrincipal", whole, [login], []),
                ("jwt-nowhere", "hkms-user", "perPrincipal", whole, [login], []),
                (empty, "hkms-user", "perPrincipal", whole, [login], []),
            ]
            for (mount, role, keys, token, fails, warns) in cases {
                let own = "delegated: {mount: \(mount), role: \(role), keyPrefix: user-of-doctor-}"
                var changed = text.replacingOccurrences(of: line, with: "\(line)\n\(line.prefix { $0 == " " })\(own)")
                changed = changed.replacingOccurrences(of: "\nkms:\n", with: "\nkms:\n  keys: \(keys)\n")
                try Data(changed.utf8).write(to: file)
                try installation.replaceOpenBaoToken(by: token)
                let doctor = try Doctor(installation.folder)
                #expect(doctor.names("failed") == fails, "\(doctor.text)")
                #expect(
                    doctor.names("warning").subtracting(["configuration", "identity.tokens"]) == warns,
                    "\(doctor.text)")
                #expect(doctor.names("ok").union(fails).union(warns).isSuperset(of: [login, policy, placement]))
                #expect(!doctor.text.contains(token))
            }
        }
    }

    @Test("a KMS that takes connections and says nothing is given up in time, and the rest is told")
    func silent() async throws {
        let environment = ProcessInfo.processInfo.environment
        let address = try #require(environment["HKMS_TEST_OPENBAO_ADDRESS"].flatMap { URL(string: $0) })
        let relay = try await FaultProxy(to: try #require(address.port))
        try await Installation.use(.openbao, openBaoAddress: "http://127.0.0.1:\(relay.port)", tls: true) {
            installation in
            try await relay.set(.stalling)
            let doctor = try Doctor(installation.folder, "--limit", "5")
            try await relay.set(.none)
            #expect(doctor.status == 1, "\(doctor.text)")
            #expect(doctor.checks["kms.health"]?.detail == "no answer within 5 s", "\(doctor.text)")
            #expect(doctor.checks["kms.key"]?.outcome == "skipped")
            #expect(doctor.checks["tls.listen"]?.outcome == "ok" && doctor.checks["storage.objects"]?.outcome == "ok")
        }
        try await relay.stop()
    }

    @Test("memory that cannot be locked is warned of in development, with the limit to raise")
    func lockedMemory() async throws {
        try await Installation.use { installation in
            let prefix = LockedMemoryTests.limit(64 << 10)
            let output = try Programs.run(
                prefix.0,
                prefix.1 + [
                    try Programs.path("hkms"), "doctor", "--config",
                    installation.folder.appendingPathComponent("hkms.yaml").path,
                ])
            #expect(output.status == 0, "\(output.out)")
            #expect(output.out.contains("warning  process.lockedMemory"), "\(output.out)")
            #expect(output.out.contains("cannot be locked, the limit is 64.0 KiB"), "\(output.out)")
            #expect(output.out.contains("fix: Set LimitMEMLOCK= in systemd"), "\(output.out)")
        }
    }

    @Test("a configuration that cannot be read ends with 78 and names the lines")
    func unreadable() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-doctor-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let file = folder.appendingPathComponent("hkms.yaml")
        for text in ["", "kms: 1\n", "installation: {name: a}\nkms: {provider: software, passphraseFile: [x]}\n"] {
            try Data(text.utf8).write(to: file)
            let doctor = try Doctor(folder)
            #expect(doctor.status == 78 && doctor.names("failed") == ["configuration"], "\(doctor.text)")
            #expect(doctor.checks["configuration"]?.detail.contains("hkms.yaml:") == true, "\(doctor.text)")
        }
        try FileManager.default.removeItem(at: file)
        #expect(try Doctor(folder).status == 78)
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder.path).isEmpty)
    }

    /// docs/configuration.md, "Least-privilege policy".
    private static func leastPolicy(_ key: String, without operation: String = "") -> String {
        let lines = [
            "encrypt": "update", "decrypt": "update", "rewrap": "update", "datakey/plaintext": "update",
            "keys": "read",
        ].filter { $0.key != operation }
        return lines.map { "path \"transit/\($0.key)/\(key)\" { capabilities = [\"\($0.value)\"] }\n" }.joined()
            + "path \"transit/random/*\" { capabilities = [\"update\"] }\n"
    }
}
