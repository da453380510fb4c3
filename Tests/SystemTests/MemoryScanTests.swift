import Attestation
import DataFiles
import Foundation
import HKMSClient
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import ServiceKit
import TestSupport
import Testing
import TrustedKMSOpenBao
import TrustedKMSSoftware

/// What is left of secrets in memory after an operation: nothing. Another process's memory is read, which needs
/// root's right to trace, because the server forbids it to all others.
@Suite(.serialized, .enabled(if: Rights.includeTracing, "reads the memory of a process that forbids it: needs root"))
struct MemoryScanTests {
    private static let parameters = ParameterPreset.named("ckks-12")!.parameters

    @Test(
        "the scan sees a secret in every form that it looks for",
        arguments: [
            "raw", "half", "base64", "base64+1", "base64+2", "hex", "ipad", "opad", "row", "special", "expanded",
        ])
    func control(form: String) throws {
        let subject = try ScanSubject("software")
        #expect(try subject.ask("plant \(form)") == "held")
        let secret = try #require(try subject.told().last)
        let scanner = try MemoryScanner([("secret", secret)], seed: secret, parameters: Self.parameters)
        let held = try scanner.scan(subject.identifier)
        let names = [
            "row": "secret key, transformed", "special": "secret key, transformed",
            "expanded": "secret key, expanded", "ipad": "secret, HMAC inner pad", "opad": "secret, HMAC outer pad",
            "half": "secret, raw",
        ]
        let name = names[form] ?? "secret, " + form.prefix { $0 != "+" }
        #expect(held.counts[name] != nil, "\(held.counts)")
        #expect(held.scannedBytes > 1 << 20 && held.unreadBytes == 0, "\(held.unreadBytes) bytes unread")
        #expect(try subject.ask("go") == "ok")
    }

    @Test(
        "registering and decrypting leave nothing, nor do their failures",
        arguments: Installation.KMS.allCases, [ProtectionMode.direct, .envelope])
    func flows(kms: Installation.KMS, mode: ProtectionMode) async throws {
        let subject: ScanSubject
        let token: (token: String, policy: String)?
        switch kms {
        case .software:
            subject = try ScanSubject("software")
            token = nil
        case .openbao:
            let new = try Self.newToken()
            token = new
            subject = try ScanSubject(
                "openbao", address: try Self.variable("HKMS_TEST_OPENBAO_TLS_ADDRESS"), token: new.token)
        }
        if mode == .direct {
            // While it registers the scan finds the seed: before the secret key is made, and with it.
            for (step, name) in [(1, "seed, raw"), (2, "secret key, packed")] {
                #expect(try subject.ask("register direct held-\(step) hold \(step)") == "held")
                let seed = try #require(try subject.told().last)
                let scanner = try MemoryScanner([("seed", seed)], seed: seed, parameters: Self.parameters)
                #expect(try scanner.scan(subject.identifier).counts[name] != nil)
                #expect(try subject.ask("go").hasPrefix("ok"))
                let left = try scanner.scan(subject.identifier)
                #expect(left.isEmpty, "after registering: \(left.counts) \(left.places)")
            }
        }
        let registered = try subject.ask("register \(mode.rawValue) r1")
        try #require(registered.hasPrefix("ok "), "\(registered)")
        let keySet = String(registered.dropFirst(3))
        let told = try #require(try subject.told().last)
        let folder = subject.folder.appendingPathComponent("objects/keysets/\(keySet)")
        let seed =
            mode == .direct
            ? told
            : try StoredSeed.unsealed(
                folder, dataKey: told,
                context: SealingContext(
                    installation: "scan", tenant: "default",
                    owner: KeySetOwner(kind: .user, issuer: "static", subject: "alice"), keySet: keySet,
                    parameters: Self.parameters, suite: 1, origin: .derived, object: .seed, mode: mode))
        let scanner = try MemoryScanner(
            [("seed", seed)] + (mode == .envelope ? [("data key", told)] : []), seed: seed,
            parameters: Self.parameters)
        func expectNothing(_ after: String, sourceLocation: SourceLocation = #_sourceLocation) throws {
            let findings = try scanner.scan(subject.identifier)
            #expect(findings.unreadBytes == 0, sourceLocation: sourceLocation)
            #expect(
                findings.isEmpty, "after \(after): \(findings.counts) \(findings.places)",
                sourceLocation: sourceLocation)
        }
        try expectNothing("registering")

        // While it is held the scan finds it: before the secret key is made, and with it.
        #expect(try subject.ask("decrypt \(keySet) 1 hold 2") == "held")
        #expect(try scanner.scan(subject.identifier).counts["seed, raw"] != nil)
        #expect(try subject.ask("go") == "ok")
        #expect(try subject.ask("decrypt \(keySet) 1 hold 3") == "held")
        #expect(try scanner.scan(subject.identifier).counts["secret key, packed"] != nil)
        #expect(try subject.ask("go") == "ok")
        try expectNothing("one decryption")

