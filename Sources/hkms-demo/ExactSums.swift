import ArgumentParser
import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit

extension Demo {
    /// Exact integers: sums and dot products over the records, under BFV.
    /// - Returns: results that are not those in the clear.
    func showExact(_ client: HKMSClient, _ file: RecordFile) async throws -> Int {
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
        say(
            "2. encrypt      \(ms(encrypted.timings, "sampleEncryption")): \(records.count) records, \(encrypted.body.count) ciphertexts, \(size(encrypted.body.reduce(0) { $0 + $1.count }))"
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
        say(
            "3. evaluate     \(String(format: "%.0f ms", passed)) for the job, keys sent included, on \(info.unit): \(outputs.count) ciphertexts, \(size(outputs.reduce(0) { $0 + $1.count }))"
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
        return differences
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
