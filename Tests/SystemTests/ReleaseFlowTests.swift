import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// Flooded release over HTTP, between real processes: what is given, what is refused, and that the budget ends it.
@Suite(.serialized) struct ReleaseFlowTests {
    private func records(_ count: Int) throws -> [RecordBody] {
        Array(try RecordFile(Array(try Data(contentsOf: Installation.records))).records.prefix(count))
    }

    private func registration(_ id: String, _ change: (inout RegisterRequest) -> Void = { _ in }) -> RegisterRequest {
        var request = RegisterRequest(requestId: id, mode: "direct", model: "heart-disease")
        change(&request)
        return request
    }

    @Test("what cannot be had is refused by name, before any key is made")
    func refusals() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            let cases: [(String, Int, (inout RegisterRequest) -> Void)] = [
                ("precision-out-of-reach", 422, { ($0.precision, $0.statisticalBits) = (1e-11, 128) }),
                (
                    "precision-out-of-reach", 422,
                    { ($0.precision, $0.statisticalBits, $0.decryptionBudget) = (1e-9, 64, 1 << 20) }
                ),
                ("invalid-release", 422, { $0.decryptionBudget = 0 }),
                ("invalid-release", 422, { $0.decryptionBudget = 1 << 41 }),
                ("invalid-release", 422, { $0.precision = 0 }), ("invalid-release", 422, { $0.precision = -1e-3 }),
                ("invalid-release", 422, { $0.statisticalBits = 0 }),
                ("invalid-release", 422, { $0.statisticalBits = 129 }),
                ("raw-cannot-be-shared", 422, { ($0.release, $0.audience) = ("raw", "shared") }),
                ("invalid-request", 400, { ($0.release, $0.precision) = ("raw", 1e-3) }),
                ("invalid-request", 400, { $0.release = "blinded" }),
                ("invalid-request", 400, { $0.audience = "everybody" }),
                ("flooding-needs-model", 422, { ($0.model, $0.preset) = (nil, "ckks-12") }),
                ("unknown-model", 404, { $0.model = "other" }),
            ]
            for (name, status, change) in cases {
                let request = registration("r", change)
                await expectProblem(name, status: status) { _ = try await alice.register(request) }
            }
            let record = try records(1)
            for (name, change) in [
                (
                    "precision-out-of-reach",
                    {
                        $0.precision = 1e-11; $0.statisticalBits = 128
                    }
                ),
                ("invalid-release", { $0.statisticalBits = -1 }),
                (
                    "invalid-request",
                    {
                        $0.release = "raw"; $0.precision = 1
                    }
                ),
            ] as [(String, (inout PredictRequest) -> Void)] {
                var request = PredictRequest(keySet: nil, ephemeral: true, records: record)
                change(&request)
                let asked = request
                await expectProblem(name) { _ = try await alice.predict(model: "heart-disease", asked) }
            }
            #expect(try await alice.keySets().body.keySets.isEmpty)
        }
    }

    @Test("a flooded key set: what was planned, what leaves, what is refused, and the end of its budget")
    func keySet() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            let info = try await alice.register(
                registration("r") { ($0.decryptionBudget, $0.audience) = (5, "shared") }
            ).body
            #expect(info.release == "flooded" && !info.tainted && info.counters.decryptionsLeft == 5)
            let flooding = try #require(info.flooding)
            #expect(flooding.precision == 1e-3 && flooding.statisticalBits == 30 && flooding.decryptions == 5)
            #expect(flooding.audience == "shared" && flooding.deviation > flooding.errorBound)
            #expect(info.releaseReport?.contains("asked: results within 0.001, 5 decryptions") == true)
            let again = try await alice.register(
                registration("r") { ($0.decryptionBudget, $0.audience) = (5, "shared") })
            #expect(again.status == 200 && again.body.id == info.id)
            await expectProblem("request-id-reused", status: 409) {
                _ = try await alice.register(registration("r") { $0.release = "raw" })
            }

            let (records, id) = (try records(3), info.id)
            let answer = try await alice.predict(
                model: "heart-disease", PredictRequest(keySet: id, release: "flooded", records: records)
            ).body
            #expect(answer.release == "flooded" && answer.flooding == flooding && answer.decryptionsLeft == 4)

            // Step by step: two releases of one result differ.
            let inputs = try await alice.encrypt(records: records, model: "heart-disease", keySet: id).body
            let job = try await alice.finished(
                try await alice.openJob(keySet: id, model: "heart-disease", ciphertexts: inputs).body)
            #expect(job.state == "evaluated", "\(job.failure ?? "")")
            let outputs = try await alice.results(ofJob: job.id).body
            // All slots: those of no record are results for records of zeros.
            let first = try await alice.decrypt(outputs, keySet: id, complex: true, release: "flooded").body
            let second = try await alice.decrypt(outputs, keySet: id, complex: true).body
            #expect(first.flooding == flooding && first.decryptionsLeft == 3 && second.decryptionsLeft == 2)
            #expect(first.vectors != second.vectors)
            for released in [first, second] {
                for (score, prediction) in zip(released.vectors[0].real, answer.predictions) {
                    #expect(abs(score - prediction.score) <= 2e-3)
                    #expect((score / flooding.step).rounded() * flooding.step == score)
                }
            }
            for (name, body) in [
                (
                    "key-set-is-flooded",
                    { _ = try await alice.decrypt(outputs, keySet: id, release: "raw") }
                ),
                ("invalid-request", { _ = try await alice.decrypt(outputs, keySet: id, release: "blinded") }),
                (
                    "key-set-is-flooded",
                    {
                        _ = try await alice.predict(
                            model: "heart-disease", PredictRequest(keySet: id, release: "raw", records: records))
                    }
                ),
                (
                    "scale-does-not-fit",
                    { _ = try await alice.encrypt(vectors: [.init(real: [1])], keySet: id, scaleBits: 30) }
                ),
                (
                    "level-does-not-fit",
                    { _ = try await alice.encrypt(vectors: [.init(real: [1])], keySet: id, level: 1) }
                ),
                (
                    "vector-out-of-range",
                    { _ = try await alice.encrypt(vectors: [.init(real: [2])], keySet: id, model: "heart-disease") }
                ),
                (
                    "vector-out-of-range",
                    {
                        _ = try await alice.encrypt(
                            vectors: [.init(real: [0], imaginary: [1])], keySet: id, model: "heart-disease")
                    }
                ),
            ] as [(String, () async throws -> Void)] {
                await expectProblem(name) { try await body() }
            }
            // Vectors that nobody checked are decrypted, but not computed on.
            let vectors = try await alice.encrypt(vectors: [.init(real: [0.25])], keySet: id).body
            await expectProblem("not-a-model-input", status: 409) {
                _ = try await alice.openJob(keySet: id, model: "heart-disease", ciphertexts: vectors)
            }
            let checked = try await alice.encrypt(
                vectors: [.init(real: [0.25])], keySet: id, model: "heart-disease"
            ).body
            let own = try await alice.decrypt(vectors + checked, keySet: id, count: 1).body
            #expect(own.release == "flooded" && own.vectors.allSatisfy { abs($0.real[0] - 0.25) <= 1e-3 })
            #expect(own.decryptionsLeft == 0)
            await expectProblem("budget-exhausted", status: 403) { _ = try await alice.decrypt(outputs, keySet: id) }
            let shown = try await alice.keySet(id).body
            #expect(shown.counters.decryptions == 5 && shown.counters.failures == 0 && !shown.tainted)
            #expect(shown.flooding == flooding && shown.releaseReport == nil)

            let raw = try await alice.register(registration("raw") { $0.release = "raw" }).body
            #expect(raw.tainted && raw.flooding == nil && raw.releaseReport == nil)
            let theirs = try await alice.encrypt(records: records, model: "heart-disease", keySet: raw.id).body
            await expectProblem("key-set-is-raw", status: 409) {
                _ = try await alice.decrypt(theirs, keySet: raw.id, release: "flooded")
            }
            await expectProblem("key-set-is-raw", status: 409) {
                _ = try await alice.predict(
                    model: "heart-disease", PredictRequest(keySet: raw.id, release: "flooded", records: records))
            }
            // Ciphertexts of one plan are none of the other's.
            await expectProblem("ciphertext-not-vouched", status: 403) {
                _ = try await alice.openJob(keySet: id, model: "heart-disease", ciphertexts: theirs)
            }
        }
    }

    @Test("a bound that the unit has not signed, for this question, is not believed")
    func forgedBounds() async throws {
        try await Installation.use { installation in
            let liar = try await installation.putLiarBeforeUnit()
            let plans = "POST /v1/models/heart-disease/plan$"
            for (index, lie) in ["bound forged", "no noise", "cut in an output", "empty", "another page"].enumerated() {
                try liar.tell(lie, at: plans)
                await expectProblem("unit-malformed-answer", status: 502) {
                    _ = try await installation.alice.register(registration("\(index)"))
                }
            }
            for (lie, name) in [
                ("body altered", "unit-refused"), ("signature dropped", "unit-refused"), ("busy", "unit-busy"),
                ("precision out of reach", "precision-out-of-reach"), ("hang up", "unit-unavailable"),
            ] {
                try liar.tell(lie, at: plans)
                await expectProblem(name) { _ = try await installation.alice.register(registration(lie)) }
            }
            // A true answer, to another question.
            try liar.tell("earlier plan", at: plans)
            let info = try await installation.alice.register(registration("a") { $0.decryptionBudget = 9 }).body
            #expect(info.flooding?.decryptions == 9)
            await expectProblem("unit-malformed-answer", status: 502) {
                _ = try await installation.alice.register(registration("b") { $0.decryptionBudget = 10 })
            }
            try liar.tell(nil)
            #expect(try await installation.alice.keySets().body.keySets.map(\.id) == [info.id])
        }
    }
}
