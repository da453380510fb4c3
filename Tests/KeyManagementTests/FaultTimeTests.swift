import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import Testing

/// Clocks that step, systems that are slow, and work that ends at a bad moment.
@Suite struct FaultTimeTests {
    @Test("flows work while the clock goes hours forward and back at every call")
    func restlessClock() async throws {
        let bench = try await FaultBench()
        bench.plan.beforeEveryCall { call, _ in
            bench.clock.step(call.isMultiple(of: 2) ? -5 * 3600 : 5 * 3600)
        }
        let manager = bench.manager()
        let request = try bench.request(.envelope)
        let keySet = try await manager.register(request, as: bench.alice).keySet.manifest.keySet
        #expect(try await !manager.register(request, as: bench.alice).isNew)
        let ciphertexts = try await manager.encrypt([.init(sample)], under: keySet, as: bench.alice)
            .ciphertexts
        let opened = try await manager.decrypt(ciphertexts, of: keySet, count: 8, as: bench.alice)
        #expect(close(opened.vectors[0], sample))
        _ = try await manager.destroy(keySet, as: bench.alice)
        bench.plan.disarm()
        try await bench.check("after the clock came to rest")
        try await bench.checkObjects("after the clock came to rest")
    }

    @Test(
        "a key set that is destroyed before it was made, by the clock, is listed and stays destroyed")
    func destroyedBeforeCreation() async throws {
        let bench = try await FaultBench()
        let manager = bench.manager()
        let keySet = try await manager.register(bench.request(.direct), as: bench.alice).keySet.manifest
            .keySet
        bench.clock.step(-36_000)
        let destruction = try await manager.destroy(keySet, as: bench.alice)
        let shown = try await bench.manager().show(keySet, as: bench.alice)
        #expect(shown.state == .destroyed)
        // Rows keep whole seconds.
        #expect(try #require(shown.destroyed).timeIntervalSince(destruction.date).magnitude < 1.5)
        #expect(try #require(shown.manifest.dates.destroyed) < shown.manifest.dates.created)
        try await bench.check("destroyed before it was made")
    }

    @Test("a request id is not blocked by a registration that a wrong clock dated far ahead")
    func brokenOffInTheFuture() async throws {
        let bench = try await FaultBench()
        bench.clock.step(365 * 86_400)
        let request = try await bench.breakOffRegistration()
        bench.clock.step(-365 * 86_400)
        #expect(try await bench.manager().register(request, as: bench.alice).isNew)
        try await bench.checkObjects("the clock is right again")
        bench.clock.step(365 * 86_400)
        _ = try await bench.breakOffRegistration()
        bench.clock.step(-365 * 86_400)
        #expect(try await bench.manager().removeAbandonedRegistrations() == 1)
        try await bench.checkObjects("and again")
    }

    @Test(
        "a job takes no receipt while the clock says that it is too old, and does when the clock is right again"
    )
    func jobAge() async throws {
        let bench = try await FaultBench()
        let (manager, unit) = (bench.manager(), try SevenUnit())
        let (job, output) = try await bench.openJob(unit, manager, keepsOutputs: false)
        bench.clock.step(2 * 3600)
        #expect(try await manager.job(job.job, as: bench.alice).state == .failed)
        await #expect(throws: KeyManagementError.jobNotOpen(job.job, state: "too old")) {
            try await unit.complete(job, [output], manager)
        }
        await #expect(throws: KeyManagementError.notVouched(Digest(of: output))) {
            try await manager.decrypt([output], of: bench.kept, as: bench.alice)
        }
        bench.clock.step(-4 * 3600)
        #expect(try await manager.job(job.job, as: bench.alice).state == .open)
        #expect(try await unit.complete(job, [output], manager).state == .evaluated)
        bench.clock.step(24 * 3600)
        #expect(try await manager.job(job.job, as: bench.alice).state == .evaluated)
        _ = try await manager.decrypt([output], of: bench.kept, as: bench.alice)
    }

    @Test("a job that ends after its key set was destroyed leaves nothing behind")
    func jobAfterDestruction() async throws {
        let bench = try await FaultBench()
        let (manager, unit) = (bench.manager(), try SevenUnit())
        let (job, output) = try await bench.openJob(unit, manager)
        _ = try await manager.destroy(bench.kept, as: bench.alice)
        let before = try await bench.objects.list(prefix: "")
        await #expect(throws: KeyManagementError.keySetDestroyed(bench.kept)) {
            try await unit.complete(job, [output], manager)
        }
        #expect(try await bench.objects.list(prefix: "") == before)
    }

    @Test(
        "a KMS that does not answer one request holds up no other, and a key set destroyed meanwhile gives nothing"
    )
    func slowKMS() async throws {
        let bench = try await FaultBench()
        let manager = bench.manager()
        let (asked, answers) = (Signal(), Signal())
        bench.plan.beforeEveryCall { _, port in
            guard port == .kms, !asked.wasSet else { return }
            asked.set()
            await answers.wait()
        }
        let slow = Task {
            try await manager.decrypt([bench.ciphertext], of: bench.kept, as: bench.alice)
        }
        await asked.wait()
        let keySet = try await manager.register(bench.request(.envelope), as: bench.alice).keySet
            .manifest.keySet
        for used in [keySet, bench.kept] {
            let fresh = try await manager.encrypt([.init(sample)], under: used, as: bench.alice)
                .ciphertexts
            _ = try await manager.decrypt(fresh, of: used, count: 8, as: bench.alice)
        }
        #expect(try await manager.list(as: bench.alice).count == 3)
        _ = try await manager.destroy(bench.kept, as: bench.alice)
        answers.set()
        await #expect(throws: KeyManagementError.keySetNotActive(bench.kept, state: .destroyed)) {
            try await slow.value
        }
        #expect(try await manager.show(bench.kept, as: bench.alice).counters.decryptions == 1)
    }

    @Test(
        "a registration that is still at work when it is removed as abandoned is whole",
        arguments: [false, true])
    func removedWhileAtWork(isRemovalRefused: Bool) async throws {
        let bench = try await FaultBench()
        let manager = bench.manager()
        let (reached, goOn, done) = (Signal(), Signal(), Signal())
        bench.plan.beforeEveryCall(refusing: isRemovalRefused ? 15 : nil) { call, _ in
            switch call {
            case 13:  // The registration's last writes are to come.
                reached.set()
                await goOn.wait()
            case 15 where !isRemovalRefused:  // The removal has listed it, and is about to mark it.
                goOn.set()
                await done.wait()
            default: break
            }
        }
        let request = try bench.request(.direct)
        let registration = Task {
            defer { done.set() }
            return try await manager.register(request, as: bench.alice).keySet.manifest.keySet
        }
        await reached.wait()
        bench.clock.step(601)
        #expect(try await manager.removeAbandonedRegistrations() == 0)
        goOn.set()
        let keySet = try await registration.value
        bench.plan.disarm()
        #expect(try await bench.newKeySets() == [keySet])
        try await bench.check("removed while it was at work")
        try await bench.checkObjects("removed while it was at work")
    }
}
