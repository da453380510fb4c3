import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// A unit, or somebody between it and the gateway, that does not tell the truth: every lie has a name in the end,
/// nothing is decrypted, and the gateway goes on.
@Suite(.serialized) struct LyingUnitTests {
    /// An installation whose gateway reaches its unit through a liar, with a key set that has predicted once.
    fileprivate struct Scene {
        let installation: Installation
        let liar: LyingUnit
        let keySet: String
        /// Two inputs.
        let inputs: [[UInt8]]
        let records: [RecordBody]

        var alice: HKMSClient { installation.alice }

        static func use(_ body: (Scene) async throws -> Void) async throws {
            try await Installation.use { installation in
                let liar = try await installation.putLiarBeforeUnit()
                let keySet = try await installation.alice.register(
                    RegisterRequest(requestId: "r", mode: "direct", model: "heart-disease", release: "raw")
                ).body.id
                let record = try RecordFile(Array(Data(contentsOf: Installation.records))).records[0]
                let inputs = try await installation.alice.encrypt(
                    records: [RecordBody](repeating: record, count: 65), model: "heart-disease",
                    keySet: keySet
                ).body
                #expect(inputs.count == 2)
                let scene = Scene(
                    installation: installation, liar: liar, keySet: keySet, inputs: inputs,
                    records: [RecordBody](repeating: record, count: 65))
                try await scene.predict()
                try await body(scene)
            }
        }

        @discardableResult
        func predict(ephemeral: Bool = false, records count: Int = 65) async throws -> PredictResponse {
            try await alice.predict(
                model: "heart-disease",
                PredictRequest(
                    keySet: ephemeral ? nil : keySet, ephemeral: ephemeral ? true : nil, release: "raw",
                    records: Array(records.prefix(count)))
            ).body
        }

        func job() async throws -> JobInfo {
            try await alice.finished(
                try await alice.openJob(keySet: keySet, model: "heart-disease", ciphertexts: inputs).body)
        }

        /// The lie has this name, and the truth that follows is believed.
        func expect(
            _ problem: String, of lie: String, ephemeral: Bool = false, records: Int = 1
        ) async throws {
            try liar.tell(lie)
            do {
                try await predict(ephemeral: ephemeral, records: records)
                Issue.record("\(lie): believed")
            } catch HKMSClientError.problem(let told) {
                #expect(told.name == problem, "\(lie): \(told.detail.prefix(200))")
                #expect(told.detail.count <= 1000 && !told.fix.isEmpty)
            }
            try liar.tell(nil)
        }

        func decryptions() async throws -> Int {
            try await alice.keySet(keySet).body.counters.decryptions
        }
    }

