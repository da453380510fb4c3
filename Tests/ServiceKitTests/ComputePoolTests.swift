import Dispatch
import ServiceKit
import Synchronization
import Testing

/// Work that holds its thread until it is let go.
private final class Gate: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    func wait() { semaphore.wait() }
    func open() { semaphore.signal() }
}

/// A value that several pieces of work share.
private final class Shared<Value: Sendable>: Sendable {
    private let mutex: Mutex<Value>
    init(_ value: Value) { mutex = Mutex(value) }
    var value: Value { mutex.withLock { $0 } }
    func change(_ body: (inout Value) -> Void) { mutex.withLock { value in body(&value) } }
}

@Suite(.timeLimit(.minutes(1))) struct ComputePoolTests {
    struct Failure: Error {}

    private func until(_ condition: () -> Bool) async throws {
        while !condition() { try await Task.sleep(for: .milliseconds(1)) }
    }

    @Test func runsAndThrows() async throws {
        let pool = ComputePool(numberOfThreads: 2, maximumQueued: 0)
        #expect(try await pool.run { 6 * 7 } == 42)
        await #expect(throws: Failure.self) { try await pool.run { throw Failure() } }
        #expect(pool.load == (0, 0))
        await pool.shutdown()
    }

    @Test func refusesBeyondTheQueueAndRunsInOrder() async throws {
        let pool = ComputePool(numberOfThreads: 1, maximumQueued: 2)
        let gate = Gate()
        let order = Shared<[Int]>([])
        let first = Task { try await pool.run { gate.wait() } }
        try await until { pool.load == (1, 0) }
        let second = Task { try await pool.run { order.change { $0.append(2) } } }
        try await until { pool.load == (1, 1) }
        let third = Task { try await pool.run { order.change { $0.append(3) } } }
        try await until { pool.load == (1, 2) }

        await #expect(throws: ComputePoolError.saturated) { try await pool.run {} }
        gate.open()
        try await first.value
        try await second.value
        try await third.value
        #expect(order.value == [2, 3])
        #expect(pool.load == (0, 0))
        await pool.shutdown()
    }

    @Test func cancellingGivesUpThePlaceAtOnce() async throws {
        let pool = ComputePool(numberOfThreads: 1, maximumQueued: 1)
        let gate = Gate()
        let first = Task { try await pool.run { gate.wait() } }
        try await until { pool.load == (1, 0) }
        let ran = Shared(false)
        let second = Task { try await pool.run { ran.change { $0 = true } } }
        try await until { pool.load == (1, 1) }

        second.cancel()
        await #expect(throws: CancellationError.self) { try await second.value }
        #expect(pool.load == (1, 0))
        gate.open()
        try await first.value
        #expect(ran.value == false)

        let cancelled = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            try await pool.run {}
        }
        await #expect(throws: CancellationError.self) { try await cancelled.value }
        await pool.shutdown()
    }

    @Test func shutdownEndsTheWaitingAndAwaitsTheRunning() async throws {
        let pool = ComputePool(numberOfThreads: 1, maximumQueued: 4)
        let gate = Gate()
        let started = Gate()
        let first = Task {
            try await pool.run {
                started.open()
                gate.wait()
                return 1
            }
        }
        await Task.detached { started.wait() }.value
        let second = Task { try await pool.run {} }
        try await until { pool.load == (1, 1) }
        let ending = Task { await pool.shutdown() }
        await #expect(throws: ComputePoolError.shutDown) { try await second.value }
        gate.open()
        await ending.value
        #expect(try await first.value == 1)
        await #expect(throws: ComputePoolError.shutDown) { try await pool.run {} }
        await pool.shutdown()
    }

    @Test func holdsUnderLoadWithCancellation() async throws {
        let pool = ComputePool(numberOfThreads: 4, maximumQueued: 64)
        let most = Shared((now: 0, most: 0))
        await withTaskGroup(of: Void.self) { group in
            for index in 0..<2_000 {
                group.addTask {
                    let task = Task {
                        try await pool.run {
                            most.change { $0 = ($0.now + 1, max($0.most, $0.now + 1)) }
                            most.change { $0.now -= 1 }
                        }
                    }
                    if index.isMultiple(of: 3) { task.cancel() }
                    do { try await task.value } catch is CancellationError {
                    } catch ComputePoolError.saturated {
                    } catch { Issue.record(error) }
                }
            }
        }
        #expect(most.value.most <= 4)
        #expect(pool.load == (0, 0))
        await pool.shutdown()
    }
}
