import Attestation
import Foundation
import HKMSClient
import ServiceKit
import TestSupport
import Testing

/// The audit log of a running gateway.
@Suite(.serialized) struct AuditTrailTests {
    private func hkms(_ installation: Installation, _ command: String, _ more: String...) throws -> Programs.Output {
        try Programs.run(
            Programs.path("hkms"), ["audit", command, "--config", installation.configurationFile.path] + more)
    }

    @Test("every operation is one record, allowed or denied, with what it was on and nothing secret")
    func everyOperation() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            let keySet = try await alice.register(
                RegisterRequest(requestId: "r", mode: "direct", model: "heart-disease")
            ).body
            let id = keySet.id
            _ = try await alice.keySets()
            _ = try await alice.keySet(id)
            _ = try await alice.manifest(ofKeySet: id)
            _ = try await alice.publicKey(ofKeySet: id)
            _ = try await alice.evaluationKeys(ofKeySet: id)
            _ = try await alice.models()
            _ = try await alice.circuits()
            let model = try #require(try await alice.models().body.models.first)
            let record = RecordBody(
                uniqueKeysWithValues: model.inputs.map { ($0.name, $0.range?.first ?? $0.categories?.first ?? 0) })
            let inputs = try await alice.encrypt(records: [record], model: "heart-disease", keySet: id).body
            let job = try await alice.finished(
                alice.openJob(keySet: id, model: "heart-disease", ciphertexts: inputs).body)
            try #require(job.state == "evaluated", "\(job.failure ?? "")")
            let outputs = try await alice.results(ofJob: job.id).body
            let answer = try await alice.decrypt(outputs, keySet: id, count: 16).body
            let prediction = try await alice.predict(
                model: "heart-disease", PredictRequest(keySet: id, records: [record])
            ).body
            _ = try await alice.jobs()
            await expectProblem("unknown-key-set") { _ = try await installation.bob.keySet(id) }
            let nobody = try HKMSClient(address: installation.gatewayURL, token: StaticTokenFile.generateToken())
            await expectProblem("unauthenticated", status: 401) { _ = try await nobody.keySets() }
            await nobody.shutdown()
            _ = try await alice.destroy(keySet: id)

            let records = try installation.recordedOperations()
            func count(_ action: String, _ outcome: String = "ok", _ decision: String = "allowed") -> Int {
                records.count { $0.action == action && $0.outcome == outcome && $0.decision == decision }
            }
            #expect(count("gateway.start") == 1)
            #expect(count("register") == 1)
            // Two lists, the key set, its manifest, its list of keys, jobs while one was waited for.
            #expect(count("show") >= 5)
            #expect(count("show", "unknown-key-set", "denied") == 1)
            #expect(count("authenticate", "unauthenticated", "denied") == 1)
            #expect(count("public-key.fetch") == 1)
            #expect(count("models.list") == 3)
            #expect(count("encrypt") == 1)
            #expect(count("evaluate") == 2 && count("evaluate", "job-evaluated") == 1)
            #expect(count("decrypt.job") == 1)
            #expect(count("predict") == 1)
            #expect(count("destroy", "begun") == 1 && count("destroy") == 1)

            func only(_ action: String, _ outcome: String = "ok") throws -> RecordedOperation {
                try #require(records.first { $0.action == action && $0.outcome == outcome })
            }
            func digests(_ ciphertexts: [[UInt8]]) -> [String] { ciphertexts.map { Digest(of: $0).hex } }
            #expect(try only("encrypt").digests == digests(inputs))
            #expect(try only("evaluate", "job-evaluated").digests == digests(inputs) + digests(outputs))
            #expect(try only("decrypt.job").digests == digests(outputs))
            #expect(try only("predict").digests.count == 2 * prediction.batches)
            #expect(try only("register").parameter("parameters") == keySet.parameterDigest)
            #expect(try only("decrypt.job").parameter("release") == "flooded")
            #expect(try only("decrypt.job").parameter("address") == "127.0.0.1")
            for record in records where record.keySet == id && record.outcome != "unknown-key-set" {
                #expect(record.subject == "developer", "\(record.members)")
                #expect(record.rule.hasPrefix("allowed by rule owners-and-groups ("), "\(record.rule)")
            }
            #expect(records.allSatisfy { ($0.members["request"] as? String)?.isEmpty == false || $0.subject == nil })

            let verified = try hkms(installation, "verify")
            #expect(verified.status == 0 && verified.error.isEmpty, "\(verified.error)")
            let shown = try hkms(installation, "show", "--who", "developer", "--key-set", id)
            #expect(shown.out.contains("decrypt.job") && shown.out.contains("begun"))

