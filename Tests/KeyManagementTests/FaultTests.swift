import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import SecretMemory
import Synchronization
import Testing

/// Every call of every flow fails once, in every way: no secret is stored, no half key set can be used, the retry
/// succeeds, and nothing that was acknowledged is lost.
@Suite struct FaultTests {
    // MARK: Registration

    @Test(
        "register, repeated by another process", arguments: Fault.allCases,
        [ProtectionMode.direct, .envelope])
    func register(fault: Fault, mode: ProtectionMode) async throws {
        let sweep = FaultSweep(
            prepare: { try $0.request(mode) },
            flow: { bench, manager, request in _ = try await manager.register(request, as: bench.alice) },
            afterwards: { bench, _, request, outcome, note in
                try await Self.checkRegistration(bench, request, outcome, note) {
                    // Another process does not know whether the first is still at it; after ten minutes it is not.
                    bench.clock.step(601)
                    return bench.manager()
                }
            })
        #expect(try await sweep.run(fault) >= (fault == .throttled ? 2 : 14))
    }

    @Test("register, repeated at once by the same process", arguments: Fault.allCases)
    func registerAgain(fault: Fault) async throws {
        let sweep = FaultSweep(
            prepare: { try $0.request(.envelope) },
            flow: { bench, manager, request in _ = try await manager.register(request, as: bench.alice) },
            afterwards: { bench, manager, request, outcome, note in
                try await Self.checkRegistration(bench, request, outcome, note) {
                    manager
                }
            })
        #expect(try await sweep.run(fault) >= (fault == .throttled ? 2 : 15))
    }

    @Test("register where an earlier attempt was broken off", arguments: Fault.allCases)
    func takeOver(fault: Fault) async throws {
        let sweep = FaultSweep(
            prepare: { bench in
                let request = try await bench.breakOffRegistration()
                bench.clock.step(601)
                return request
            },
            flow: { bench, manager, request in _ = try await manager.register(request, as: bench.alice) },
            afterwards: { bench, _, request, outcome, note in
                try await Self.checkRegistration(bench, request, outcome, note) {
                    bench.clock.step(601)
                    return bench.manager()
                }
            })
        #expect(try await sweep.run(fault) >= (fault == .throttled ? 2 : 20))
    }