        #expect(try subject.ask("decrypt \(keySet) 100") == "ok")
        try expectNothing("a hundred decryptions at once")

        for step in 2...3 {
            #expect(try subject.ask("decrypt \(keySet) 1 cancel \(step)") == "held")
            #expect(try subject.ask("go").hasPrefix("error"))
            try expectNothing("a cancelled decryption")
        }
        let file = folder.appendingPathComponent("sealed-seed")
        let original = try Data(contentsOf: file)
        var tampered = original
        tampered[40] ^= 1
        try tampered.write(to: file)
        #expect(try subject.ask("decrypt \(keySet) 1").hasPrefix("error"))
        try original.write(to: file)
        try expectNothing("a tampered sealed seed")

        // A failure after opening: what was opened was there, and so was what the KMS gave in its place.
        let before = try subject.told().count
        #expect(try subject.ask("decrypt \(keySet) 1 wrong").hasPrefix("error"))
        let opened = try subject.told().dropFirst(before)
        #expect(opened.count == 2 && opened.first == told)
        try expectNothing("a failure after opening")
        let given = try MemoryScanner(
            opened.suffix(1).map { ("given", $0) }, seed: opened.last, parameters: Self.parameters
        ).scan(subject.identifier)
        #expect(given.isEmpty, "after a failure after opening: \(given.counts) \(given.places)")

