import ArgumentParser
import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit

extension Demo {
    /// Exact integers: sums and dot products over the records, under BFV.
    func showExact(_ client: HKMSClient, _ file: RecordFile) async throws -> ExactMeasurement {
        let circuit = try IntegerCircuit(parsing: Array(try Data(contentsOf: URL(fileURLWithPath: circuitFile))))
        guard let info = try await client.circuits().body.circuits.first(where: { $0.name == circuit.name }) else {
            throw ValidationError("the gateway knows no circuit \(circuit.name)")
        }
        let records = try integers(file, circuit.columns.map(\.name))
        let rows = records.map { record in circuit.columns.map { record[$0.name] ?? 0 } }
        guard let plain = circuit.evaluateInTheClear(rows) else { throw ValidationError("sums of more than 64 bits") }

        say("\n== Exact integers: BFV, N = 2^\(info.parameters.logN), t = \(info.parameters.t ?? 0) ==")
        say("   \(info.description)")
        let registered = try await client.register(
            RegisterRequest(requestId: UUID().uuidString, mode: "direct", model: info.name))
        let keySet = registered.body
        say(
            "1. register     keys \(ms(registered.timings, "secretKey", "keyCreation")), \(keySet.objects.count - 1) evaluation keys, \(size(keySet.bytes.evaluationKeys)); public key \(size(keySet.bytes.publicKey))"
        )
        let encrypted = try await client.encrypt(integerRecords: records, circuit: info.name, keySet: keySet.id)
        let inputBytes = encrypted.body.reduce(0) { $0 + $1.count }
        say(
            "2. encrypt      \(ms(encrypted.timings, "sampleEncryption")): \(records.count) records, \(encrypted.body.count) ciphertexts, \(size(inputBytes))"
        )
        let start = ContinuousClock.now
        var job = try await client.openJob(keySet: keySet.id, model: info.name, ciphertexts: encrypted.body).body
        while job.state == "open" {
            try await Task.sleep(for: .milliseconds(20))
            job = try await client.job(job.id).body
        }
        guard job.state == "evaluated" else { throw ValidationError("the job failed: \(job.failure ?? "")") }
        let passed = (ContinuousClock.now - start) / .milliseconds(1)
        let outputs = try await client.results(ofJob: job.id).body
        let outputBytes = outputs.reduce(0) { $0 + $1.count }
        say(
            "3. evaluate     \(String(format: "%.0f ms", passed)) for the job, keys sent included, on \(info.unit): \(outputs.count) ciphertexts, \(size(outputBytes))"
        )
        let decrypted = try await client.decrypt(outputs, keySet: keySet.id, count: info.valueCount)
        say(
            "4. decrypt      open \(ms(decrypted.timings, "open")), secret key from seed \(ms(decrypted.timings, "secretKeyFromSeed")), decrypt and decode \(ms(decrypted.timings, "decryption")); released \(decrypted.body.release)"
        )
        let values = info.values(of: decrypted.body.integers ?? [], records: records.count) ?? []
        say("5. compare      encrypted    in the clear")
        for (result, pair) in zip(info.results, zip(values, plain)) {
            say("   \(pad(result.name, 18)) \(pad(String(pair.0), 12)) \(pair.1)")
        }
        let differences = zip(values, plain).filter { $0 != $1 }.count + abs(values.count - plain.count)
        say("   differences: \(differences)")
        say("6. destroy      \(try await client.destroy(keySet: keySet.id).body.erasure)")
        return ExactMeasurement(
            circuit: info.name, records: records.count, release: decrypted.body.release, results: info.results.count,
            differences: differences,
            ms: .init(
                keyCreation: sum(registered.timings, "secretKey", "keyCreation"),
                seal: sum(registered.timings, "seal"), open: sum(decrypted.timings, "open"),
                sampleEncryption: sum(encrypted.timings, "sampleEncryption"), job: passed,
                decryption: sum(decrypted.timings, "decryption"),
                secretKeyFromSeed: sum(decrypted.timings, "secretKeyFromSeed")),
            bytes: .init(
                publicKey: keySet.bytes.publicKey, evaluationKeys: keySet.bytes.evaluationKeys,
                sealedSeed: keySet.bytes.sealedSeed, encryptedSamples: inputBytes, encryptedResults: outputBytes))
    }

    /// Some columns of the records, which are whole numbers there.
    private func integers(_ file: RecordFile, _ columns: [String]) throws -> [IntegerRecordBody] {
        try file.records.enumerated().map { index, record in
            var integers: IntegerRecordBody = [:]
            for column in columns {
                guard let cell = record[column], let number = cell, let integer = Int64(exactly: number) else {
                    throw ValidationError("\(file.place(ofRecord: index)): \(column) is no whole number")
                }
                integers[column] = integer
            }
            return integers
        }
    }
}

/// What `--json` says of exact integers.
struct ExactMeasurement: Encodable {
    struct Milliseconds: Encodable {
        let keyCreation, seal, open, sampleEncryption: Double
        /// From the client's side, keys sent to the unit included.
        let job: Double
        let decryption, secretKeyFromSeed: Double
    }
    struct Bytes: Encodable {
        let publicKey, evaluationKeys: Int
        let sealedSeed: Int?
        let encryptedSamples, encryptedResults: Int
    }
    let circuit: String
    let records: Int
    let release: String
    /// Sums and dot products, and how many of them are not those in the clear.
    let results, differences: Int
    let ms: Milliseconds
    let bytes: Bytes
}
