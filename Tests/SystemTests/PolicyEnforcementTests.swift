import DataFiles
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// The access policy at the gateway, and what `hkms policy explain` says of the same requests.
@Suite(.serialized) struct PolicyEnforcementTests {
    private static let policy = """
        version: 1
        rules:
          - name: members-see
            effect: allow
            who: {groups: [radiology]}
            actions: [register, show, evaluate]
            keySets: {groups: [radiology]}
          - name: clerks-encrypt
            effect: allow
            who: {groups: [clerks]}
            actions: [encrypt]
            keySets: {groups: [radiology]}
          - name: physicians-decrypt
            effect: allow
            who: {groups: [physicians]}
            actions: [decrypt.job]
            keySets: {groups: [radiology]}
            when:
              networks: [127.0.0.0/8, "::1/128"]
          - name: clerks-never-decrypt
            effect: deny
            who: {groups: [clerks]}
            actions: [decrypt.job]
          - name: everybody-knows-models
            effect: allow
            who: {anyone: true}
            actions: [models.list]
            acrossTenants: true

        """

    /// Alice is a clerk and Bob a physician, both of radiology.
    private func withRoles(_ body: (Installation) async throws -> Void) async throws {
        try await Installation.use { installation in
            try installation.edit(installation.folder.appendingPathComponent("tokens.yaml")) {
                $0.replacingOccurrences(of: "groups: []", with: "groups: [radiology, clerks]")
                    .replacingOccurrences(
                        of: "- subject: bob\n", with: "- subject: bob\n    groups: [radiology, physicians]\n")
            }
            try Data(Self.policy.utf8).write(to: installation.policyFile)
            try await installation.restart()
            try await body(installation)
        }
    }

    private func groupKeySet(_ client: HKMSClient) async throws -> String {
        var request = RegisterRequest(requestId: "g", mode: "envelope", preset: "bfv-12")
        request.group = "radiology"
        return try await client.register(request).body.id
    }

    @Test("a group's key set: one member encrypts, another decrypts, and explain says why not the other way round")
    func roles() async throws {
        try await withRoles { installation in
            let (alice, bob) = (installation.alice, installation.bob)
            let keySet = try await groupKeySet(alice)
            #expect(try await bob.keySets().body.keySets.map(\.id) == [keySet])
            let encrypted = try await alice.encrypt(integers: [[4, 5, 6]], keySet: keySet).body
            let decrypted = try await bob.decrypt(encrypted, keySet: keySet, count: 3).body
            #expect(decrypted.integers == [[4, 5, 6]])

            await expectProblem("not-permitted", status: 403) {
                _ = try await alice.decrypt(encrypted, keySet: keySet, count: 3)
            }
            await expectProblem("not-permitted", status: 403) {
                _ = try await bob.encrypt(integers: [[1]], keySet: keySet)
            }
            await expectProblem("not-permitted", status: 403) { _ = try await bob.destroy(keySet: keySet) }
            // For oneself is not for the group.
            await expectProblem("not-permitted", status: 403) {
                _ = try await alice.register(RegisterRequest(requestId: "own", mode: "envelope", preset: "bfv-12"))
            }
            // The first gate is asked first: what is not there is not told from what is another's.
            await expectProblem("unknown-key-set", status: 404) { _ = try await alice.keySet("ks-1") }
            #expect(try await bob.keySet(keySet).body.counters.decryptions == 1)

            func explained(_ who: [String], _ action: String) throws -> String {
                try Programs.run(
                    Programs.path("hkms"),
                    [
                        "policy", "explain", "--policy", installation.policyFile.path, "--tenant", "default",
                        "--action", action, "--key-set", keySet, "--owner-group", "radiology", "--from", "127.0.0.1",
                    ] + who
                ).out
            }
            let clerk = ["--who", "developer", "--group", "radiology", "--group", "clerks"]
            let physician = ["--who", "bob", "--group", "radiology", "--group", "physicians"]
            #expect(try explained(clerk, "decrypt.job").hasPrefix("denied by rule clerks-never-decrypt"))
            #expect(try explained(physician, "encrypt").hasPrefix("denied: no rule"))
            #expect(try explained(physician, "destroy").hasPrefix("denied: no rule"))
            #expect(try explained(physician, "decrypt.job").hasPrefix("allowed by rule physicians-decrypt"))

            // On record are the rules that explain names, too.
            let operations = try installation.recordedOperations()
            func rules(_ subject: String, _ action: String) -> [String] {
                operations.filter { $0.subject == subject && $0.action == action }.map { record in
                    record.rule.components(separatedBy: " (").first ?? ""
                }
            }
            #expect(rules("developer", "decrypt.job") == ["denied by rule clerks-never-decrypt"])
            #expect(rules("bob", "decrypt.job") == ["allowed by rule physicians-decrypt"])
            #expect(rules("bob", "encrypt") == ["denied: no rule"])
            #expect(rules("bob", "destroy") == ["denied: no rule"])
            #expect(rules("developer", "show") == ["denied by ownership"])
        }
    }