        if let token {
            // From here on the KMS answers 403: the seed was on its way there.
            try Self.allow(token.policy, "transit/random/*")
            let before = try subject.told().count
            #expect(try subject.ask("register direct r2").hasPrefix("error"))
            #expect(try subject.ask("decrypt \(keySet) 1").hasPrefix("error"))
            let refused = try subject.told().dropFirst(before)
            #expect(refused.count == 1)
            let findings = try MemoryScanner(
                refused.map { ("seed", $0) }, seed: refused.first, parameters: Self.parameters
            ).scan(subject.identifier)
            #expect(findings.isEmpty, "after a 403: \(findings.places)")
            try expectNothing("a 403")
        }
    }

    @Test("a KMS that stops answering leaves nothing of the seed that was sent to it")
    func timeout() async throws {
        let address = try Self.variable("HKMS_TEST_OPENBAO_TLS_ADDRESS")
        let relay = try await FaultProxy(to: try #require(address.split(separator: ":").last.flatMap { Int($0) }))
        let subject = try ScanSubject(
            "openbao", address: "https://localhost:\(relay.port)", token: try Self.newToken().token, timeoutSeconds: 5)
        #expect(try subject.ask("register direct r1").hasPrefix("ok"))
        try await relay.set(.stalling)
        for request in ["r2", "r3"] {
            let before = try subject.told().count
            #expect(try subject.ask("register direct \(request)").hasPrefix("error"))
            let sent = try subject.told().dropFirst(before)
            let findings = try MemoryScanner(
                sent.map { ("seed", $0) }, seed: sent.first, parameters: Self.parameters
            ).scan(subject.identifier)
            #expect(findings.isEmpty, "\(findings.counts) \(findings.places)")
        }
        try await relay.set(.none)
        #expect(try subject.ask("register direct r2").hasPrefix("ok"))
        try await relay.stop()
    }

    @Test("nothing is left in the gateway itself", arguments: Installation.KMS.allCases)
    func gateway(kms: Installation.KMS) async throws {
        let key = "scan-\(UUID().uuidString)"
        try await Installation.use(kms, key: key) { installation in
            let alice = installation.alice
            var known = SecretScan()
            var kept: [String] = []
            for mode in [ProtectionMode.direct, .envelope] {
                // Flooded results, and raw ones.
                let info = try await alice.register(
                    mode == .direct
                        ? RegisterRequest(requestId: mode.rawValue, mode: mode.rawValue, model: "heart-disease")
                        : RegisterRequest(
                            requestId: mode.rawValue, mode: mode.rawValue, preset: "ckks-12", release: "raw")
                ).body
                let keySet = info.id
                let parameters = try EncryptionParameters(
                    scheme: .ckks, logN: info.parameters.logN, q: info.parameters.q, p: info.parameters.p,
                    alpha: info.parameters.alpha)
                let ciphertexts = try await alice.encrypt(vectors: [.init(real: [1, 2])], keySet: keySet).body
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<100 {
                        group.addTask { _ = try await alice.decrypt(ciphertexts, keySet: keySet, count: 2) }
                    }
                    try await group.waitForAll()
                }
                let secrets = try await StoredSeed(
                    installation.folder.appendingPathComponent("objects/keysets/\(keySet)"), mode: mode,
                    installation: "hkms", owner: "developer", parameters: parameters,
                    kms: try Self.kms(kms, of: installation), key: key)
                kept.append(keySet)
                for secret in [secrets.seed] + (secrets.dataKey.map { [$0] } ?? []) {
                    known.add(secret: secret, mode.rawValue)
                }
                let findings = try MemoryScanner(
                    [("seed", secrets.seed)] + (secrets.dataKey.map { [("data key", $0)] } ?? []), seed: secrets.seed,
                    parameters: parameters
                ).scan(installation.gatewayIdentifier)
                #expect(findings.isEmpty, "\(mode): \(findings.counts) \(findings.places)")
                #expect(findings.scannedBytes > 1 << 20 && findings.unreadBytes == 0)
            }
            let status = try String(contentsOfFile: "/proc/\(installation.gatewayIdentifier)/status", encoding: .utf8)
            #expect(status.contains("VmSwap:\t       0 kB"))
            let limits = try String(contentsOfFile: "/proc/\(installation.gatewayIdentifier)/limits", encoding: .utf8)
            let core = try #require(limits.split(separator: "\n").first { $0.hasPrefix("Max core file size") })
            #expect(core.split(separator: " ").dropFirst(4).prefix(2) == ["0", "0"])

            known.add(secret: Array(try Data(contentsOf: URL(fileURLWithPath: installation.tokenFile))), "token")
            if kms == .openbao { known.add(secret: Array(try Self.variable("HKMS_TEST_OPENBAO_TOKEN").utf8), "token") }
            try await Self.expectSilentLogs(installation, kept, known)
        }
    }

    /// Neither program writes a secret to its log, not even at the finest level.
    private static func expectSilentLogs(
        _ installation: Installation, _ keySets: [String], _ known: SecretScan
    ) async throws {
        installation.killGateway()
        try await installation.start(logLevel: "trace")
        let alice = installation.alice
        for keySet in keySets {
            let ciphertexts = try await alice.encrypt(vectors: [.init(real: [1, 2])], keySet: keySet).body
            _ = try await alice.decrypt(ciphertexts, keySet: keySet, count: 2)
            // Where something fails more is logged.
            let file = installation.object(keySet, "sealed-seed")
            let sealed = try Data(contentsOf: file)
            try Data(sealed.reversed()).write(to: file)
            await expectProblem("object-tampered") { _ = try await alice.decrypt(ciphertexts, keySet: keySet) }
            try sealed.write(to: file)
            _ = try await alice.destroy(keySet: keySet)
        }
        let record = try RecordFile(Array(Data(contentsOf: Installation.records))).records[0]
        _ = try await alice.predict(
            model: "heart-disease", PredictRequest(keySet: nil, ephemeral: true, records: [record]))
        for name in ["gateway.log", "unit.log"] {
            let log = Array(try Data(contentsOf: installation.folder.appendingPathComponent(name)))
            #expect(!log.isEmpty && !known.finds(in: log), "\(name) holds a secret")
        }
        let log = try String(contentsOf: installation.folder.appendingPathComponent("gateway.log"), encoding: .utf8)
        #expect(log.contains(" debug hkms:") || log.contains(" trace hkms:"))
    }

    // MARK: The KMS

    private static func kms(_ kms: Installation.KMS, of installation: Installation) throws -> any TrustedKMS {
        switch kms {
        case .software:
            return try installation.softwareKMS()
        case .openbao:
            let token = try SecretBytes(copying: variable("HKMS_TEST_OPENBAO_TOKEN").utf8)
            return try OpenBaoKMS(
                OpenBaoConfiguration(
                    address: variable("HKMS_TEST_OPENBAO_ADDRESS"), authentication: .token(OpenBaoToken(copying: token))
                ))
        }
    }

    private static func variable(_ name: String) throws -> String {
        try #require(ProcessInfo.processInfo.environment[name], "\(name) is not set: run scripts/test")
    }

    @discardableResult
    private static func administer(_ method: String, _ path: String, _ body: String) throws -> String {
        try Programs.run(
            "/usr/bin/curl",
            [
                "-sf", "--noproxy", "*", "-H", "X-Vault-Token: \(variable("HKMS_TEST_OPENBAO_TOKEN"))", "-X", method,
                "-d", body, "\(variable("HKMS_TEST_OPENBAO_ADDRESS"))/v1/\(path)",
            ]
        ).out
    }

    private static func allow(_ policy: String, _ path: String) throws {
        let rules = ["policy": "path \"\(path)\" { capabilities = [\"create\", \"read\", \"update\"] }"]
        let body = String(decoding: try JSONSerialization.data(withJSONObject: rules), as: UTF8.self)
        try administer("PUT", "sys/policies/acl/\(policy)", body)
    }

    /// A token with a policy of its own, and the key that the subject uses.
    private static func newToken() throws -> (token: String, policy: String) {
        let policy = "scan-\(UUID().uuidString.lowercased())"
        try allow(policy, "transit/*")
        try administer("POST", "transit/keys/seeds", "{\"type\":\"aes256-gcm96\",\"derived\":true}")
        let answer = try administer("POST", "auth/token/create", "{\"policies\":[\"\(policy)\"],\"no_parent\":true}")
        let object = try JSONSerialization.jsonObject(with: Data(answer.utf8)) as? [String: Any]
        return (try #require((object?["auth"] as? [String: Any])?["client_token"] as? String), policy)
    }
}
