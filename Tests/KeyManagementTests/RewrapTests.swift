import Attestation
import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSSoftware

struct RewrapTests {
    @Test(
        "a rotation seals seeds, or their data keys, under the new version, and leaves nothing of the old one",
        arguments: [ProtectionMode.direct, .envelope])
    func rotation(mode: ProtectionMode) async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register(mode)
        let before = try await bench.sealing(keySet)
        let manager = bench.before()
        let progress = try await manager.rewrapAll(RewrapBench.rotation)
        #expect(progress.phase == .complete && progress.rewrapped == 1 && progress.seen == 1)
        let after = try await bench.sealing(keySet)
        #expect(after.epoch == 2 && after.keyVersion == 2 && before.keyVersion == 1)
        #expect(after.earlier == [before.place])
        #expect((after.sealedSeed == before.sealedSeed) == (mode == .envelope))
        #expect(bench.seals(keySet).count == (mode == .direct ? 1 : 2))
        try await bench.opens(keySet)
        // The version that sealed it before is of no use any more.
        try await bench.old.setMinimumVersion(2, of: RewrapBench.oldKey)
        try await bench.opens(keySet)
        // A second rotation names its own objects, too.
        _ = try await manager.rewrapAll(RewrapBench.rotation)
        #expect(try await bench.sealing(keySet).keyVersion == 3)
        #expect(bench.seals(keySet).count == (mode == .direct ? 1 : 2))
        try await bench.opens(keySet)
    }

    @Test(
        "a migration moves seals to the other KMS; the HE keys stay", arguments: [ProtectionMode.direct, .envelope])
    func migration(mode: ProtectionMode) async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register(mode)
        let destroyed = try await bench.register(mode)
        _ = try await bench.before().destroy(destroyed.id, as: bench.alice)
        let objects = try await bench.before().show(keySet.id, as: bench.alice).manifest.objects
        let manager = bench.after()
        // Both kinds in one installation.
        try await bench.opens(keySet)
        let newcomer = try await bench.register(mode, with: manager)
        let dry = try await manager.rewrapAll(
            RewrapRequest(kind: .migrate, from: "old", to: "new", isDryRun: true))
        #expect(dry.rewrapped == 1 && dry.upToDate == 1 && dry.destroyed == 1)
        #expect(try await bench.sealing(keySet).provider == "old", "a dry run changes nothing")
        #expect(try await manager.rewrapJob() == nil)

        let progress = try await manager.rewrapAll(RewrapBench.migration)
        #expect(
            progress
                == with(RewrapProgress()) {
                    ($0.phase, $0.seen, $0.rewrapped, $0.upToDate, $0.destroyed) = (.complete, 3, 1, 1, 1)
                })
        let sealing = try await bench.sealing(keySet)
        #expect(sealing.provider == "new" && sealing.keyName == "new-seeds" && sealing.epoch == 2)
        #expect(sealing.earlier == [SealingPlace(provider: "old", keyName: "old-seeds", keyVersion: 1)])
        #expect(try await manager.show(keySet.id, as: bench.alice).manifest.objects == objects)
        // The old KMS is not asked any more.
        try await bench.old.destroyKey(RewrapBench.oldKey)
        for known in [keySet, newcomer] { try await bench.opens(known) }
        let job = try #require(try await manager.rewrapJob())
        #expect(job.kind == .migrate && job.from == "old" && job.to == "new" && !job.isUnfinished)
    }

    @Test("to a KMS that seals data keys alone go key sets of mode envelope, and the others stay where they are")
    func toDataKeysAlone() async throws {
        let bench = try await RewrapBench()
        let (direct, envelope) = (try await bench.register(.direct), try await bench.register(.envelope))
        let poor = CompletedKMS(DataKeysAlone(inner: bench.new))
        let manager = bench.after(wrapping: poor)
        let progress = try await manager.rewrapAll(RewrapBench.migration)
        #expect(progress.rewrapped == 1 && progress.failed == 1)
        #expect(progress.failures.first?.contains("\(direct.id): ") == true)
        #expect(progress.phase == .rewrapping, "a job with failures is not done")
        #expect(try await bench.sealing(direct).provider == "old")
        let sealing = try await bench.sealing(envelope)
        #expect(sealing.provider == "new" && sealing.seedEpoch == 2)
        for keySet in [direct, envelope] { try await bench.opens(keySet, with: manager) }
        #expect(bench.seals(envelope).count == 2)
        await #expect(throws: KeyManagementError.self, "mode direct is refused by name") {
            _ = try await bench.register(.direct, with: manager)
        }
        // The same KMS rewraps what it sealed; the data key stays.
        let seed = sealing.sealedSeed
        _ = try await manager.cancelRewrapJob()
        _ = try await manager.rewrapAll(RewrapRequest(kind: .rotate, from: "new", to: "new"))
        #expect(try await bench.sealing(envelope).keyVersion == 2)
        #expect(try await bench.sealing(envelope).sealedSeed == seed)
        try await bench.opens(envelope, with: manager)
    }

    @Test("a KMS that seals what it does not open again loses no key set")
    func lyingTarget() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        let manager = bench.after(wrapping: WrongSeedKMS(inner: bench.new))
        let progress = try await manager.rewrapAll(RewrapBench.migration)
        #expect(progress.failed == 1 && progress.rewrapped == 0)
        #expect(try await bench.sealing(keySet).provider == "old")
        try await bench.opens(keySet)
    }

    @Test("a job with a rate takes the time that its key sets need at that rate")
    func rate() async throws {
        let bench = try await RewrapBench()
        var known: [KnownKeySet] = []
        for index in 0..<10 { known.append(try await bench.register(index % 2 == 0 ? .direct : .envelope)) }
        var request = RewrapBench.rotation
        request.rate = 20
        let manager = bench.before()
        let begun = ContinuousClock.now
        let progress = try await manager.rewrapAll(request)
        // Half a second; what comes after the last one need not be waited for.
        #expect(ContinuousClock.now - begun >= .milliseconds(400))
        #expect(progress.phase == .complete && progress.rewrapped == 10 && progress.failed == 0)
        for keySet in known {
            #expect(try await bench.sealing(keySet).keyVersion == 2)
            try await bench.opens(keySet)
        }
    }

    @Test("another job is refused while one is unfinished; one that is cancelled is over")
    func oneJob() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        bench.plan.arm(.gone, at: 12)
        await #expect(throws: (any Error).self) { _ = try await bench.after().rewrapAll(RewrapBench.migration) }
        bench.plan.disarm()
        let manager = bench.after()
        #expect(try await manager.rewrapJob()?.isUnfinished == true)
        let rotation = RewrapRequest(kind: .rotate, from: "new", to: "new", patience: .zero)
        await #expect(throws: KeyManagementError.self) { _ = try await manager.rewrapAll(rotation) }
        #expect(try await manager.cancelRewrapJob()?.progress.phase == .cancelled)
        #expect(try await manager.cancelRewrapJob() == nil)
        #expect(try await manager.rewrapAll(rotation).phase == .complete)
        try await bench.opens(keySet)
    }

    @Test("a job that another process takes over ends in the first one")
    func takenOver() async throws {
        let bench = try await RewrapBench()
        for _ in 0..<3 { _ = try await bench.register() }
        let (first, second) = (bench.after(), bench.after())
        let taken = Flag()
        let takeOver: @Sendable (String) async throws -> Void = { _ in
            guard taken.raise() else { return }
            let progress = try await second.rewrapAll(RewrapBench.migration)
            #expect(progress.phase == .complete)
        }
        await #expect(throws: KeyManagementError.self) {
            _ = try await first.rewrapAll(RewrapBench.migration, completed: takeOver)
        }
        #expect(try await second.rewrapJob()?.isUnfinished == false)
    }

    @Test("what is encrypted, decrypted and destroyed meanwhile is unharmed")
    func meanwhile() async throws {
        let bench = try await RewrapBench()
        var known: [KnownKeySet] = []
        for index in 0..<8 { known.append(try await bench.register(index % 2 == 0 ? .direct : .envelope)) }
        let gateway = bench.after()
        let keySets = known
        let isDone = Flag()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for keySet in keySets.dropLast() {
                group.addTask {
                    repeat { try await bench.opens(keySet, with: gateway) } while !isDone.isRaised
                }
            }
            group.addTask {
                for _ in 0..<3 {
                    _ = try await bench.before().rewrapAll(RewrapBench.rotation)
                }
                _ = try await gateway.destroy(keySets[7].id, as: bench.alice)
                _ = try await bench.after().rewrapAll(RewrapBench.migration)
                _ = try await bench.after().rewrapAll(RewrapRequest(kind: .rotate, from: "new", to: "new"))
                _ = isDone.raise()
            }
            try await group.waitForAll()
        }
        for keySet in keySets.dropLast() {
            #expect(try await bench.sealing(keySet).provider == "new")
            let isEnvelope = try await bench.sealing(keySet).mode == .envelope
            #expect(bench.seals(keySet).count == (isEnvelope ? 2 : 1))
            try await bench.opens(keySet)
        }
        #expect(bench.seals(keySets[7]).isEmpty)
    }

    @Test(
        "broken off at any call, every key set opens, and the job goes on to its end",
        arguments: [ProtectionMode.direct, .envelope])
    func brokenOff(mode: ProtectionMode) async throws {
        var call = 1
        while true {
            let bench = try await RewrapBench()
            let keySets = [try await bench.register(mode), try await bench.register(mode)]
            bench.plan.arm(.gone, at: call)
            let first = try? await bench.after().rewrapAll(RewrapBench.migration)
            let wasHit = bench.plan.hit != nil
            bench.plan.disarm()
            for keySet in keySets { try await bench.opens(keySet) }
            if !wasHit {
                #expect(first?.phase == .complete && call > 30)
                return
            }
            let progress = try await bench.after().rewrapAll(RewrapBench.migration)
            #expect(progress.phase == .complete && progress.failed == 0, "call \(call)")
            for keySet in keySets {
                #expect(try await bench.sealing(keySet).provider == "new", "call \(call)")
                // What was stored before its manifest was, nobody knows of: it goes when the key set is destroyed.
                #expect(bench.seals(keySet).count <= (mode == .direct ? 2 : 3), "call \(call)")
                try await bench.opens(keySet)
            }
            call += 1
        }
    }

    @Test("a call that fails once, or whose answer is lost, is made again", arguments: [Fault.refused, .lostAnswer])
    func failingOnce(fault: Fault) async throws {
        var call = 1
        while true {
            let bench = try await RewrapBench()
            let keySet = try await bench.register()
            bench.plan.arm(fault, at: call)
            var request = RewrapBench.migration
            request.patience = .seconds(30)
            let first = try? await bench.after().rewrapAll(request)
            let wasHit = bench.plan.hit != nil
            bench.plan.disarm()
            if first == nil { _ = try await bench.after().rewrapAll(request) }
            #expect(try await bench.sealing(keySet).provider == "new", "call \(call)")
            try await bench.opens(keySet)
            if !wasHit { return }
            call += 1
        }
    }

    private func with<Value>(_ value: Value, _ change: (inout Value) -> Void) -> Value {
        var value = value
        change(&value)
        return value
    }
}

/// A KMS whose seal nobody notices alterations of: it takes data keys alone.
private struct DataKeysAlone: ForwardingKMS {
    let inner: any TrustedKMS

    var capabilities: KMSCapabilities {
        var capabilities = inner.capabilities
        capabilities.sealing = .dataKeys
        capabilities.nativeRewrap = false
        return capabilities
    }
}