    @Test("SIGHUP: a bad file leaves the policy in force and says so; a good one takes its place as a whole")
    func reload() async throws {
        try await withRoles { installation in
            let bob = installation.bob
            let keySet = try await groupKeySet(installation.alice)
            func reloads() throws -> [String?] {
                try installation.recordedOperations().filter { $0.action == "policy.reload" }.map(\.outcome)
            }
            func reloaded(_ count: Int) async throws {
                kill(installation.gatewayIdentifier, SIGHUP)
                for _ in 0..<400 where try reloads().count < count { try await Task.sleep(for: .milliseconds(25)) }
                try #require(try reloads().count == count)
            }
            let more = "    actions: [decrypt.job, encrypt]\n"
            try installation.edit(installation.policyFile) {
                $0.replacingOccurrences(of: "    actions: [decrypt.job]\n    keySets", with: more + "    keyset")
            }
            try await reloaded(1)
            #expect(try reloads() == ["policy-refused"])
            await expectProblem("not-permitted") { _ = try await bob.encrypt(integers: [[1]], keySet: keySet) }
            let bad = try installation.readiness()
            #expect(bad.status == "200" && bad.body.contains("access policy: the file is not usable"))
            let log = try String(contentsOf: installation.folder.appendingPathComponent("gateway.log"), encoding: .utf8)
            #expect(log.contains("policy.yaml:") && log.contains("stays in force"))

            try installation.edit(installation.policyFile) { $0.replacingOccurrences(of: "keyset:", with: "keySets:") }
            try await reloaded(2)
            #expect(try reloads() == ["policy-refused", "ok"])
            _ = try await bob.encrypt(integers: [[1]], keySet: keySet)
            #expect(try !installation.readiness().body.contains("access policy"))
            // A start, other than a reload, has no earlier policy to fall back on.
            try Data("version: 1\n".utf8).write(to: installation.policyFile)
            let check = try Programs.run(
                Programs.path("hkms"), ["serve", "--check", "--config", installation.configurationFile.path])
            #expect(check.status == 78 && check.error.contains("policy.yaml:1"))
        }
    }

    @Test("where nothing is allowed, no route does anything, lists are empty, and each request is one record")
    func denyAll() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            let model = "heart-disease"
            let keySet = try await alice.register(RegisterRequest(requestId: "r", mode: "direct", model: model)).body
            let id = keySet.id
            let record = try RecordFile(Array(try Data(contentsOf: Installation.records))).records[0]
            let inputs = try await alice.encrypt(records: [record], model: model, keySet: id).body
            let job = try await alice.finished(alice.openJob(keySet: id, model: model, ciphertexts: inputs).body)
            try Data("version: 1\nrules: [{name: none, effect: deny, who: {anyone: true}, actions: [all]}]\n".utf8)
                .write(to: installation.policyFile)
            try await installation.restart()
            let before = try installation.recordedOperations().count