    @Test("answers to a job that are altered, swapped, replayed, cut, endless or no answers at all")
    func answers() async throws {
        try await Scene.use { scene in
            let before = try await scene.decryptions()
            let rejected = [
                "output altered", "outputs swapped", "output duplicated", "output dropped", "no outputs",
                "inputs as outputs", "earlier outputs", "earlier receipt", "earlier answer",
                "receipt altered",
                "receipt cut", "receipt empty", "job as receipt", "receipt for other outputs",
                "receipt of another unit", "no receipt",
            ]
            let malformed = [
                "output added", "empty bundle", "empty", "cut in the header", "cut in the lengths",
                "cut in an output", "longer", "huge length", "huge count", "another page", "no content",
                "declares too much", "endless",
            ]
            let refused = [
                "redirect", "always lacks keys", "other problem", "garbled problem", "body altered",
                "signature dropped", "asked twice",
            ]
            let unavailable = ["hang up", "no HTTP", "ends in the middle"]
            for (name, lies) in [
                ("receipt-rejected", rejected), ("unit-malformed-answer", malformed),
                ("unit-refused", refused),
                ("unit-unavailable", unavailable), ("unit-busy", ["busy"]),
            ] {
                for lie in lies {
                    // Two ciphertexts where one is put in another's place.
                    try await scene.expect(name, of: lie, records: lies == rejected ? 65 : 1)
                }
                // The same as a job in the background, and for an ephemeral key set.
                try scene.liar.tell(lies[0])
                let job = try await scene.job()
                #expect(
                    job.state == "failed" && job.failure == name && job.outputs.isEmpty && job.receipt == nil)
                await expectProblem("job-not-open", status: 409) {
                    _ = try await scene.alice.results(ofJob: job.id)
                }
                try await scene.expect(name, of: lies[0], ephemeral: true)
            }
            // Nothing of a failed job is stored.
            let stored = try FileManager.default.contentsOfDirectory(
                atPath: scene.installation.object(scene.keySet, "").path)
            #expect(!stored.contains("jobs"))
            #expect(try await scene.decryptions() == before)
            // What is no lie: another media type, a late answer, timings that nobody can have measured.
            for lie in ["other type", "late", "endless timing", "no timing"] {
                try scene.liar.tell(lie)
                #expect(try await scene.predict().predictions.count == 65, "\(lie)")
            }
            // A unit that evicted keys between the question and the job gets them again, once.
            try scene.liar.tell("lacks keys once")
            _ = try scene.liar.requests()
            #expect(try await scene.predict().predictions.count == 65)
            let asked = try scene.liar.requests().filter { $0 == "POST /v1/evaluate" }
            #expect(asked.count == 2)
            try scene.liar.tell(nil)
            #expect(try await scene.job().state == "evaluated")
            #expect(try await scene.decryptions() == before + 10)
        }
    }

    @Test("answers to a job on integers under BFV, with ciphertexts of CKKS among them")
    func integerAnswers() async throws {
        try await Installation.use(circuits: [Installation.circuit]) { installation in
            let (alice, name) = (installation.alice, "heart-disease-totals")
            let liar = try await installation.putLiarBeforeUnit()
            let circuit = try IntegerCircuit(parsing: Array(Data(contentsOf: Installation.circuit)))
            let columns = circuit.columns.map(\.name)
            let some = try IntegerRecordFile(Array(Data(contentsOf: Installation.records)), columns: columns).records
            // Two evaluations, of two ciphertexts each.
            let records = (0..<9).flatMap { _ in some }
            let keySet = try await alice.register(
                RegisterRequest(requestId: "r", mode: "direct", model: name)
            ).body.id
            let inputs = try await alice.encrypt(integerRecords: records, circuit: name, keySet: keySet).body
            func job() async throws -> JobInfo {
                try await alice.finished(
                    try await alice.openJob(keySet: keySet, model: name, ciphertexts: inputs).body)
            }
            let honest = try await job()
            let results = try await alice.results(ofJob: honest.id).body
            #expect(results.count == 2)

            let real = try await alice.register(
                RegisterRequest(requestId: "ckks", mode: "direct", preset: "ckks-12", release: "raw")
            ).body.id
            let foreign = try await alice.encrypt(vectors: [.init(real: [1])], keySet: real).body
            let rejected = [
                "output altered", "outputs swapped", "output duplicated", "output dropped", "inputs as outputs",
                "output of another", "earlier answer", "earlier receipt", "receipt altered",
                "receipt for other outputs", "no receipt",
                // Of two operands there are fewer results than inputs, so that one more is still an answer.
                "output added",
            ]
            for (problem, lies) in [
                ("receipt-rejected", rejected), ("unit-malformed-answer", ["cut in an output"]),
            ] {
                for lie in lies {
                    try liar.tell(lie, output: foreign[0])
                    let failed = try await job()
                    #expect(failed.state == "failed" && failed.failure == problem, "\(lie): \(failed.failure ?? "")")
                    #expect(failed.outputs.isEmpty && failed.receipt == nil, "\(lie)")
                }
            }
            try liar.tell(nil)
            // Nothing was counted, and what is vouched for is what plain integers give.
            #expect(try await alice.keySet(keySet).body.counters.decryptions == 0)
            let again = try await alice.results(ofJob: try await job().id).body
            #expect(again == results)
            let info = try #require(try await alice.circuits().body.circuits.first)
            let integers = try await alice.decrypt(again, keySet: keySet, count: info.valueCount).body.integers
            let plain = records.map { record in circuit.columns.map { record[$0.name] ?? 0 } }
            #expect(
                try info.values(of: #require(integers), records: records.count) == circuit.evaluateInTheClear(plain))
        }
    }

    @Test("another unit that answers in its place, and results swapped between two jobs")
    func otherUnits() async throws {
        try await Scene.use { scene in
            let installation = scene.installation
            // The same name, models and gateways, but a key that nobody pinned.
            let stranger = try await installation.secondUnit { yaml in
                let made = try Programs.run(
                    Programs.path("hkms-evaluator"),
                    ["new-key", installation.folder.appendingPathComponent("other.key").path])
                #expect(made.status == 0, "\(made.error)")
                return yaml.replacingOccurrences(of: "unit-signing.key", with: "other.key")
            }
            defer { stranger.process.terminate() }
            // The pinned key under another name, and another model under the same name.
            let renamed = try await installation.secondUnit {
                $0.replacingOccurrences(of: "name: unit-1", with: "name: unit-2")
            }
            defer { renamed.process.terminate() }
            let changed = try await installation.secondUnit { yaml in
                let model = try String(contentsOf: Installation.model, encoding: .utf8)
                let file = installation.folder.appendingPathComponent("changed.json")
                try Data((model + "\n").utf8).write(to: file)
                return yaml.replacingOccurrences(of: Installation.model.path, with: file.path)
            }
            defer { changed.process.terminate() }

            let before = try await scene.decryptions()
            let everything = "P"  // PUT and POST
            try scene.liar.tell("", at: everything, other: stranger.port)
            await expectProblem("receipt-rejected", status: 502) { try await scene.predict() }
            await expectProblem("receipt-rejected", status: 502) {
                try await scene.predict(ephemeral: true, records: 1)
            }
            #expect(try await scene.job().failure == "receipt-rejected")
            try scene.liar.tell("", at: everything, other: renamed.port)
            await expectProblem("unit-refused", status: 502) { try await scene.predict() }
            try scene.liar.tell("", at: everything, other: changed.port)
            await expectProblem("unit-refused", status: 502) { try await scene.predict() }

            for (unit, name) in [(stranger, "statement-rejected"), (renamed, "statement-rejected")] {
                try scene.liar.tell("", at: "GET /v1/models$", other: unit.port)
                await expectProblem(name, status: 502) { try await scene.askForModels() }
            }
            // Believed, because the unit signed it: then the unit that has the other model refuses the job.
            try scene.liar.tell("", at: "GET /v1/models$", other: changed.port)
            await expectProblem("unknown-model") { try await scene.askForModels() }
            await expectProblem("unit-refused", status: 502) { try await scene.predict() }
            try scene.liar.tell(nil)
            await expectProblem("unknown-model") { try await scene.askForModels() }

            // The result of one job in the place of another's, both with their own receipts.
            let first = try await scene.alice.results(ofJob: try await scene.job().id).body
            try scene.liar.tell("output of another", output: first[0])
            await expectProblem("receipt-rejected", status: 502) { try await scene.predict() }
            #expect(try await scene.decryptions() == before)
            try scene.liar.tell(nil)
            try await scene.predict()
        }
    }

    @Test("lists of models and of needed keys that are altered, repeated, cut or never end")
    func lists() async throws {
        try await Scene.use { scene in
            let before = try await scene.decryptions()
            for (name, lies) in [
                ("statement-rejected", ["model altered", "models cut"]),
                (
                    "unit-malformed-answer",
                    ["garbled JSON", "other JSON", "another page", "empty", "declares too much"]
                ),
                ("unit-refused", ["redirect", "garbled problem", "signature dropped", "asked twice"]),
                ("unit-unavailable", ["hang up", "no HTTP", "ends in the middle"]), ("unit-busy", ["busy"]),
                ("unknown-model", ["no models", "models often"]),
            ] {
                for lie in lies {
                    try scene.liar.tell(lie, at: "GET /v1/models$")
                    await expectProblem(name) { try await scene.askForModels() }
                }
            }
            try scene.liar.tell("models often", at: "GET /v1/models$")
            await expectProblem("unknown-model") { try await scene.askForModels() }
            #expect(try await scene.alice.models().body.models.map(\.name) == ["heart-disease"])

            for (name, lies) in [
                ("unit-malformed-answer", ["garbled JSON", "other JSON", "empty", "declares too much"]),
                ("unit-refused", ["redirect", "garbled problem", "body altered"]),
                ("unit-unavailable", ["hang up", "ends in the middle"]),
            ] {
                for lie in lies {
                    try scene.liar.tell(lie, at: "PUT /v1/manifests/[^/]*$")
                    await expectProblem(name) { try await scene.predict(ephemeral: true, records: 1) }
                }
            }
            // While its keys are brought.
            for (name, lies) in [
                ("unit-refused", ["redirect", "garbled problem", "other problem"]),
                ("unit-unavailable", ["hang up", "no HTTP"]), ("unit-busy", ["busy"]),
            ] {
                for lie in lies {
                    try scene.liar.tell(lie, at: "PUT /v1/manifests/[^/]*/keys/")
                    await expectProblem(name) { try await scene.predict(ephemeral: true, records: 1) }
                }
            }
            // A unit that asks for nothing gets nothing, and then cannot evaluate.
            try scene.liar.tell("nothing needed", at: "PUT /v1/manifests/[^/]*$")
            await expectProblem("unit-refused") { try await scene.predict(ephemeral: true, records: 1) }
            // One that asks fifty times, or for what there is not, gets each key once.
            _ = try scene.liar.requests()
            for lie in ["needs all often", "needs others"] {
                try scene.liar.tell(lie, at: "PUT /v1/manifests/[^/]*$")
                try await scene.predict(ephemeral: true, records: 1)
                let uploads = try scene.liar.requests().filter { $0.contains("/keys/") }
                #expect(!uploads.isEmpty && Set(uploads).count == uploads.count, "\(lie): \(uploads.count)")
            }
            #expect(try await scene.decryptions() == before)
            try scene.liar.tell(nil)
            try await scene.predict()

            // Destruction is the gateway's own business: a unit that does not forget does not stop it.
            for lie in ["hang up", "garbled problem"] {
                let keySet = try await scene.alice.register(
                    RegisterRequest(requestId: lie, mode: "direct", model: "heart-disease", release: "raw")
                ).body.id
                _ = try await scene.alice.predict(
                    model: "heart-disease",
                    PredictRequest(keySet: keySet, records: Array(scene.records.prefix(1))))
                _ = try scene.liar.requests()
                try scene.liar.tell(lie, at: "DELETE /v1/manifests/")
                #expect(try await scene.alice.destroy(keySet: keySet).body.state == "destroyed")
                #expect(try scene.liar.requests().contains { $0.hasPrefix("DELETE /v1/manifests/") })
                try scene.liar.tell(nil)
                await expectProblem("key-set-destroyed") {
                    _ = try await scene.alice.predict(
                        model: "heart-disease",
                        PredictRequest(keySet: keySet, records: Array(scene.records.prefix(1))))
                }
            }
        }
    }

    @Test("a job that its unit does not finish keeps its place, and no more jobs than places are taken")
    func places() async throws {
        try await Scene.use { scene in
            try scene.installation.changeConfiguration { $0 + "limits: {jobs: 1}\n" }
            try await scene.installation.restart()
            _ = try scene.liar.requests()
            try scene.liar.tell("stops in the middle")
            let held = try await scene.alice.openJob(
                keySet: scene.keySet, model: "heart-disease", ciphertexts: scene.inputs
            ).body
            while try !scene.liar.requests().contains("POST /v1/evaluate") {
                try await Task.sleep(for: .milliseconds(20))
            }
            await expectProblem("too-many-jobs", status: 503) { _ = try await scene.job() }
            // Predictions hold a connection and need no place.
            try scene.liar.tell(nil)
            try await scene.predict()
            try scene.liar.end()
            #expect(try await scene.alice.finished(held).failure == "unit-unavailable")
            #expect(try await scene.job().state == "evaluated")
        }
    }

    @Test("a unit that stops in the middle of an answer holds up nobody but who asked it")
    func stops() async throws {
        try await Scene.use { scene in
            let before = try await scene.decryptions()
            _ = try scene.liar.requests()
            try scene.liar.tell("stops in the middle")
            let (client, request) = (scene.alice, PredictRequest(keySet: scene.keySet, records: scene.records))
            let waiting = Task { try await client.predict(model: "heart-disease", request) }
            while try !scene.liar.requests().contains("POST /v1/evaluate") {
                try await Task.sleep(for: .milliseconds(20))
            }
            // Others, meanwhile; and at the unit itself, once it answers again.
            _ = try await scene.alice.decrypt(scene.inputs, keySet: scene.keySet, count: 1)
            try scene.liar.tell(nil)
            try await scene.predict()
            #expect(try await scene.decryptions() == before + 4)
            try scene.liar.end()
            await expectProblem("unit-unavailable") { _ = try await waiting.value }

            // A list of models is waited for some seconds, however far it has come.
            try scene.liar.tell("stops in the middle", at: "GET /v1/models$")
            let start = ContinuousClock.now
            await expectProblem("unit-unavailable") { try await scene.askForModels() }
            #expect((.seconds(3) ... .seconds(25)).contains(ContinuousClock.now - start))
            try scene.liar.tell(nil)
            try await scene.predict()
        }
    }
}

