import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// Exact integers over HTTP, between real processes.
@Suite(.serialized) struct IntegerFlowTests {
    private static let name = "heart-disease-totals"

    private func circuit() throws -> IntegerCircuit {
        try IntegerCircuit(parsing: Array(try Data(contentsOf: Installation.circuit)))
    }

    private func records() throws -> [IntegerRecordBody] {
        try IntegerRecordFile(
            Array(try Data(contentsOf: Installation.records)), columns: circuit().columns.map(\.name)
        ).records
    }

    @Test("sums and dot products are those of plain integers", arguments: Installation.KMS.allCases)
    func totals(kms: Installation.KMS) async throws {
        try await Installation.use(kms, circuits: [Installation.circuit]) { installation in
            let alice = installation.alice
            let circuit = try circuit()
            let info = try #require(try await alice.circuits().body.circuits.first)
            #expect(info.name == Self.name && info.operands == 2 && info.results.count == 12)
            // The list of models is as it was.
            #expect(try await alice.models().body.models.map(\.name) == ["heart-disease"])
            // More than one evaluation takes.
            let records = try records()
            let many = (0..<9).flatMap { _ in records }
            let keySet = try await alice.register(
                RegisterRequest(requestId: "r", mode: kms == .openbao ? "envelope" : "direct", model: Self.name)
            ).body
            #expect(keySet.release == "exact" && keySet.parameters.scheme == "bfv" && keySet.model == Self.name)
            #expect(keySet.objects.map(\.name) == ["public-key"] + info.evaluationKeys)
            let inputs = try await alice.encrypt(integerRecords: many, circuit: Self.name, keySet: keySet.id).body
            #expect(inputs.count == 4)
            let opened = try await alice.openJob(keySet: keySet.id, model: Self.name, ciphertexts: inputs).body
            let job = try await alice.finished(opened)
            try #require(job.state == "evaluated", "\(job.failure ?? "")")
            let outputs = try await alice.results(ofJob: job.id).body
            #expect(outputs.count == 2)
            let decrypted = try await alice.decrypt(outputs, keySet: keySet.id, count: info.valueCount).body
            #expect(decrypted.release == "exact" && decrypted.vectors.isEmpty)
            let plain = many.map { record in circuit.columns.map { record[$0.name] ?? 0 } }
            let expected = try #require(circuit.evaluateInTheClear(plain))
            let integers = try #require(decrypted.integers)
            #expect(info.values(of: integers, records: many.count) == expected)
            let after = try await alice.keySet(keySet.id).body
            #expect(!after.tainted && !after.exposed && after.counters.decryptions == 2)

            // What was not encrypted for the circuit, or in another order, is not evaluated.
            let own = try await alice.encrypt(integers: [[1], [2]], keySet: keySet.id).body
            for wrong in [own, [inputs[1], inputs[0]]] {
                await expectProblem("not-a-model-input", status: 409) {
                    _ = try await alice.openJob(keySet: keySet.id, model: Self.name, ciphertexts: wrong)
                }
            }
            await expectProblem("invalid-request", status: 400) {
                _ = try await alice.openJob(keySet: keySet.id, model: Self.name, ciphertexts: [inputs[0]])
            }
            await expectProblem("key-set-does-not-fit-model", status: 409) {
                _ = try await alice.openJob(keySet: keySet.id, model: "heart-disease", ciphertexts: inputs)
            }
            await expectProblem("not-a-model", status: 422) {
                _ = try await alice.predict(model: Self.name, PredictRequest(keySet: keySet.id, records: [["age": 1]]))
            }
            await expectProblem("not-a-model", status: 422) {
                _ = try await alice.predict(
                    model: Self.name, PredictRequest(keySet: nil, ephemeral: true, records: [["age": 1]]))
            }
            await expectProblem("not-a-circuit", status: 422) {
                _ = try await alice.encrypt(
                    integerRecords: records, circuit: "heart-disease", keySet: keySet.id)
            }
            var bad = records[0]
            bad["age"] = 121
            await expectProblem("invalid-records", status: 422) {
                _ = try await alice.encrypt(integerRecords: [bad], circuit: Self.name, keySet: keySet.id)
            }
            #expect(try await alice.destroy(keySet: keySet.id).body.erasure == "tombstoned")
        }
    }

