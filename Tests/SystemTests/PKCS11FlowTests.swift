import DataFiles
import EncryptedInference
import Foundation
import HKMSClient
import ServiceKit
import TestSupport
import Testing

/// The main job before real PKCS#11 tokens, by the programs alone: `hkms init` makes the key in the token, gateway and
/// unit run as processes of their own.
@Suite(.serialized) struct PKCS11FlowTests {
    /// A token that scripts/test made; SoftHSM2 finds its own by SOFTHSM2_CONF, which every program here inherits.
    private struct Token {
        let module: String
        let label: String
        let pinFile: String
        let pin: String

        init(_ name: String) throws {
            let environment = ProcessInfo.processInfo.environment
            module = try #require(environment["HKMS_TEST_\(name)_MODULE"], "no token of \(name): run scripts/test")
            label = try #require(environment["HKMS_TEST_\(name)_TOKEN"])
            pinFile = try #require(environment["HKMS_TEST_\(name)_PIN_FILE"])
            pin = try String(contentsOfFile: pinFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
        }

        /// What `hkms init` is told of it.
        var options: [String] {
            [
                "--kms", "pkcs11", "--pkcs11-uri", "pkcs11:token=\(label)?module-path=\(module)", "--pkcs11-pin-file",
                pinFile,
            ]
        }

        /// OpenSC's tool as the token's user: another program beside the gateway.
        func tool(_ arguments: String...) throws -> Programs.Output {
            try Programs.run(
                "/usr/bin/env",
                ["pkcs11-tool", "--module", module, "--token-label", label, "--login", "--pin", "env:PIN"] + arguments,
                environment: ["PIN": pin])
        }
    }

    private func predict(_ installation: Installation, _ mode: String) async throws {
        let records = try RecordFile(Array(try Data(contentsOf: Installation.records))).records
        let model = try InferenceModel(parsing: Array(try Data(contentsOf: Installation.model)))
        let plain = model.evaluateInTheClear(
            try records.enumerated().map { index, body in
                try Record(body.mapValues { $0.map { .number($0) } ?? .missing })
                    .encoded(by: model.inputs, index: index)
            })
        let keySet = try await installation.alice.register(
            RegisterRequest(requestId: "model-\(mode)", mode: mode, model: "heart-disease")
        ).body
        #expect(keySet.state == "active" && keySet.kms.provider == "pkcs11" && keySet.kms.key == installation.key)
        let answer = try await installation.alice.predict(
            model: "heart-disease", PredictRequest(keySet: keySet.id, records: records)
        ).body
        #expect(answer.predictions.count == records.count)
        for (prediction, expected) in zip(answer.predictions, plain) {
            #expect(abs(prediction.score - expected) < 1e-3)
            #expect(prediction.label == (expected > 0 ? "present" : "absent"))
        }
        #expect(try await installation.alice.destroy(keySet: keySet.id).body.erasure == "tombstoned")
    }

    /// A key set for values of one's own, and 0.5 and -0.25 under it.
    private func encrypt(
        _ installation: Installation, _ mode: String
    ) async throws -> (keySet: String, ciphertexts: [[UInt8]]) {
        let keySet = try await installation.alice.register(
            RegisterRequest(requestId: "raw-\(mode)", mode: mode, preset: "ckks-12", release: "raw")
        ).body.id
        let ciphertexts = try await installation.alice.encrypt(
            vectors: [.init(real: [0.5, -0.25])], keySet: keySet
        ).body
        return (keySet, ciphertexts)
    }

    private func expectOpens(
        _ installation: Installation, _ known: (keySet: String, ciphertexts: [[UInt8]])
    ) async throws {
        let opened = try await installation.alice.decrypt(known.ciphertexts, keySet: known.keySet, count: 2).body
        #expect(abs(opened.vectors[0].real[0] - 0.5) < 1e-3 && abs(opened.vectors[0].real[1] + 0.25) < 1e-3)
    }

    /// The PIN is where it was put, and in nothing that the programs wrote.
    private func expectUnsaid(_ pin: String, _ installation: Installation) throws {
        for name in ["hkms.yaml", "gateway.log", "unit.log"] {
            let text = try String(contentsOf: installation.folder.appendingPathComponent(name), encoding: .utf8)
            #expect(!text.isEmpty && !text.contains(pin), "\(name)")
        }
    }