    private static func checkRegistration(
        _ bench: FaultBench, _ request: RegistrationRequest, _ outcome: FaultBench.Outcome,
        _ note: Comment,
        _ next: () -> KeyManager
    ) async throws {
        let made = try await bench.newKeySets()
        #expect(made.count <= 1, note)
        if outcome.error == nil { #expect(made.count == 1, note) }
        // What is there without having been acknowledged is whole.
        try await bench.check(note)
        let manager = next()
        let again = try await manager.register(request, as: bench.alice)
        #expect(again.isNew == made.isEmpty, note)
        #expect(try await bench.newKeySets() == [again.keySet.manifest.keySet], note)
        #expect(try await !manager.register(request, as: bench.alice).isNew, note)
        try await bench.checkObjects(note)
        _ = try await manager.destroy(again.keySet.manifest.keySet, as: bench.alice)
    }

    @Test("the removal of what a crash broke off", arguments: Fault.withoutKMS)
    func removeAbandoned(fault: Fault) async throws {
        let sweep = FaultSweep(
            prepare: { bench in
                let request = try await bench.breakOffRegistration()
                bench.clock.step(601)
                return request
            },
            flow: { _, manager, _ in try await manager.removeAbandonedRegistrations() },
            afterwards: { bench, _, request, _, note in
                try await bench.manager().removeAbandonedRegistrations()
                try await bench.checkObjects(note)
                #expect(try await bench.manager().removeAbandonedRegistrations() == 0, note)
                let again = try await bench.manager().register(request, as: bench.alice)
                #expect(again.isNew, note)
                try await bench.checkObjects(note)
                _ = try await bench.manager().destroy(again.keySet.manifest.keySet, as: bench.alice)
            })
        #expect(try await sweep.run(fault) >= 9)
    }

    // MARK: Use

    @Test("encrypt", arguments: Fault.withoutKMS)
    func encrypt(fault: Fault) async throws {
        let sweep = FaultSweep(
            prepare: { try await $0.manager().show($0.kept, as: $0.alice).counters.encryptions },
            flow: { bench, manager, _ in
                _ = try await manager.encrypt([.init(sample)], under: bench.kept, as: bench.alice)
            },
            afterwards: { bench, _, before, outcome, note in
                let counted =
                    try await bench.manager().show(bench.kept, as: bench.alice).counters.encryptions - before
                #expect(counted == 1 || (counted == 0 && outcome.error != nil), note)
                let again = try await bench.manager().encrypt(
                    [.init(sample)], under: bench.kept, as: bench.alice)
                _ = try await bench.manager().decrypt(
                    again.ciphertexts, of: bench.kept, count: 8, as: bench.alice)
            })
        #expect(try await sweep.run(fault) >= 7)
    }

    @Test("decrypt", arguments: Fault.allCases, [ProtectionMode.direct, .envelope])
    func decrypt(fault: Fault, mode: ProtectionMode) async throws {
        let sweep = FaultSweep(
            mode: mode,
            prepare: { try await $0.manager().show($0.kept, as: $0.alice).counters },
            flow: { bench, manager, _ in
                let result = try await manager.decrypt(
                    [bench.ciphertext], of: bench.kept, count: 8, as: bench.alice)
                #expect(close(result.vectors[0], sample))
            },
            afterwards: { bench, _, before, outcome, note in
                let counters = try await bench.manager().show(bench.kept, as: bench.alice).counters
                // Debited before release: what was released was paid for, and nothing is paid for twice.
                let spent = counters.decryptions - before.decryptions
                #expect(spent == 1 || (spent == 0 && outcome.error != nil), note)
                if outcome.hit == .kms { #expect(spent == 0, "a KMS that is away costs nothing") }
                #expect(counters.decryptionsLeft == FaultBench.budget - counters.decryptions, note)
                _ = try await bench.manager().decrypt(
                    [bench.ciphertext], of: bench.kept, count: 8, as: bench.alice)
            })
        #expect(try await sweep.run(fault) >= (fault == .throttled ? 1 : 10))
    }

    /// What a job's owner got to know of it.
    private final class JobLog: Sendable {
        let unit: SevenUnit
        private struct State {
            var known: [String: (job: JobDescription, output: [UInt8])] = [:]
            var settled: Set<String> = []
        }
        private let state = Mutex(State())

        init() throws { unit = try SevenUnit() }
        func note(_ job: JobDescription, _ output: [UInt8]) { state.withLock { $0.known[job.job] = (job, output) } }
        /// Whether the job was not looked at before.
        func settle(_ job: String) -> Bool { state.withLock { $0.settled.insert(job).inserted } }
        subscript(_ job: String) -> (job: JobDescription, output: [UInt8])? { state.withLock { $0.known[job] } }

        @Sendable func run(_ bench: FaultBench, _ manager: KeyManager) async throws {
            let (job, output) = try await bench.openJob(unit, manager)
            note(job, output)
            try await unit.complete(job, [output], manager)
            try await collect(job, output, bench, manager)
        }

        func collect(
            _ job: JobDescription, _ output: [UInt8], _ bench: FaultBench, _ manager: KeyManager
        ) async throws {
            #expect(try await manager.outputs(of: job.job, as: bench.alice) == [output])
            let opened = try await manager.decrypt([output], of: bench.kept, count: 1, as: bench.alice)
            #expect(abs(opened.vectors[0][0].real - 7) < 1e-3)
        }
    }

    @Test("open a job, complete it, fetch and decrypt its outputs", arguments: Fault.allCases)
    func job(fault: Fault) async throws {
        let log = try JobLog()
        let sweep = FaultSweep(
            prepare: { _ in log },
            flow: { bench, manager, log in try await log.run(bench, manager) },
            afterwards: { bench, _, log, _, note in
                let manager = bench.manager()
                for job in try await manager.jobs(as: bench.alice) where log.settle(job.job) {
                    // A job that was written while its owner heard of a failure: it ends by its age.
                    guard let (description, output) = log[job.job] else {
                        #expect(job.state == .open, note)
                        continue
                    }
                    if job.state == .open {
                        await #expect(throws: KeyManagementError.notVouched(Digest(of: output)), note) {
                            try await manager.decrypt([output], of: bench.kept, as: bench.alice)
                        }
                        try await log.unit.complete(description, [output], manager)
                    }
                    // The same results again, as after a lost answer, are no error; others are.
                    try await log.unit.complete(description, [output], manager)
                    let other = try await log.unit.result(manager, under: bench.kept, as: bench.alice)
                    await #expect(throws: KeyManagementError.jobNotOpen(job.job, state: "evaluated"), note) {
                        try await log.unit.complete(description, [other], manager)
                    }
                    try await log.collect(description, output, bench, manager)
                }
                try await log.run(bench, manager)
            })
        #expect(try await sweep.run(fault) >= (fault == .throttled ? 1 : 25))
    }

