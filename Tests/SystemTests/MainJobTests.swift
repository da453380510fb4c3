import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// The main job over HTTP, between real processes.
@Suite(.serialized) struct MainJobTests {
    private func records() throws -> [RecordBody] {
        try RecordFile(Array(try Data(contentsOf: Installation.records))).records.map { record in
            record
        }
    }

    private func scoresInTheClear(_ records: [RecordBody]) throws -> [Double] {
        let model = try InferenceModel(parsing: Array(try Data(contentsOf: Installation.model)))
        return model.evaluateInTheClear(
            try records.enumerated().map { index, body in
                try Record(body.mapValues { $0.map { .number($0) } ?? .missing })
                    .encoded(by: model.inputs, index: index)
            })
    }

    @Test("encrypted predictions are those in the clear, in every mode", arguments: Installation.KMS.allCases)
    func predict(kms: Installation.KMS) async throws {
        try await Installation.use(kms) { installation in
            let records = try records()
            // More than one evaluation takes, so that records are split into batches.
            let many = records + records + records.prefix(9)
            let plain = try scoresInTheClear(many)
            for mode in ["direct", "envelope", "ephemeral"] {
                var keySet: String?
                if mode != "ephemeral" {
                    let registered = try await installation.alice.register(
                        RegisterRequest(requestId: mode, mode: mode, model: "heart-disease")
                    ).body
                    #expect(registered.state == "active")
                    #expect(registered.kms.provider == kms.rawValue)
                    #expect(registered.objects.count == 13)
                    keySet = registered.id
                }
                let answer = try await installation.alice.predict(
                    model: "heart-disease",
                    PredictRequest(keySet: keySet, ephemeral: mode == "ephemeral" ? true : nil, records: many)
                ).body
                #expect(answer.release == "flooded" && answer.flooding?.precision == 1e-3)
                #expect(answer.decryptionsLeft == (mode == "ephemeral" ? nil : 1022))
                #expect(answer.batches == 2)
                #expect(answer.predictions.count == many.count)
                for (prediction, expected) in zip(answer.predictions, plain) {
                    #expect(abs(prediction.score - expected) < 1e-3)
                    #expect(prediction.label == (expected > 0 ? "present" : "absent"))
                }
            }
            #expect(try await installation.alice.keySets().body.keySets.count == 2)
            #expect(try await installation.bob.keySets().body.keySets.isEmpty)
            // Of the ephemeral key set nothing was stored.
            let stored = try FileManager.default.contentsOfDirectory(
                atPath: installation.folder.appendingPathComponent("objects/keysets").path)
            #expect(stored.filter { $0.hasPrefix("eph") }.isEmpty)
        }
    }

    @Test("step by step: encrypt, a job, its results, decrypt; and a crash in between loses nothing")
    func jobs() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            let records = try records()
            let keySet = try await alice.register(
                RegisterRequest(requestId: "r", mode: "envelope", model: "heart-disease")
            ).body.id
            let ciphertexts = try await alice.encrypt(
                records: records, model: "heart-disease", keySet: keySet
            ).body
            installation.killGateway()
            try await installation.start()
            let opened = try await alice.openJob(keySet: keySet, model: "heart-disease", ciphertexts: ciphertexts).body
            let job = try await alice.finished(opened)
            #expect(job.state == "evaluated")
            #expect(job.receipt != nil)
            await expectProblem("unknown-job", status: 404) { _ = try await installation.bob.job(opened.id) }
            let outputs = try await alice.results(ofJob: job.id).body
            installation.killGateway()
            try await installation.start()
            let decrypted = try await alice.decrypt(outputs, keySet: keySet, count: 64).body
            let scores = Array(decrypted.vectors[0].real.prefix(records.count))
            for (score, expected) in zip(scores, try scoresInTheClear(records)) {
                #expect(abs(score - expected) < 1e-3)
            }
            #expect(try await alice.jobs().body.jobs.map(\.id) == [job.id])
        }
    }

    @Test("vectors of one's own: encrypt and decrypt, and the objects that the API serves")
    func vectors() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            var request = RegisterRequest(requestId: "preset", mode: "direct", preset: "ckks-12", release: "raw")
            request.rotations = [1, -2]
            request.conjugation = true
            let info = try await alice.register(request).body
            #expect(info.objects.map(\.name).contains("galois-3"))
            #expect(info.objects.count == 5)
            let vector = EncryptRequest.Vector(real: [0.5, -1, 2], imaginary: [1, 0, -0.5])
            let ciphertexts = try await alice.encrypt(vectors: [vector], keySet: info.id).body
            let answer = try await alice.decrypt(ciphertexts, keySet: info.id, count: 3, complex: true).body
            #expect(zip(answer.vectors[0].real, vector.real).allSatisfy { abs($0 - $1) < 1e-3 })
            #expect(zip(answer.vectors[0].imaginary ?? [], vector.imaginary ?? []).allSatisfy { abs($0 - $1) < 1e-3 })
            let publicKey = try await alice.publicKey(ofKeySet: info.id).body
            #expect(publicKey.count == info.bytes.publicKey)
            let manifest = try await alice.manifest(ofKeySet: info.id).body
            #expect(manifest.count > 500)
            let listed = try await alice.evaluationKeys(ofKeySet: info.id).body.evaluationKeys
            #expect(listed.reduce(0) { $0 + $1.bytes } == info.bytes.evaluationKeys)
            // Registering again with the same id is the same key set.
            let again = try await alice.register(request).body
            #expect(again.id == info.id)
            let destroyed = try await alice.destroy(keySet: info.id).body
            #expect(destroyed.erasure == "tombstoned")
        }
    }
}