    @Test("vectors of integers of a preset and of parameters of one's own, beyond 2^53 too; and what is refused")
    func vectors() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            var request = RegisterRequest(requestId: "preset", mode: "direct", preset: "bfv-12")
            request.rotations = [1, -2]
            request.rowSwap = true
            let info = try await alice.register(request).body
            #expect(info.objects.map(\.name).contains("galois-8191") && info.objects.count == 5)
            let signed: [Int64] = [0, -1, 32768, -32768]
            let bundle = try await alice.encrypt(integers: [signed], keySet: info.id).body
            #expect(try await alice.decrypt(bundle, keySet: info.id, count: 4).body.integers == [signed])
            let residues = try await alice.decrypt(bundle, keySet: info.id, count: 4, unsigned: true).body
            #expect(residues.integers == [[0, 65536, 32768, 32769]] && residues.release == "exact")

            // t just below 2^59.
            var wide = RegisterRequest(requestId: "wide", mode: "direct")
            wide.parameters = try await alice.register(
                RegisterRequest(requestId: "bfv-13", mode: "direct", preset: "bfv-13")
            ).body.parameters
            wide.parameters?.t = 576_460_752_303_210_497
            let wideKeySet = try await alice.register(wide).body.id
            let large: [Int64] = [9_007_199_254_740_993, -9_007_199_254_740_993, 288_230_376_151_605_248]
            let largeBundle = try await alice.encrypt(integers: [large], keySet: wideKeySet).body
            #expect(try await alice.decrypt(largeBundle, keySet: wideKeySet, count: 3).body.integers == [large])

