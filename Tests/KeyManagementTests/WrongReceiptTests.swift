import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Testing

/// Receipts and results that are not those of the job, of registered and of ephemeral key sets, alone and at once.
@Suite struct WrongReceiptTests {
    /// A key set with a job that waits for its receipt.
    private struct Scene {
        let fixture: Fixture
        let keySet: String
        let unit: SevenUnit
        let job: JobDescription
        var manager: KeyManager { fixture.manager }

        init() async throws {
            fixture = try await Fixture()
            keySet = try await fixture.register()
            unit = try SevenUnit()
            job = try await unit.openJob(fixture.manager, under: keySet, as: fixture.alice)
        }

        func result() async throws -> [UInt8] {
            try await unit.result(manager, under: keySet, as: fixture.alice)
        }

        func complete(_ output: [UInt8]) async throws { try await unit.complete(job, [output], manager) }

        /// Whether the output is vouched for, and then the unit's 7.
        func isDecrypted(_ output: [UInt8]) async throws -> Bool {
            do {
                let result = try await manager.decrypt([output], of: keySet, count: 1, as: fixture.alice)
                #expect(abs(result.vectors[0][0].real - 7) < 1e-3)
                return true
            } catch KeyManagementError.notVouched(Digest(of: output)) { return false }
        }
    }

    @Test("of sixteen different results at once one is taken, kept and decrypted")
    func differentAtOnce() async throws {
        let scene = try await Scene()
        var outputs: [[UInt8]] = []
        for _ in 0..<16 { outputs.append(try await scene.result()) }
        let taken = await withTaskGroup(of: [UInt8]?.self) { group in
            for output in outputs {
                group.addTask {
                    let error = await refusal { try await scene.complete(output) }
                    #expect(error == nil || error == .jobNotOpen(scene.job.job, state: "evaluated"))
                    return error == nil ? output : nil
                }
            }
            return await group.reduce(into: [[UInt8]]()) { if let output = $1 { $0.append(output) } }
        }
        #expect(taken.count == 1)
        // The others were stored, too: none of them in the place of the one that was taken.
        #expect(try await scene.manager.outputs(of: scene.job.job, as: scene.fixture.alice) == taken)
        for output in outputs { #expect(try await scene.isDecrypted(output) == (output == taken.first)) }
    }

    @Test("the same result, sixteen times at once and again later, is one result")
    func sameAtOnce() async throws {
        let scene = try await Scene()
        let output = try await scene.result()
        await withTaskGroup { group in
            for _ in 0..<16 {
                group.addTask { #expect(await refusal { try await scene.complete(output) } == nil) }
            }
        }
        let first = try await scene.manager.job(scene.job.job, as: scene.fixture.alice)
        try await scene.complete(output)
        #expect(try await scene.manager.job(scene.job.job, as: scene.fixture.alice) == first)
        #expect(try await scene.isDecrypted(output))
        // A wrong receipt for it is as wrong as before.
        let unit = scene.unit
        await #expect(throws: KeyManagementError.receiptRejected(.mismatch(field: "nonce"))) {
            try await unit.complete(scene.job, [output], scene.manager) { $0.nonce = Digest(of: [1]) }
        }
        await #expect(throws: KeyManagementError.receiptRejected(.unknownSigner)) {
            try await unit.complete(scene.job, [output], scene.manager, by: scene.fixture.keys.requestKey)
        }
    }

