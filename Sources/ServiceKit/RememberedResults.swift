import Synchronization

/// What was made of each key: made once, by whoever asks first, while the others wait for it. So many results are
/// remembered; beyond them any other is forgotten, so that nobody can have all of them forgotten by asking for many.
package final class RememberedResults<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct State {
        var results: [Key: Value] = [:]
        var making: [Key: Task<Value, any Error>] = [:]
    }

    private let most: Int
    private let state = Mutex(State())

    /// - Parameter most: results that are remembered, at least 1.
    package init(_ most: Int) {
        precondition(most >= 1, "something is remembered")
        self.most = most
    }

    /// The result that is remembered, is being made, or is made now. It is made to its end even if whoever asked first
    /// goes away, for others may wait.
    /// - Throws: what `make` throws, which is not remembered.
    package func value(for key: Key, _ make: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let task = state.withLock { state in
            if let known = state.results[key] { return Task<Value, any Error> { known } }
            if let running = state.making[key] { return running }
            let task = Task { [self] in
                let result = await Task { try await make() }.result
                self.state.withLock { state in
                    state.making[key] = nil
                    guard case .success(let value) = result else { return }
                    if state.results.count >= most, let other = state.results.keys.randomElement() {
                        state.results[other] = nil
                    }
                    state.results[key] = value
                }
                return try result.get()
            }
            state.making[key] = task
            return task
        }
        return try await task.value
    }
}