    @Test("an ephemeral key set", arguments: Fault.allCases)
    func ephemeral(fault: Fault) async throws {
        @Sendable func run(_ bench: FaultBench, _ manager: KeyManager, _ unit: SevenUnit) async throws {
            var timings = StepTimings()
            let keySet = try await manager.makeEphemeralKeySet(
                for: unit.profile, policy: .raw(), as: bench.alice, timings: &timings)
            let inputs = try await keySet.encrypt([[0.5]], profile: unit.profile, timings: &timings)
            let job = try keySet.openJob(
                inputs: inputs.map { Digest(of: $0) }, profile: unit.profile, unit: unit.registered
            ).body
            var low = unit.profile
            low.inputLevel = unit.profile.outputLevel
            let outputs = try await keySet.encrypt([[7]], profile: low, timings: &timings)
            let result = try await keySet.decrypt(
                outputs, receipt: unit.receipt(job, outputs), job: job, profile: unit.profile,
                unit: unit.registered,
                timings: &timings)
            #expect(abs(result[0][0] - 7) < 1e-3)
        }
        let sweep = FaultSweep(
            prepare: { _ in try SevenUnit() }, flow: run,
            afterwards: { bench, _, unit, _, note in
                #expect(try await bench.newKeySets().isEmpty, note)
                try await run(bench, bench.manager(), unit)
                try await bench.checkObjects(note)
            })
        #expect(try await sweep.run(fault) >= (fault == .throttled ? 1 : 7))
    }

    @Test("list, show, and the public objects", arguments: Fault.withoutKMS)
    func reading(fault: Fault) async throws {
        @Sendable func read(_ bench: FaultBench, _ manager: KeyManager, _: Bool) async throws {
            _ = try await manager.list(as: bench.alice)
            _ = try await manager.show(bench.kept, as: bench.alice)
            _ = try await manager.signedManifest(bench.kept, as: bench.alice)
            _ = try await manager.publicKey(bench.kept, as: bench.alice)
            _ = try await manager.evaluationKey("relinearization", of: bench.kept, as: bench.alice)
            _ = try await manager.jobs(as: bench.alice)
        }
        let sweep = FaultSweep(
            prepare: { _ in true }, flow: read,
            afterwards: { bench, _, _, _, note in
                try await read(bench, bench.manager(), true)
                try await bench.checkObjects(note)
            })
        #expect(try await sweep.run(fault) >= 12)
    }

    // MARK: The end

    @Test("destroy", arguments: Fault.withoutKMS)
    func destroy(fault: Fault) async throws {
        let sweep = FaultSweep(
            prepare: { bench in
                try await bench.manager().register(bench.request(.envelope), as: bench.alice).keySet
            },
            flow: { bench, manager, victim in
                _ = try await manager.destroy(victim.manifest.keySet, as: bench.alice)
            },
            afterwards: { bench, _, victim, outcome, note in
                let keySet = victim.manifest.keySet
                let state = try await bench.manager().show(keySet, as: bench.alice).state
                #expect(state == .destroyed || (state == .active && outcome.error != nil), note)
                // Until it is destroyed it is whole.
                try await bench.check(note)
                let again = try await bench.manager().destroy(keySet, as: bench.alice)
                if outcome.error != nil, fault != .lostAnswer {
                    #expect(
                        again.manifests.contains(victim.manifestDigest), "units are told which keys to forget")
                }
                #expect(try await bench.manager().show(keySet, as: bench.alice).state == .destroyed, note)
                try await bench.checkObjects(note)
            })
        #expect(try await sweep.run(fault) >= 12)
    }
}