    @Test("another registered unit does not answer for the one that was asked, in whatever name")
    func otherUnit() async throws {
        let scene = try await Scene()
        let output = try await scene.result()
        let key = try SigningKey(seed: SecretBytes(randomCount: 32))
        let second = RegisteredUnit(name: "unit-2", verificationKey: key.verificationKey, operator: nil)
        let mismatch = KeyManagementError.receiptRejected(.mismatch(field: "evaluation unit"))
        for name in ["unit-1", "unit-2"] {
            let receipt = try scene.unit.receipt(scene.job, [output], by: key) { $0.unit = name }
            await #expect(throws: mismatch) {
                try await scene.manager.completeJob(
                    scene.job.job, receipt: receipt, outputs: [output], unit: second, profile: scene.unit.profile)
            }
        }
        #expect(try await !scene.isDecrypted(output))
        try await scene.complete(output)
        #expect(try await scene.isDecrypted(output))
    }

    @Test("a result of three polynomials, at the right level, is none of a circuit's")
    func threePolynomials() async throws {
        let scene = try await Scene()
        let context = try EncryptionContext.shared(scene.unit.profile.parameters)
        let honest = try Ciphertext(serialized: await scene.result(), context: context)
        let long = try Ciphertext(
            context: context, polynomials: honest.polynomials + [honest.polynomials[1]], scale: honest.scale
        ).serialized()
        await #expect(throws: KeyManagementError.homomorphicEncryption(.unexpectedPolynomialCount(3, expected: "2"))) {
            try await scene.complete(long)
        }
        #expect(try await !scene.isDecrypted(long))
    }

    @Test("a job that failed takes no receipt, and one that was answered does not fail any more")
    func failedJobs() async throws {
        let scene = try await Scene()
        let (manager, alice) = (scene.manager, scene.fixture.alice)
        let output = try await scene.result()
        await manager.failJob("job-0123456789", reason: "there is none")
        await manager.failJob(scene.job.job, reason: String(repeating: "x", count: 300))
        let failed = try await manager.job(scene.job.job, as: alice)
        #expect(failed.state == .failed && failed.finished != nil && failed.outputs.isEmpty)
        #expect(failed.failure == String(repeating: "x", count: 200))
        let refused = KeyManagementError.jobNotOpen(scene.job.job, state: "failed")
        #expect(await refusal { try await scene.complete(output) } == refused)
        #expect(await refusal { _ = try await manager.outputs(of: scene.job.job, as: alice) } == refused)
        #expect(try await !scene.isDecrypted(output))

        let answered = try await scene.unit.openJob(manager, under: scene.keySet, as: alice)
        try await scene.unit.complete(answered, [output], manager)
        await manager.failJob(answered.job, reason: "too late")
        let summary = try await manager.job(answered.job, as: alice)
        #expect(summary.state == .evaluated && summary.failure == nil)
        #expect(try await scene.isDecrypted(output))
    }

    @Test("an ephemeral key set believes no receipt that differs in a field, is another job's or another unit's")
    func ephemeral() async throws {
        let fixture = try await Fixture()
        let unit = try SevenUnit()
        var timings = StepTimings()
        let keySet = try await fixture.manager.makeEphemeralKeySet(
            for: unit.profile, policy: .raw(), as: fixture.alice, timings: &timings)
        var jobs: [JobDescription] = []
        for value in [0.25, 0.5] {
            let inputs = try await keySet.encrypt([[value]], profile: unit.profile, timings: &timings)
            jobs.append(
                try keySet.openJob(
                    inputs: inputs.map { Digest(of: $0) }, profile: unit.profile, unit: unit.registered
                ).body)
        }
        let (job, other) = (jobs[0], jobs[1])
        var low = unit.profile
        low.inputLevel = unit.profile.outputLevel
        let outputs = try await keySet.encrypt([[7]], profile: low, timings: &timings)
        func decrypt(_ receipt: [UInt8], of registered: RegisteredUnit? = nil) async throws -> Double {
            var timings = StepTimings()
            return try await keySet.decrypt(
                outputs, receipt: receipt, job: job, profile: unit.profile, unit: registered ?? unit.registered,
                timings: &timings)[0][0]
        }
        for (field, change) in SevenUnit.wrongReceipts(other) {
            let error = await refusal { _ = try await decrypt(unit.receipt(job, outputs, change)) }
            guard case .receiptRejected(.mismatch) = error else {
                Issue.record("\(field): \(error.map { "\($0)" } ?? "believed")")
                continue
            }
        }
        // True in every field, of the second job.
        #expect(
            await refusal { _ = try await decrypt(unit.receipt(other, outputs)) }
                == .receiptRejected(.mismatch(field: "job")))
        let key = try SigningKey(seed: SecretBytes(randomCount: 32))
        let second = RegisteredUnit(name: "unit-2", verificationKey: key.verificationKey, operator: nil)
        for name in ["unit-1", "unit-2"] {
            let receipt = try unit.receipt(job, outputs, by: key) { $0.unit = name }
            #expect(
                await refusal { _ = try await decrypt(receipt, of: second) }
                    == .receiptRejected(.mismatch(field: "evaluation unit")))
        }
        #expect(abs(try await decrypt(unit.receipt(job, outputs)) - 7) < 1e-3)
    }
}
