import Synchronization

/// Jobs that run in the background: no more than so many at a time, because each holds its inputs, and counted, so
/// that a shutdown can wait for them.
final class JobRunner: Sendable {
    private struct State {
        var running: [Int: Task<Void, Never>] = [:]
        /// Places taken, by jobs that run and by those about to.
        var places = 0
        var next = 0
    }
    private let state = Mutex(State())
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    /// How many run.
    var running: Int { state.withLock { $0.running.count } }

    /// Takes a place, lets `prepare` make a job, and runs it; the place is free again when it ends or `prepare`
    /// fails.
    /// - Returns: nil where no place is free; `prepare` was not called then.
    func start<Job: Sendable>(
        preparing prepare: () async throws -> Job, _ body: @escaping @Sendable (Job) async -> Void
    ) async rethrows -> Job? {
        let isFree = state.withLock { state in
            guard state.places < limit else { return false }
            state.places += 1
            return true
        }
        guard isFree else { return nil }
        let job: Job
        do { job = try await prepare() } catch {
            state.withLock { $0.places -= 1 }
            throw error
        }
        state.withLock { state in
            let id = state.next
            state.next += 1
            // The task removes itself under the lock, and so after it was entered.
            state.running[id] = Task {
                await body(job)
                self.state.withLock { state in
                    state.running[id] = nil
                    state.places -= 1
                }
            }
        }
        return job
    }

    /// Waits for what runs, at most so long, then cancels it.
    func finish(within limit: Duration) async {
        let tasks = state.withLock { Array($0.running.values) }
        guard !tasks.isEmpty else { return }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { for task in tasks { await task.value } }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            for task in tasks { task.cancel() }
            group.cancelAll()
        }
    }
}