            let denied: [(String, () async throws -> Void)] = [
                (
                    "register",
                    { _ = try await alice.register(RegisterRequest(requestId: "s", mode: "direct", model: model)) }
                ),
                ("show", { _ = try await alice.keySet(id) }),
                ("show", { _ = try await alice.manifest(ofKeySet: id) }),
                ("public-key.fetch", { _ = try await alice.publicKey(ofKeySet: id) }),
                ("show", { _ = try await alice.evaluationKeys(ofKeySet: id) }),
                ("evaluation-keys.fetch", { _ = try await alice.evaluationKey(.relinearization, ofKeySet: id) }),
                ("encrypt", { _ = try await alice.encrypt(records: [record], model: model, keySet: id) }),
                ("decrypt.job", { _ = try await alice.decrypt(inputs, keySet: id) }),
                ("evaluate", { _ = try await alice.openJob(keySet: id, model: model, ciphertexts: inputs) }),
                ("show", { _ = try await alice.job(job.id) }),
                ("evaluate", { _ = try await alice.results(ofJob: job.id) }),
                (
                    "predict",
                    { _ = try await alice.predict(model: model, PredictRequest(keySet: id, records: [record])) }
                ),
                (
                    "predict",
                    {
                        _ = try await alice.predict(
                            model: model, PredictRequest(keySet: nil, ephemeral: true, records: [record]))
                    }
                ),
                ("models.list", { _ = try await alice.models() }),
                ("models.list", { _ = try await alice.circuits() }),
                ("destroy", { _ = try await alice.destroy(keySet: id) }),
            ]
            for (_, request) in denied { await expectProblem("not-permitted", status: 403, request) }
            #expect(try await alice.keySets().body.keySets.isEmpty)
            #expect(try await alice.jobs().body.jobs.isEmpty)

            let records = try installation.recordedOperations().dropFirst(before)
            #expect(records.map(\.action) == denied.map(\.0) + ["show", "show"])
            #expect(records.prefix(denied.count).allSatisfy { $0.rule.hasPrefix("denied by rule none (") })
            #expect(records.suffix(2).map { $0.parameter("shown") } == ["0 of 1", "0 of 1"])
            try Data(
                "version: 1\nrules: [{name: all, effect: allow, who: {anyone: true}, actions: [show], keySets: {own: true}}]\n"
                    .utf8
            )
            .write(to: installation.policyFile)
            try await installation.restart()
            #expect(try await alice.keySet(id).body.state == "active")
        }
    }

    @Test("decrypt.any needs the policy's word beside the key set's and the configuration's")
    func decryptAny() async throws {
        try await Installation.use { installation in
            try installation.edit(installation.configurationFile) { $0 + "decryptAny: {owners: [developer]}\n" }
            try await installation.restart()
            let alice = installation.alice
            var request = RegisterRequest(requestId: "any", mode: "envelope", preset: "bfv-12")
            request.decryptAny = true
            let (one, other) = (
                try await alice.register(request).body.id,
                try await alice.register(RegisterRequest(requestId: "b", mode: "envelope", preset: "bfv-12")).body.id
            )
            // Of the same parameters, so that it can be read, and vouched for under another key set alone.
            let foreign = try await alice.encrypt(integers: [[7]], keySet: other).body
            try installation.edit(installation.policyFile) {
                $0 + """
                      - name: nothing-unvouched
                        effect: deny
                        who: {anyone: true}
                        actions: [decrypt.any]

                    """
            }
            try await installation.restart()
            await expectProblem("not-permitted", status: 403) {
                _ = try await alice.decrypt(foreign, keySet: one)
            }
            #expect(try await !alice.keySet(one).body.exposed)
            try installation.edit(installation.policyFile) {
                $0.components(separatedBy: "  - name: nothing-unvouched")[0]
            }
            try await installation.restart()
            _ = try await alice.decrypt(foreign, keySet: one)
            #expect(try await alice.keySet(one).body.exposed)
            let actions = try installation.recordedOperations().filter { $0.keySet == one }.map {
                "\($0.action ?? "") \($0.decision ?? "")"
            }
            #expect(actions.contains("decrypt.any denied") && actions.contains("decrypt.any allowed"))
        }
    }
}
