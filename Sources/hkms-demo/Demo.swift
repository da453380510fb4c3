import ArgumentParser
import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit

/// The main job, end to end, against a running gateway and evaluation unit; scripts/demo starts both.
@main
struct Demo: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "hkms-demo",
        abstract: "Register, encrypt, evaluate, decrypt, and compare with predictions in the clear.")

    @Option(name: .long, help: "URL of the gateway.") var gateway: String
    @Option(name: .long, help: "File with a bearer token.") var tokenFile: String
    @Option(name: .long, help: "The model's file, for predictions in the clear.") var modelFile: String
    @Option(name: .long, help: "The circuit's file, for exact sums in the clear.") var circuitFile: String
    @Option(name: .long, help: "Records of the model's schema, CSV.") var data: String
    @Option(name: .long, help: "How results are released: flooded or raw.") var release = "flooded"
    @Option(name: .long, help: "Write the measurements here as JSON.") var json: String?

    func run() async throws {
        let token = try String(contentsOfFile: tokenFile, encoding: .utf8).trimmingCharacters(
            in: .whitespacesAndNewlines)
        let client = try HKMSClient(address: gateway, token: token)
        do {
            try await run(client)
        } catch {
            await client.shutdown()
            throw error
        }
        await client.shutdown()
    }

    private func run(_ client: HKMSClient) async throws {
        let model = try InferenceModel(parsing: Array(try Data(contentsOf: URL(fileURLWithPath: modelFile))))
        let models = try await client.models().body.models
        guard let info = models.first(where: { $0.name == model.name }) else {
            throw ValidationError("the gateway knows no model \(model.name)")
        }
        let file = try RecordFile(Array(try Data(contentsOf: URL(fileURLWithPath: data))))
        let records = try ModelRecords(file, for: info)
        let plain = try predictInTheClear(records.records, model)
        say("Model \(info.name) of evaluation unit \(info.unit): \(info.description)")
        if release == "raw" {
            say(
                "  ring N = 2^\(info.parameters.logN), \(info.parameters.q.count) primes and \(info.parameters.p.count) special, depth \(info.depth), \(info.batch) records an evaluation"
            )
        }
        say("  \(records.records.count) records from \(data)")

        var results: [Measurement] = []
        do {
            for mode in ["direct", "envelope"] {
                results.append(try await measure(mode, client, info, records, plain))
            }
            try await showEphemeral(client, info, records, plain)
            results[0].exact = try await showExact(client, file)
        } catch {
            // What was measured until then is kept; why it ended is the more important of two errors.
            try? write(results)
            throw error
        }
        summarize(results)
        try write(results)
        guard results.allSatisfy({ $0.classMismatches == 0 && $0.maxAbsError <= $0.precision }) else {
            throw ValidationError("encrypted and plaintext predictions differ")
        }
        guard results[0].exact?.differences == 0 else { throw ValidationError("encrypted and plaintext sums differ") }
    }

    private func write(_ results: [Measurement]) throws {
        guard let json else { return }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        try encoder.encode(results).write(to: URL(fileURLWithPath: json), options: .atomic)
    }

    /// The whole round under a registered key set.
    private func measure(
        _ mode: String, _ client: HKMSClient, _ info: ModelInfo, _ records: ModelRecords, _ plain: [Double]
    ) async throws -> Measurement {
        say("\n== Protection mode: \(mode) ==")
        let request = RegisterRequest(
            requestId: UUID().uuidString, mode: mode, model: info.name, release: release)
        let registered = try await client.register(request)
        let keySet = registered.body
        let sealer = mode == "direct" ? "sealed the seed" : "sealed the data key, and that sealed the seed"
        say("1. register     key set \(keySet.id)")
        say(
            "   keys         \(ms(registered.timings, "secretKey", "keyCreation")) for the secret, public and \(keySet.objects.count - 1) evaluation keys, all from one 256-bit seed"
        )
        say(
            "   seal         \(ms(registered.timings, "seal")); \(keySet.kms.provider) key \"\(keySet.kms.key)\"\(keySet.kms.keyVersion.map { " version \($0)" } ?? "") \(sealer)"
        )
        if let report = keySet.releaseReport {
            for line in report.split(separator: "\n") { say("   plan         \(line)") }
        }
        for object in keySet.objects { say("   \(pad(object.name, 22)) \(size(object.bytes))  level \(object.level)") }
        say("   \(pad("sealed seed", 22)) \(keySet.bytes.sealedSeed.map(size) ?? "not available")")

        let predicted = try await client.predict(
            model: info.name, PredictRequest(keySet: keySet.id, records: records.records))
        let answer = predicted.body
        say(
            "2. encrypt      \(ms(predicted.timings, "sampleEncryption")): \(answer.batches) ciphertexts, \(size(answer.bytes.encryptedSamples))"
        )
        say(
            "3. evaluate     \(ms(predicted.timings, "prediction")) on \(answer.unit), which holds evaluation keys and no secret (keys sent in \(ms(predicted.timings, "upload")))"
        )
        say(
            "4. decrypt      open \(ms(predicted.timings, "open")), secret key from seed \(ms(predicted.timings, "secretKeyFromSeed")), decrypt and decode \(ms(predicted.timings, "decryption")); results \(size(answer.bytes.encryptedPredictions)), released \(answer.release)"
                + (answer.decryptionsLeft.map { ", \($0) decryptions left" } ?? "")
        )
        let scores = answer.predictions.map(\.score)
        let errors = zip(scores, plain).map { abs($0 - $1) }
        let labels = plain.map { info.labels[$0 > info.threshold ? 1 : 0] }
        let mismatches = zip(answer.predictions, labels).filter { $0.label != $1 }.count
        say("5. compare      encrypted    in the clear   class")
        for index in 0..<min(8, scores.count) {
            say(
                "   record \(pad(String(index + 1), 6)) \(fixed(scores[index]))   \(fixed(plain[index]))   \(answer.predictions[index].label)"
            )
        }
        if scores.count > 8 { say("   ... and \(scores.count - 8) more") }
        let accuracy = records.accuracy(of: answer.predictions, model: info)
        say(
            "   largest error \(String(format: "%.2e", errors.max() ?? 0))\(answer.flooding.map { " of \($0.precision) asked" } ?? ""), classes that differ: \(mismatches)"
                + (accuracy.map { ", accuracy \(String(format: "%.3f", $0.share))" } ?? ""))
        let stored = try await client.keySet(keySet.id).body
        let destroyed = try await client.destroy(keySet: keySet.id).body
        say("6. destroy      \(destroyed.erasure)")
        return Measurement(
            mode: mode, kms: keySet.kms.provider, records: scores.count, release: answer.release,
            precision: answer.flooding?.precision ?? 1e-3, maxAbsError: errors.max() ?? 0,
            classMismatches: mismatches + abs(scores.count - plain.count), accuracy: accuracy?.share,
            ms: .init(
                keyCreation: sum(registered.timings, "secretKey", "keyCreation"),
                seal: sum(registered.timings, "seal"), open: sum(predicted.timings, "open"),
                sampleEncryption: sum(predicted.timings, "sampleEncryption"),
                prediction: sum(predicted.timings, "prediction"), decryption: sum(predicted.timings, "decryption"),
                secretKeyFromSeed: sum(predicted.timings, "secretKeyFromSeed")),
            bytes: .init(
                publicKey: stored.bytes.publicKey, evaluationKeys: stored.bytes.evaluationKeys,
                sealedSeed: stored.bytes.sealedSeed, encryptedSamples: answer.bytes.encryptedSamples,
                encryptedPredictions: answer.bytes.encryptedPredictions))
    }

    private func showEphemeral(
        _ client: HKMSClient, _ info: ModelInfo, _ records: ModelRecords, _ plain: [Double]
    ) async throws {
        say("\n== Ephemeral: one request, nothing of the seed is stored ==")
        let predicted = try await client.predict(
            model: info.name, PredictRequest(keySet: nil, ephemeral: true, release: release, records: records.records))
        let errors = zip(predicted.body.predictions.map(\.score), plain).map { abs($0 - $1) }
        say(
            "   keys \(ms(predicted.timings, "secretKey", "keyCreation")), evaluate \(ms(predicted.timings, "prediction")), largest error \(String(format: "%.2e", errors.max() ?? 0)), released \(predicted.body.release)"
        )
    }

    private func predictInTheClear(_ records: [RecordBody], _ model: InferenceModel) throws -> [Double] {
        let vectors = try records.enumerated().map { index, body in
            try Record(body.mapValues { $0.map { .number($0) } ?? .missing }).encoded(by: model.inputs, index: index)
        }
        return model.evaluateInTheClear(vectors)
    }

    private func summarize(_ results: [Measurement]) {
        say("\n== Milliseconds ==")
        say("                     " + results.map { pad($0.mode, 12) }.joined())
        func row(_ name: String, _ value: (Measurement) -> Double) {
            say("  \(pad(name, 19))" + results.map { pad(String(format: "%.2f", value($0)), 12) }.joined())
        }
        row("key creation") { $0.ms.keyCreation }
        row("seal") { $0.ms.seal }
        row("sample encryption") { $0.ms.sampleEncryption }
        row("prediction") { $0.ms.prediction }
        row("open") { $0.ms.open }
        row("secret key") { $0.ms.secretKeyFromSeed }
        row("decryption") { $0.ms.decryption }
    }

    // MARK: Words

    func say(_ line: String) { print(line) }
    func pad(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
    private func fixed(_ value: Double) -> String { pad(String(format: "%+.6f", value), 12) }

    func sum(_ timings: ServerTiming, _ names: String...) -> Double {
        timings.entries.filter { names.contains($0.name) }.reduce(0) { $0 + $1.milliseconds }
    }

    func ms(_ timings: ServerTiming, _ names: String...) -> String {
        let value = timings.entries.filter { names.contains($0.name) }.reduce(0) { $0 + $1.milliseconds }
        return String(format: "%.2f ms", value)
    }

    func size(_ bytes: Int) -> String {
        bytes < 10_000 ? "\(bytes) bytes" : String(format: "%.2f MB", Double(bytes) / 1e6)
    }
}

/// One object of the JSON that `--json` writes: a list, one a protection mode.
struct Measurement: Encodable {
    struct Milliseconds: Encodable {
        let keyCreation, seal, open, sampleEncryption, prediction, decryption, secretKeyFromSeed: Double
    }
    struct Bytes: Encodable {
        let publicKey, evaluationKeys: Int
        let sealedSeed: Int?
        let encryptedSamples, encryptedPredictions: Int
    }
    let mode, kms: String
    let records: Int
    let release: String
    /// What results may be off by.
    let precision: Double
    let maxAbsError: Double
    let classMismatches: Int
    /// Where the data has targets.
    let accuracy: Double?
    let ms: Milliseconds
    let bytes: Bytes
    /// Exact integers; of mode direct alone, which they are shown in.
    var exact: ExactMeasurement?
}
