import Foundation
import Testing

/// What the built programs are made of, and the command line.
@Suite(.serialized) struct ProgramTests {
    private func symbols(_ program: String) throws -> [Substring] {
        let output = try Programs.run("/usr/bin/env", ["nm", Programs.path(program)])
        #expect(output.status == 0)
        return output.out.split(separator: "\n")
    }

    @Test("hkms-evaluator does not link the modules that hold secrets: by symbols")
    func evaluatorSymbols() throws {
        let evaluator = try symbols("hkms-evaluator")
        // A stripped program would pass any such test: first, what must be there.
        #expect(evaluator.contains { $0.contains("14EvaluationUnit") })
        #expect(evaluator.contains { $0.contains("21HomomorphicEncryption") })
        for module in ["10SecretKeys", "13KeyManagement", "7Gateway"] {
            #expect(!evaluator.contains { $0.contains("$s\(module)") }, "hkms-evaluator has symbols of \(module)")
        }
        let gateway = try symbols("hkms")
        for module in ["10SecretKeys", "13KeyManagement", "7Gateway"] {
            #expect(gateway.contains { $0.contains("$s\(module)") })
        }
    }

    @Test("hkms-evaluator does not depend on them: by the package graph")
    func evaluatorGraph() throws {
        // `swift test` holds the lock of its own build folder.
        let scratch = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: scratch) }
        let output = try Programs.run(
            "/usr/bin/env",
            [
                "swift", "package", "--package-path", Programs.repository.path, "--scratch-path", scratch.path,
                "dump-package",
            ])
        #expect(output.status == 0, "\(output.error)")
        let package = try JSONSerialization.jsonObject(with: Data(output.out.utf8)) as? [String: Any]
        var dependencies: [String: [String]] = [:]
        for target in package?["targets"] as? [[String: Any]] ?? [] {
            let names = (target["dependencies"] as? [[String: Any]] ?? []).compactMap {
                ($0["byName"] as? [Any])?.first as? String
            }
            dependencies[target["name"] as? String ?? ""] = names
        }
        func reachable(_ target: String) -> Set<String> {
            var seen: Set<String> = []
            var next = [target]
            while let target = next.popLast() {
                for name in dependencies[target] ?? [] where seen.insert(name).inserted { next.append(name) }
            }
            return seen
        }
        let unit = reachable("hkms-evaluator")
        #expect(unit.isSuperset(of: ["EvaluationUnit", "EncryptedInference", "HomomorphicEncryption", "SecretMemory"]))
        #expect(unit.isDisjoint(with: ["SecretKeys", "KeyManagement", "Gateway"]))
        #expect(reachable("hkms").isSuperset(of: ["SecretKeys", "KeyManagement", "Gateway"]))
        // Floors: the engine knows nothing of services, ports nothing of adapters.
        #expect(reachable("HomomorphicEncryption").isDisjoint(with: ["SecretKeys", "Attestation", "ServiceKit"]))
        #expect(
            reachable("KeyManagement").isDisjoint(with: [
                "TrustedKMSSoftware", "TrustedKMSOpenBao", "StorageFiles", "StorageSQLite", "Gateway",
            ]))
        #expect(reachable("HKMSClient").isDisjoint(with: ["HomomorphicEncryption", "SecretKeys", "KeyManagement"]))
    }

    @Test("hkms vectors prints the published known answers")
    func vectors() throws {
        let file = Programs.repository.appendingPathComponent("Tests/SecretKeysTests/Vectors/suite1.json")
        let cases = try JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [[String: Any]] ?? []
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("hkms-vectors-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        var checked = 0
        for entry in cases {
            let seed = folder.appendingPathComponent("seed")
            let parameters = folder.appendingPathComponent("P.json")
            try Data(((entry["seed"] as? String ?? "") + "\n").utf8).write(to: seed)
            try JSONSerialization.data(withJSONObject: entry["parameters"] ?? [:]).write(to: parameters)
            let output = try Programs.run(
                Programs.path("hkms"),
                [
                    "vectors", "--seed-file", seed.path, "--parameters", parameters.path, "--public-generation",
                    "\(((entry["expected"] as? [String: Any])?["public"] as? [String: Any])?["generation"] ?? 0)",
                    "--json",
                ])
            #expect(output.status == 0, "\(output.error)")
            let printed = try JSONSerialization.jsonObject(with: Data(output.out.utf8)) as? [String: Any]
            let expected = entry["expected"] as? [String: Any]
            for key in ["pd", "commit"] { #expect(printed?[key] as? String == expected?[key] as? String) }
            #expect(
                (printed?["public"] as? [String: Any])?["b"] as? String == (expected?["public"] as? [String: Any])?["b"]
                    as? String)
            let keys = printed?["evaluationKeys"] as? [[String: Any]] ?? []
            let known = expected?["evaluationKeys"] as? [[String: Any]] ?? []
            for key in keys {
                guard
                    let match = known.first(where: {
                        $0["kind"] as? String == key["kind"] as? String && $0["galois"] as? Int == key["galois"] as? Int
                            && $0["level"] as? Int == key["level"] as? Int && $0["generation"] as? Int == 0
                    })
                else { continue }
                for part in ["rho", "a", "b"] { #expect(key[part] as? String == match[part] as? String) }
                checked += 1
            }
        }
        #expect(cases.count >= 8 && checked >= 15)
    }

    @Test("a second implementation of the derivation, in Python, gives the published known answers")
    func reference() throws {
        let python = try #require(
            ProcessInfo.processInfo.environment["HKMS_TEST_REFERENCE_PYTHON"],
            "HKMS_TEST_REFERENCE_PYTHON is not set: run scripts/test")
        let program = Programs.repository.appendingPathComponent("Tests/Reference/make_vectors.py").path
        let output = try Programs.run(python, [program, "--check"], seconds: 900)
        #expect(output.status == 0, "\(output.error)")
        #expect(output.out.contains("0 of 3 files differ"), "\(output.out)")
    }

    @Test("manifests made in Python from the page of formats are those that are tested against")
    func manifests() throws {
        let python = try #require(
            ProcessInfo.processInfo.environment["HKMS_TEST_REFERENCE_PYTHON"],
            "HKMS_TEST_REFERENCE_PYTHON is not set: run scripts/test")
        let program = Programs.repository.appendingPathComponent("Tests/Reference/manifest_vectors.py").path
        let output = try Programs.run(python, [program, "--check"])
        #expect(output.status == 0 && output.out.contains("as made"), "\(output.out)\(output.error)")
    }

    @Test("the table of the Gaussian sampler is what its definition gives, computed in Python")
    func gaussianTable() throws {
        let script = Programs.repository.appendingPathComponent("Tests/Reference/gaussian_table.py").path
        let output = try Programs.run("/usr/bin/env", ["python3", script, "--check"])
        #expect(output.status == 0 && output.out.contains("as made"), "\(output.out)")
    }

    @Test("the command line does the whole job")
    func commandLine() async throws {
        try await Installation.use { installation in
            let environment = ["HKMS_GATEWAY": installation.gatewayURL, "HKMS_TOKEN_FILE": installation.tokenFile]
            func hkms(_ arguments: String..., input: String? = nil) throws -> Programs.Output {
                try Programs.run(try Programs.path("hkms"), arguments, environment: environment, input: input)
            }
            let models = try hkms("models")
            #expect(models.out.contains("heart-disease"))
            let registered = try hkms("register", "--model", "heart-disease", "--mode", "envelope", "--json")
            #expect(registered.status == 0, "\(registered.error)")
            let info = try JSONSerialization.jsonObject(with: Data(registered.out.utf8))
            let keySet = try #require(Self.find("id", in: info))
            let listed = try hkms("keysets", "list")
            #expect(listed.out.contains(keySet))
            let predicted = try hkms(
                "predict", "--model", "heart-disease", "--keyset", keySet, "--records", Installation.records.path)
            #expect(predicted.status == 0, "\(predicted.error)")
            #expect(predicted.out.contains("present") && predicted.out.contains("absent"))
            #expect(predicted.out.contains("released flooded within 0.001, s = 30, 1024 decryptions, for the owner"))
            #expect(predicted.out.contains("1023 decryptions left"))
            let bundle = installation.folder.appendingPathComponent("c.bundle").path
            let encrypted = try hkms("encrypt", keySet, "--values", "-", "--out", bundle, input: "1.5,-2\n0.25,4\n")
            #expect(encrypted.status == 0, "\(encrypted.error)")
            let decrypted = try hkms("decrypt", keySet, "--in", bundle, "--count", "2")
            let values = decrypted.out.split(whereSeparator: { ",\n".contains($0) }).compactMap { Double($0) }
            #expect(values.count == 4)
            #expect(decrypted.error.contains("released flooded within 0.001") && decrypted.error.contains("1021 dec"))
            let refused = try hkms("decrypt", keySet, "--in", bundle, "--release", "raw")
            #expect(refused.status != 0 && refused.error.contains("flooded"))
            let shown = try hkms("register", "--model", "heart-disease", "--precision", "1e-2", "--decryptions", "9")
            #expect(shown.out.contains("plan: asked: results within 0.01, 9 decryptions"), "\(shown.error)")
            #expect(shown.out.contains("plan: ring: N = 2^") && shown.out.contains("flooded within 0.01, s = 30"))
            let raw = try hkms("register", "--preset", "ckks-12", "--release", "raw")
            #expect(raw.out.contains("raw, to the owner alone") && raw.out.contains("tainted"))
            for words in [
                ["--preset", "ckks-12"], ["--model", "heart-disease", "--release", "raw", "--audience", "shared"],
                ["--model", "heart-disease", "--release", "raw", "--precision", "1"],
                ["--model", "heart-disease", "--decryptions", "0"], ["--model", "heart-disease", "--precision", "0"],
            ] {
                let output = try Programs.run(
                    Programs.path("hkms"), ["register"] + words, environment: environment)
                #expect(output.status == 64, "\(words)")
            }
            #expect(zip(values, [1.5, -2, 0.25, 4]).allSatisfy { abs($0 - $1) < 1e-3 })
            let destroyed = try hkms("keysets", "destroy", keySet, "--yes")
            #expect(destroyed.out.contains("tombstoned"))
            let gone = try hkms("decrypt", keySet, "--in", bundle)
            #expect(gone.status != 0)
            #expect(gone.error.contains("fix:"))
            let help = try hkms("--help")
            for command in [
                "init", "serve", "audit", "register", "keysets", "encrypt", "decrypt", "models", "predict", "jobs",
                "vectors",
            ] {
                #expect(help.out.contains(command))
            }
        }
    }

    private static func find(_ key: String, in value: Any) -> String? {
        guard let object = value as? [String: Any] else { return nil }
        if let text = object[key] as? String { return text }
        return object.values.lazy.compactMap { find(key, in: $0) }.first
    }
}
