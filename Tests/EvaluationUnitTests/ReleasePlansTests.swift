import Dispatch
import EncryptedInference
import EvaluationUnit
import ServiceKit
import Synchronization
import Testing

/// The planner is shared: nobody has all of it.
@Suite(.timeLimit(.minutes(2))) struct ReleasePlansTests {
    /// A value that several pieces of work share.
    private final class Shared<Value: Sendable>: Sendable {
        private let mutex: Mutex<Value>
        init(_ value: Value) { mutex = Mutex(value) }
        var value: Value { mutex.withLock { $0 } }
        @discardableResult
        func change<Result: Sendable>(_ body: (inout Value) -> Result) -> Result {
            mutex.withLock { value in body(&value) }
        }
    }

    private func until(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test("work is done in turns of its owners, one piece at a time, and places are given back")
    func turns() async throws {
        let turns = FairTurns<String>(places: 3)
        let order = Shared<[String]>([])
        let gate = Shared<CheckedContinuation<Void, Never>?>(nil)
        func start(_ owner: String, _ name: String) throws -> Task<Void, Never> {
            try turns.takePlace(owner)
            return Task { await turns.run(owner) { order.change { $0.append(name) } } }
        }
        try turns.takePlace("a")
        let first = Task {
            await turns.run("a") {
                order.change { $0.append("a1") }
                await withCheckedContinuation { turn in gate.change { $0 = turn } }
            }
        }
        try await until { gate.value != nil }
        var tasks: [Task<Void, Never>] = [first]
        for (owner, name) in [("a", "a2"), ("a", "a3"), ("b", "b1"), ("b", "b2"), ("c", "c1")] {
            let waiting = turns.waiting
            tasks.append(try start(owner, name))
            try await until { turns.waiting == waiting + 1 }
        }
        #expect(throws: FairTurns<String>.Full.self) { try turns.takePlace("a") }
        #expect(order.value == ["a1"])
        gate.value?.resume()
        for task in tasks { await task.value }
        #expect(order.value == ["a1", "a2", "b1", "c1", "a3", "b2"])
        for _ in 0..<3 { try turns.takePlace("a") }
        #expect(throws: FairTurns<String>.Full.self) { try turns.takePlace("a") }
    }

    /// A pool of one thread that waits until it is let go.
    private struct HeldPool {
        let pool = ComputePool(numberOfThreads: 1, maximumQueued: 1000)
        private let gate = DispatchSemaphore(value: 0)
        private let holder: Task<Void, any Error>

        init() {
            let (pool, gate) = (pool, gate)
            holder = Task { try await pool.run { gate.wait() } }
        }

        func letGo() async throws {
            gate.signal()
            try await holder.value
        }
    }

    private static func request(_ index: Int) -> PlanRequest {
        PlanRequest(release: ReleaseRequest(precision: 1e-3 * Double(1 + index), budget: 16))
    }

    @Test("a gateway that asks for too much is refused by name, and takes no place of another's")
    func fairness() async throws {
        let held = HeldPool()
        try await until { held.pool.load.running == 1 }
        let (plans, model) = (ReleasePlans(capacity: 1 << 30, pool: held.pool), try Models.tiny().model)
        let count = ReleasePlans.searchesPerGateway
        try await withThrowingTaskGroup(of: UnitProblem?.self) { group in
            for index in 0...count {
                group.addTask {
                    do {
                        _ = try await plans.plan(model, Self.request(index), for: "a")
                        return nil
                    } catch let problem as UnitProblem { return problem }
                }
            }
            // Nothing is searched: what comes back first is the refusal of the one that has no place.
            let first = try await group.next() ?? nil
            #expect(first == .plannerBusy)
            group.addTask {
                _ = try await plans.plan(model, Self.request(count + 1), for: "b")
                return nil
            }
            // What is asked already takes no place.
            group.addTask {
                _ = try await plans.plan(model, Self.request(count + 1), for: "b")
                return nil
            }
            try await held.letGo()
            for try await problem in group { #expect(problem == nil) }
        }
        _ = try await plans.plan(model, Self.request(count + 2), for: "a")
        await held.pool.shutdown()
    }

    @Test("the room for compiled models is theirs who compile; what has no room beside them is refused, and later not")
    func planCache() async throws {
        let held = HeldPool()
        try await until { held.pool.load.running == 1 }
        let model = try Models.tiny().model
        let first = try InferencePlan(model, release: Self.request(0).release)
        let second = try InferencePlan(model, release: ReleaseRequest(precision: 1e-6, budget: 16))
        #expect(first.profile != second.profile)
        let capacity = max(first.compiledByteCount, second.compiledByteCount)
        let plans = ReleasePlans(capacity: capacity, pool: held.pool)
        let compiling = Task { try await plans.compiled(model, by: first) }
        try await until { held.pool.load.waiting == 1 }
        await #expect(throws: UnitProblem.plannerBusy) { try await plans.compiled(model, by: second) }
        // The same one waits for the one that is being made.
        let same = Task { try await plans.compiled(model, by: first) }
        try await held.letGo()
        #expect(try await compiling.value.plan.profile == first.profile)
        #expect(try await same.value.plan.profile == first.profile)
        #expect(try await plans.compiled(model, by: second).plan.profile == second.profile)
        // More than there is room for at all is another refusal.
        let small = ReleasePlans(capacity: first.compiledByteCount - 1, pool: held.pool)
        await #expect(
            throws: UnitProblem.planCacheTooSmall(
                needed: first.compiledByteCount, capacity: first.compiledByteCount - 1)
        ) { try await small.compiled(model, by: first) }
        await held.pool.shutdown()
    }
}
