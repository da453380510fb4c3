import ServiceKit
import Synchronization
import Testing

/// What callers share: a limit for each of them, and results that are made once.
@Suite(.timeLimit(.minutes(1))) struct SharedWorkTests {
    private struct Failure: Error, Equatable {}

    /// Holds work until it is opened.
    private final class Gate: Sendable {
        private let state = Mutex<(isOpen: Bool, waiting: [CheckedContinuation<Void, Never>])>((false, []))

        func pass() async {
            await withCheckedContinuation { turn in
                let isOpen = state.withLock { state in
                    if !state.isOpen { state.waiting.append(turn) }
                    return state.isOpen
                }
                if isOpen { turn.resume() }
            }
        }

        var waiting: Int { state.withLock { $0.waiting.count } }

        func open() {
            let waiting = state.withLock { state in
                state.isOpen = true
                defer { state.waiting = [] }
                return state.waiting
            }
            for turn in waiting { turn.resume() }
        }
    }

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

    @Test("a caller has so much going on and no more, whatever another has, and again when it ended")
    func callerLimit() async throws {
        let (limit, gate) = (CallerLimit<String>(2), Gate())
        let alices = (0..<2).map { _ in Task { try await limit.run(as: "alice") { await gate.pass() } } }
        try await until { gate.waiting == 2 }
        await #expect(throws: CallerLimit<String>.Reached.self) { try await limit.run(as: "alice") {} }
        #expect(try await limit.run(as: "bob") { 7 } == 7)
        // What fails ends, too.
        for _ in 0..<3 {
            await #expect(throws: Failure.self) { try await limit.run(as: "bob") { throw Failure() } }
        }
        gate.open()
        for task in alices { try await task.value }
        for _ in 0..<3 { #expect(try await limit.run(as: "alice") { 1 } == 1) }
    }

    @Test("a result is made once, however many ask at a time; a failure is not remembered")
    func rememberedResults() async throws {
        let (results, gate, made) = (RememberedResults<Int, Int>(8), Gate(), Shared(0))
        let ask: @Sendable () async throws -> Int = {
            try await results.value(for: 1) {
                let count = made.change { count in
                    count += 1
                    return count
                }
                await gate.pass()
                if count == 1 { throw Failure() }
                return 10 * count
            }
        }
        let first = (0..<8).map { _ in Task { try await ask() } }
        try await until { gate.waiting == 1 }
        // Whoever asked first goes away; the others are served all the same.
        first[0].cancel()
        gate.open()
        for task in first { _ = await task.result }
        #expect(made.value >= 1)
        #expect(try await ask() > 0)
        let count = made.value
        for _ in 0..<4 { #expect(try await ask() == 10 * count) }
        #expect(made.value == count)
    }

    @Test("so many results are remembered, and one more takes the place of one other")
    func forgetting() async throws {
        let (results, made) = (RememberedResults<Int, Int>(4), Shared<[Int]>([]))
        func ask(_ key: Int) async throws -> Int {
            try await results.value(for: key) {
                made.change { $0.append(key) }
                return key
            }
        }
        for key in 0..<5 { #expect(try await ask(key) == key) }
        #expect(made.value == [0, 1, 2, 3, 4])
        // The last one is there for certain; of the others one is not.
        _ = try await ask(4)
        #expect(made.value.count == 5)
        for key in 0..<4 { _ = try await ask(key) }
        #expect(made.value.count > 5)
    }
}