    @Test("SoftHSM2: from hkms init to a destroyed key set, in both modes; without the token's key nothing opens")
    func softHSM() async throws {
        let token = try Token("SOFTHSM")
        try await Installation.use(tls: true, initOptions: token.options) { installation in
            let configuration = try String(contentsOf: installation.configurationFile, encoding: .utf8)
            #expect(configuration.contains("mechanism: gcm"), "\(configuration)")
            let objects = try token.tool("--list-objects", "--type", "secrkey")
            #expect(objects.status == 0 && objects.out.contains(installation.key), "\(objects.out)\(objects.error)")
            for mode in ["direct", "envelope"] { try await predict(installation, mode) }
            let (direct, envelope) = (
                try await encrypt(installation, "direct"), try await encrypt(installation, "envelope")
            )
            for known in [direct, envelope] { try await expectOpens(installation, known) }
            // A process that has just logged in opens what another one sealed.
            installation.killGateway()
            try await installation.start()
            for known in [direct, envelope] { try await expectOpens(installation, known) }

            let doctor = try Doctor(installation.folder)
            #expect(doctor.status == 0 && doctor.names("failed").isEmpty, "\(doctor.text)")
            for name in ["kms.connect", "kms.key", "kms.seal", "kms.dataKey"] {
                #expect(doctor.checks[name]?.outcome == "ok", "\(name): \(doctor.text)")
            }
            #expect(!doctor.text.contains(token.pin))

            #expect(try await installation.alice.destroy(keySet: direct.keySet).body.erasure == "tombstoned")
            await expectProblem("key-set-destroyed", status: 410) {
                try await expectOpens(installation, direct)
            }
            let removed = try token.tool("--delete-object", "--type", "secrkey", "--label", installation.key)
            #expect(removed.status == 0, "\(removed.out)\(removed.error)")
            await expectProblem("kms-key-not-found", status: 502) {
                try await expectOpens(installation, envelope)
            }
            try expectUnsaid(token.pin, installation)
        }
    }

    @Test("the PIN of a variable: a gateway without it does not start, one with it opens, and wipes it")
    func pinEnvironment() async throws {
        let token = try Token("SOFTHSM")
        let variable = "HKMS_PIN_OF_A_TEST"
        try await Installation.use(tls: true, initOptions: token.options) { installation in
            let known = try await encrypt(installation, "direct")
            installation.endGateway()
            try installation.edit(installation.configurationFile) { text in
                let lines = text.components(separatedBy: "\n")
                #expect(lines.filter { $0.contains("pinFile:") }.count == 1)
                return lines.map { $0.contains("pinFile:") ? "    pinEnvironment: \(variable)" : $0 }
                    .joined(separator: "\n")
            }
            let hkms = try Programs.path("hkms")
            let configuration = ["--config", installation.configurationFile.path]
            let without = try Programs.run(hkms, ["serve"] + configuration, seconds: 30)
            #expect(![0, 124].contains(without.status), "\(without.status)")
            #expect((without.out + without.error).contains(variable), "\(without.out)\(without.error)")

            installation.gatewayEnvironment = [variable: token.pin]
            try await installation.start()
            try await expectOpens(installation, known)
            try await expectOpens(installation, try await encrypt(installation, "envelope"))
            // Another user's process, and one that forbids it, tells its environment to few.
            if Rights.includeTracing {
                let file = URL(fileURLWithPath: "/proc/\(installation.gatewayIdentifier)/environ")
                let environment = String(decoding: try Data(contentsOf: file), as: UTF8.self)
                #expect(environment.contains("\(variable)=") && !environment.contains(token.pin))
            }
            let doctor = try Programs.run(hkms, ["doctor"] + configuration, environment: [variable: token.pin])
            #expect(doctor.status == 0, "\(doctor.out)\(doctor.error)")
            #expect(!(doctor.out + doctor.error).contains(token.pin))
            try expectUnsaid(token.pin, installation)
        }
    }

    @Test(
        "opencryptoki: mode direct is refused by name where a token seals data keys alone, mode envelope does it all",
        .enabled(if: geteuid() == 0, "opencryptoki's daemon needs root"))
    func openCryptoki() async throws {
        let token = try Token("OPENCRYPTOKI")
        try await Installation.use(tls: true, initOptions: token.options) { installation in
            let configuration = try String(contentsOf: installation.configurationFile, encoding: .utf8)
            #expect(configuration.contains("mechanism: cbc"), "\(configuration)")
            await expectProblem("invalid-request", status: 400) { _ = try await encrypt(installation, "direct") }
            try await predict(installation, "envelope")
            let known = try await encrypt(installation, "envelope")
            try await expectOpens(installation, known)
            installation.killGateway()
            try await installation.start()
            try await expectOpens(installation, known)

            let doctor = try Doctor(installation.folder)
            #expect(doctor.status == 0 && doctor.names("failed").isEmpty, "\(doctor.text)")
            #expect(doctor.checks["kms.dataKey"]?.outcome == "ok", "\(doctor.text)")
            #expect(doctor.checks["kms.seal"]?.outcome == "skipped", "\(doctor.text)")

            #expect(try await installation.alice.destroy(keySet: known.keySet).body.erasure == "tombstoned")
            await expectProblem("key-set-destroyed", status: 410) { try await expectOpens(installation, known) }
            try expectUnsaid(token.pin, installation)
        }
    }
}