            // Bodies as others write them.
            func refusal(_ body: String) throws -> String {
                let answer = try installation.curl(
                    "-X", "POST", "-H", "Content-Type: application/json", "--data-binary", body,
                    "\(installation.gatewayURL)/v1/keysets/\(info.id)/encrypt")
                return Problem(decoding: Array(answer.out.utf8), status: 400).name
            }
            #expect(try refusal(#"{"integers": [[1, 2.0]]}"#) == "not-an-integer")
            #expect(try refusal(#"{"integers": [[1e3]]}"#) == "not-an-integer")
            #expect(try refusal(#"{"integers": [[1.5]]}"#) == "not-an-integer")
            // Another encoding of the text would hide its numbers.
            let file = installation.folder.appendingPathComponent("utf-16")
            try #require(#"{"integers": [[2.0]]}"#.data(using: .utf16LittleEndian)).write(to: file)
            #expect(try refusal("@\(file.path)") == "invalid-request")
            #expect(try refusal(#"{"integers": [["1"]]}"#) == "invalid-request")
            #expect(try refusal(#"{"integers": [[9223372036854775808]]}"#) == "invalid-request")
            #expect(try refusal(#"{"integers": [[32769]]}"#) == "value-out-of-range")
            #expect(try refusal(#"{"integers": [[-1]], "unsigned": true}"#) == "value-out-of-range")
            #expect(try refusal(#"{"integers": [[1]], "scaleBits": 30}"#) == "other-scheme")
            #expect(try refusal(#"{"integers": [[1]], "vectors": [{"real": [1]}]}"#) == "invalid-request")
            #expect(try refusal(#"{"vectors": [{"real": [1.5]}]}"#) == "other-scheme")
            await expectProblem("too-many-values", status: 422) {
                _ = try await alice.encrypt(integers: [[Int64](repeating: 0, count: 4097)], keySet: info.id)
            }
            await expectProblem("other-scheme", status: 409) {
                _ = try await alice.decrypt(bundle, keySet: info.id, complex: true)
            }
            await expectProblem("other-scheme", status: 409) {
                _ = try await alice.decrypt(bundle, keySet: info.id, release: "flooded")
            }
            #expect(try await alice.keySet(info.id).body.counters.decryptions == 2)
        }
    }

    @Test("parameters that may not be are refused by name")
    func registration() async throws {
        try await Installation.use { installation in
            let alice = installation.alice
            let good = try await alice.register(
                RegisterRequest(requestId: "good", mode: "direct", preset: "bfv-12")
            ).body.parameters
            func refuse(_ problem: String, status: Int = 422, _ change: (inout RegisterRequest) -> Void) async {
                var request = RegisterRequest(requestId: UUID().uuidString, mode: "direct")
                request.parameters = good
                change(&request)
                let changed = request
                await expectProblem(problem, status: status) { _ = try await alice.register(changed) }
            }
            // A prime that is not 1 modulo 2N, and 1 modulo 2N that is no prime.
            for t: UInt64 in [65539, 8193, 65536] {
                await refuse("plaintext-modulus-does-not-batch") { $0.parameters?.t = t }
            }
            await refuse("invalid-parameters") { $0.parameters?.t = 1 << 60 }
            await refuse("invalid-parameters") { $0.parameters?.t = nil }
            await refuse("invalid-parameters") { $0.parameters?.scheme = "ckks" }
            await refuse("invalid-request", status: 400) { $0.parameters?.scheme = "tfhe" }
            await refuse("insecure-parameters") {
                $0.parameters?.q = [34359697409, 34359451649, 1_099_510_054_913]
            }
            await refuse("invalid-request", status: 400) { $0.release = "raw" }
            await refuse("invalid-request", status: 400) { $0.precision = 0.1 }
            await refuse("other-scheme", status: 409) { $0.conjugation = true }
            await refuse("other-scheme", status: 409) {
                $0.parameters = nil
                $0.preset = "ckks-12"
                $0.release = "raw"
                $0.rowSwap = true
            }
            await refuse("invalid-request", status: 400) {
                $0.parameters = nil
                $0.preset = "ckks-12"
                $0.release = "exact"
            }
            await refuse("invalid-request", status: 400) { $0.rotations = [2048] }
        }
    }

    @Test("the command line, from files to named sums")
    func commandLine() async throws {
        try await Installation.use(circuits: [Installation.circuit]) { installation in
            let environment = [
                "HKMS_GATEWAY": installation.gatewayURL, "HKMS_TOKEN_FILE": installation.tokenFile,
            ]
            func hkms(_ arguments: String..., status: Int32 = 0) throws -> Programs.Output {
                let output = try Programs.run(Programs.path("hkms"), arguments, environment: environment)
                #expect(output.status == status, "\(arguments): \(output.error)")
                return output
            }
            func file(_ name: String) -> String { installation.folder.appendingPathComponent(name).path }
            #expect(try hkms("circuits").out.contains(Self.name))
            #expect(try hkms("circuits", Self.name).out.contains("trestbps*thalach"))
            _ = try hkms("register", "--model", Self.name)
            let keySet = try #require(try await installation.alice.keySets().body.keySets.first?.id)
            // How results leave is told wherever the key set is.
            #expect(try hkms("keysets", "show", keySet).out.contains(/\nrelease +exact\n/))
            let row = try hkms("keysets", "list").out.split(separator: "\n").first { $0.hasPrefix(keySet) }
            #expect(row?.split(separator: " ")[3] == "exact" && row?.contains(Self.name) == true)
            _ = try hkms(
                "encrypt", keySet, "--model", Self.name, "--records", Installation.records.path, "--out", file("in"))
            _ = try hkms(
                "jobs", "run", "--keyset", keySet, "--model", Self.name, "--in", file("in"), "--out", file("out"))
            let text = try hkms("decrypt", keySet, "--in", file("out"), "--circuit", Self.name).out
            let plain = try records()
            let expected = plain.reduce(0) { $0 + ($1["age"] ?? 0) * ($1["chol"] ?? 0) }
            #expect(text.contains("age*chol,\(expected)\n"))
            #expect(text.split(separator: "\n").count == 12)

            try Data("1,-2,3\n9,9\n".utf8).write(to: URL(fileURLWithPath: file("integers.csv")))
            _ = try hkms("encrypt", keySet, "--integers", file("integers.csv"), "--out", file("own"))
            #expect(try hkms("decrypt", keySet, "--in", file("own"), "--count", "3").out == "1,-2,3\n9,9,0\n")
            try Data("1,2.5\n".utf8).write(to: URL(fileURLWithPath: file("bad.csv")))
            let refused = try hkms(
                "encrypt", keySet, "--integers", file("bad.csv"), "--out", file("own"), status: 65)
            #expect(refused.error.contains("2.5 is no integer"))
        }
    }
}
