import Foundation
import Testing

/// The program that `scripts/demo` shows, against real processes.
@Suite(.serialized) struct DemoTests {
    private struct Measurement: Decodable {
        struct Milliseconds: Decodable {
            let keyCreation, sampleEncryption, prediction, decryption: Double
        }
        struct Bytes: Decodable {
            let publicKey, evaluationKeys, sealedSeed, encryptedSamples, encryptedPredictions: Int
        }
        struct Exact: Decodable {
            struct Milliseconds: Decodable {
                let keyCreation, seal, open, sampleEncryption, job, decryption, secretKeyFromSeed: Double
            }
            struct Bytes: Decodable {
                let publicKey, evaluationKeys, sealedSeed, encryptedSamples, encryptedResults: Int
            }
            let circuit, release: String
            let records, results, differences: Int
            let ms: Milliseconds
            let bytes: Bytes
        }
        let mode, kms, release: String
        let records, classMismatches: Int
        let ms: Milliseconds
        let bytes: Bytes
        let exact: Exact?
    }

    @Test("its measurements are written, exact integers among them, and are not lost where it ends early")
    func measurements() async throws {
        try await Installation.use(circuits: [Installation.circuit]) { installation in
            func file(_ name: String) -> URL { installation.folder.appendingPathComponent(name) }
            // Nine records are enough.
            let lines = try String(contentsOf: Installation.records, encoding: .utf8).split(separator: "\n").prefix(10)
            try Data((lines.joined(separator: "\n") + "\n").utf8).write(to: file("some.csv"))
            func demo(_ circuit: URL) throws -> (output: Programs.Output, measured: [Measurement]) {
                let output = try Programs.run(
                    Programs.path("hkms-demo"),
                    [
                        "--gateway", installation.gatewayURL, "--token-file", installation.tokenFile,
                        "--model-file", Installation.model.path, "--circuit-file", circuit.path, "--data",
                        file("some.csv").path, "--release", "raw", "--json", file("measured.json").path,
                    ])
                let json = try Data(contentsOf: file("measured.json"))
                try FileManager.default.removeItem(at: file("measured.json"))
                return (output, try JSONDecoder().decode([Measurement].self, from: json))
            }
            func check(_ measured: [Measurement]) {
                #expect(measured.map(\.mode) == ["direct", "envelope"])
                for each in measured {
                    #expect(each.kms == "software" && each.release == "raw" && each.records == 9)
                    #expect(each.classMismatches == 0 && each.ms.prediction > 0 && each.ms.keyCreation > 0)
                    #expect(each.bytes.evaluationKeys > each.bytes.publicKey && each.bytes.encryptedPredictions > 0)
                }
                #expect(measured.last?.exact == nil)
            }

            let whole = try demo(Installation.circuit)
            #expect(whole.output.status == 0, "\(whole.output.error)")
            check(whole.measured)
            let exact = try #require(whole.measured.first?.exact)
            #expect(exact.circuit == "heart-disease-totals" && exact.release == "exact" && exact.records == 9)
            #expect(exact.results == 12 && exact.differences == 0)
            let steps = exact.ms
            #expect([steps.keyCreation, steps.seal, steps.open, steps.sampleEncryption].allSatisfy { $0 > 0 })
            #expect([steps.job, steps.decryption, steps.secretKeyFromSeed].allSatisfy { $0 > 0 })
            #expect(exact.bytes.evaluationKeys > exact.bytes.publicKey && exact.bytes.sealedSeed > 32)
            #expect(exact.bytes.encryptedSamples > exact.bytes.encryptedResults && exact.bytes.encryptedResults > 0)

            // The gateway knows no circuit of that name.
            let circuit = try String(contentsOf: Installation.circuit, encoding: .utf8)
            let renamed = circuit.replacingOccurrences(of: "heart-disease-totals", with: "unknown")
            try #require(renamed != circuit)
            try Data(renamed.utf8).write(to: file("unknown.json"))
            let cut = try demo(file("unknown.json"))
            #expect(cut.output.status != 0 && cut.output.error.contains("knows no circuit unknown"))
            check(cut.measured)
            #expect(cut.measured.first?.exact == nil)
        }
    }
}
