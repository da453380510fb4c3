import Synchronization

/// Keeps count of jobs that run in the background, so that a shutdown can wait for them.
final class JobRunner: Sendable {
    private let running = Mutex<[Int: Task<Void, Never>]>([:])
    private let next = Atomic<Int>(0)

    func start(_ body: @escaping @Sendable () async -> Void) {
        let id = next.wrappingAdd(1, ordering: .relaxed).newValue
        running.withLock { running in
            // The task removes itself under the lock, and so after it was entered.
            running[id] = Task {
                await body()
                self.running.withLock { _ = $0.removeValue(forKey: id) }
            }
        }
    }

    /// Waits for what runs, at most so long, then cancels it.
    func finish(within limit: Duration) async {
        let tasks = running.withLock { Array($0.values) }
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