extension LyingUnitTests.Scene {
    /// Has the gateway ask its unit anew: it remembers models for a while, but not that there is none.
    fileprivate func askForModels() async throws {
        _ = try await alice.predict(model: "weather", PredictRequest(keySet: keySet, records: records))
    }
}

extension Installation {
    func changeConfiguration(_ change: (String) throws -> String) throws {
        try edit(configurationFile, change)
    }

    /// Has the gateway read its configuration anew.
    func restart() async throws {
        killGateway()
        try await start()
    }

    /// Has the gateway reach its unit through a liar from now on.
    func putLiarBeforeUnit() async throws -> LyingUnit {
        let liar = try LyingUnit(before: unitPort)
        try changeConfiguration {
            $0.replacingOccurrences(
                of: "url: http://127.0.0.1:\(unitPort)", with: "url: http://127.0.0.1:\(liar.port)")
        }
        try await restart()
        return liar
    }

    /// Another unit with a changed configuration, on a port of its own.
    func secondUnit(_ change: (String) throws -> String) async throws -> (process: Process, port: Int) {
        let port = try Self.freePort()
        let yaml = try String(
            contentsOf: folder.appendingPathComponent("evaluator.yaml"), encoding: .utf8)
        let file = folder.appendingPathComponent("evaluator-\(port).yaml")
        try Data(
            try change(yaml).replacingOccurrences(of: "port: \(unitPort)", with: "port: \(port)").utf8
        ).write(to: file)
        let process = Process()
        process.executableURL = URL(fileURLWithPath: try Programs.path("hkms-evaluator"))
        process.arguments = ["serve", "--config", file.path]
        process.standardInput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        for _ in 0..<200 {
            let ready = try Programs.run(
                "/usr/bin/curl",
                ["-sf", "--noproxy", "*", "-o", "/dev/null", "http://127.0.0.1:\(port)/readyz"])
            if ready.status == 0 { return (process, port) }
            try await Task.sleep(for: .milliseconds(50))
        }
        process.terminate()
        throw CocoaError(.executableLoad)
    }
}