            // Neither what was decrypted nor what it was decrypted with.
            let folder = installation.folder.appendingPathComponent("audit")
            let text = try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".log") }
                .map { try String(contentsOf: folder.appendingPathComponent($0), encoding: .utf8) }.joined()
            let token = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            #expect(!text.contains(token) && text.contains(id))
            let score = try #require(answer.vectors.first?.real.first)
            #expect(!text.contains("\(score)".prefix(8)), "what was decrypted")
        }
    }

    @Test("who has no credentials cannot fill the disk: a burst has so many records and then a number")
    func burst() async throws {
        try await Installation.use { installation in
            let answers = try Programs.run(
                "/usr/bin/curl",
                [
                    "-s", "--noproxy", "*", "-o", "/dev/null", "-w", "%{http_code} ",
                    installation.gatewayURL + "/v1/keysets?number=[1-190]",
                ]
            ).out.split(separator: " ")
            #expect(answers.count == 190 && answers.allSatisfy { $0 == "401" })
            let records = try installation.recordedOperations().filter { $0.action == "authenticate" }
            // A minute may end in between, and another begin.
            #expect((60...120).contains(records.count))
            let counted = records.compactMap { $0.parameter("notRecordedBefore").flatMap { Int($0) } }.reduce(0, +)
            #expect(records.count + counted <= 190)
        }
    }

    @Test("one flipped byte and one cut tail are found, and a gateway does not start on a log that lacks its end")
    func spoilt() async throws {
        try await Installation.use { installation in
            for request in 0..<3 {
                _ = try await installation.alice.register(
                    RegisterRequest(requestId: "r\(request)", mode: "direct", preset: "bfv-12"))
            }
            // An orderly end keeps the head.
            installation.endGateway()
            let folder = installation.folder.appendingPathComponent("audit")
            let name = try #require(
                try FileManager.default.contentsOfDirectory(atPath: folder.path).filter { $0.hasSuffix(".log") }.max())
            let file = folder.appendingPathComponent(name)
            let original = try Data(contentsOf: file)
            #expect(try installation.recordedOperations().last?.action == "gateway.stop")
            #expect(try hkms(installation, "verify").status == 0)

            var flipped = original
            let place = try #require(original.range(of: Data("\"subject\":\"developer\"".utf8))).upperBound - 2
            flipped[place] ^= 1
            try flipped.write(to: file)
            let line = original[..<place].count { $0 == 10 } + 1
            let found = try hkms(installation, "verify")
            #expect(found.status == 1 && found.error.contains("\(name):\(line + 1): does not follow"), "\(found.error)")
            #expect(try refusedStart(installation).contains("was changed since it was written"))

            // Cut off at a checkpoint: whole by itself, so that only the head that was kept elsewhere tells.
            let lines = String(decoding: original, as: UTF8.self).split(separator: "\n").map { $0 + "\n" }
            let checkpoints = lines.indices.filter { lines[$0].contains("\"type\":\"checkpoint\"") }
            try Data(lines[...checkpoints[checkpoints.count - 3]].joined().utf8).write(to: file)
            #expect(try hkms(installation, "verify").status == 0)
            let refused = try refusedStart(installation)
            #expect(refused.contains("does not hold") && refused.contains("--accept-audit-log"))

            try original.write(to: file)
            try await installation.start()
            _ = try await installation.alice.keySets()
            #expect(try hkms(installation, "verify").status == 0)
        }
    }

    private func refusedStart(_ installation: Installation) throws -> String {
        let output = try Programs.run(
            Programs.path("hkms"), ["serve", "--config", installation.configurationFile.path], seconds: 30)
        #expect(output.status != 0 && output.status != 124, "\(output.error)")
        return output.error
    }

    @Test(
        "audit made unwritable in the middle: nothing is answered, nothing is lost, and it goes on by itself",
        .enabled(if: MountedDevice.canMount, Comment(rawValue: MountedDevice.need)))
    func unwritable() async throws {
        try await Installation.use { installation in
            let device = try #require(try MountedDevice(mebibytes: 1))
            try installation.edit(installation.configurationFile) {
                $0.replacingOccurrences(of: "  directory: audit\n", with: "  directory: \(device.path)/audit\n")
            }
            // Another folder than the one whose head is kept is refused, unless the operator says so.
            installation.killGateway()
            #expect(try refusedStart(installation).contains("--accept-audit-log"))
            try await installation.start(options: ["--accept-audit-log"])
            let alice = installation.alice
            let keySet = try await alice.register(
                RegisterRequest(requestId: "r", mode: "direct", preset: "bfv-12")
            ).body.id
            let encrypted = try await alice.encrypt(integers: [[1, 2, 3]], keySet: keySet).body

            try device.fill(butKiB: 0)
            // The file has room to the end of its last page.
            var refusals = 0
            for _ in 0..<40 where refusals < 3 {
                do { _ = try await alice.decrypt(encrypted, keySet: keySet, count: 3) } catch {
                    guard case HKMSClientError.problem(let problem) = error, problem.name == "audit-unavailable" else {
                        throw error
                    }
                    #expect(problem.status == 503 && problem.retryAfterSeconds != nil)
                    refusals += 1
                }
            }
            #expect(refusals == 3)
            await expectProblem("audit-unavailable", status: 503) { _ = try await alice.destroy(keySet: keySet) }
            await expectProblem("audit-unavailable", status: 503) { _ = try await alice.publicKey(ofKeySet: keySet) }
            await expectProblem("audit-unavailable", status: 503) {
                let nobody = try HKMSClient(address: installation.gatewayURL, token: StaticTokenFile.generateToken())
                defer { Task { await nobody.shutdown() } }
                _ = try await nobody.keySets()
            }
            let readiness = try installation.readiness()
            #expect(readiness.status == "503" && readiness.body.contains("no space left"))
            let alive = try installation.curl(
                "-o", "/dev/null", "-w", "%{http_code}", installation.gatewayURL + "/livez")
            #expect(alive.out == "200")

            try device.empty()
            var answer: DecryptResponse?
            for _ in 0..<100 where answer == nil {
                answer = try? await alice.decrypt(encrypted, keySet: keySet, count: 3).body
                if answer == nil { try await Task.sleep(for: .milliseconds(100)) }
            }
            #expect(answer?.integers == [[1, 2, 3]])
            // Still there: nothing irrevocable began that was not on record.
            #expect(try await alice.keySet(keySet).body.state == "active")
            let verified = try Programs.run(
                Programs.path("hkms"), ["audit", "verify", "--config", installation.configurationFile.path])
            #expect(verified.status == 0, "\(verified.error)")
            #expect(try installation.readiness().status == "200")
            installation.killGateway()
        }
    }
}
