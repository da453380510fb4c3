import NIOPosix
import Synchronization

/// Why a ``ComputePool`` did not run something.
public enum ComputePoolError: Error, Equatable, Sendable {
    /// All threads work and the queue is full.
    case saturated
    /// The pool was shut down.
    case shutDown
}

/// Threads of their own for homomorphic arithmetic, so that nothing blocks an event loop, with
/// admission control, so that load beyond the pool is refused at once and not queued without bound.
///
/// Work that waits is started in the order of arrival. ``shutdown()`` must be called before the last
/// reference goes away.
public final class ComputePool: Sendable {
    /// Number of threads.
    public let numberOfThreads: Int
    /// How many pieces of work may wait for a thread.
    public let maximumQueued: Int

    private let threads: NIOThreadPool
    private let state = Mutex(State())

    // Waiting work is held here and not in the thread pool's own queue: that one keeps cancelled work
    // until a thread comes to it, so callers who cancel would pile it up behind one long computation.
    private struct State {
        var running = 0
        var waiting: [Waiter] = []
        var nextID: UInt64 = 0
        var isShutDown = false
    }

    private struct Waiter {
        let id: UInt64
        let turn: CheckedContinuation<Void, any Error>
    }

    /// Starts the threads.
    /// - Parameters:
    ///   - numberOfThreads: at least 1.
    ///   - maximumQueued: at least 0.
    public init(numberOfThreads: Int, maximumQueued: Int) {
        precondition(numberOfThreads >= 1, "a pool has a thread")
        precondition(maximumQueued >= 0, "a queue has no negative length")
        self.numberOfThreads = numberOfThreads
        self.maximumQueued = maximumQueued
        threads = NIOThreadPool(numberOfThreads: numberOfThreads)
        threads.start()
    }

    /// How much work is running and how much is waiting, for readiness and metrics.
    public var load: (running: Int, waiting: Int) {
        state.withLock { ($0.running, $0.waiting.count) }
    }

    /// Runs `body` on a thread of the pool.
    ///
    /// A task that is cancelled while it waits gives up its place at once; once `body` has started it
    /// runs to its end.
    /// - Throws: ``ComputePoolError``, `CancellationError` where the task was cancelled before `body`
    ///   started, or what `body` throws.
    public func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await waitForTurn()
        defer { passTurn() }
        try Task.checkCancellation()
        return try await withCheckedThrowingContinuation { result in
            threads.submit { state in
                switch state {
                case .active: result.resume(with: Result(catching: body))
                case .cancelled: result.resume(throwing: ComputePoolError.shutDown)
                }
            }
        }
    }

    /// Refuses new and waiting work, waits for the running work, and ends the threads.
    public func shutdown() async {
        let waiting = state.withLock { state in
            state.isShutDown = true
            defer { state.waiting = [] }
            return state.waiting
        }
        for waiter in waiting { waiter.turn.resume(throwing: ComputePoolError.shutDown) }
        // The only error is that of a pool that cannot be stopped, which this one can.
        try? await threads.shutdownGracefully()
    }

    private func waitForTurn() async throws {
        let id = state.withLock { state in
            defer { state.nextID += 1 }
            return state.nextID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (turn: CheckedContinuation<Void, any Error>) in
                let decision: Result<Void, any Error>? = state.withLock { state in
                    // Under the lock, so that a cancellation is seen either here or by `cancel`.
                    if Task.isCancelled { return .failure(CancellationError()) }
                    if state.isShutDown { return .failure(ComputePoolError.shutDown) }
                    if state.running < numberOfThreads {
                        state.running += 1
                        return .success(())
                    }
                    guard state.waiting.count < maximumQueued else { return .failure(ComputePoolError.saturated) }
                    state.waiting.append(Waiter(id: id, turn: turn))
                    return nil
                }
                if let decision { turn.resume(with: decision) }
            }
        } onCancel: {
            cancel(id)
        }
    }

    private func cancel(_ id: UInt64) {
        let waiter = state.withLock { state in
            state.waiting.firstIndex { $0.id == id }.map { state.waiting.remove(at: $0) }
        }
        waiter?.turn.resume(throwing: CancellationError())
    }

    private func passTurn() {
        let next: Waiter? = state.withLock { state in
            guard !state.waiting.isEmpty else {
                state.running -= 1
                return nil
            }
            return state.waiting.removeFirst()
        }
        next?.turn.resume()
    }
}

extension ComputePoolError: ProblemConvertible, CustomStringConvertible {
    public var description: String {
        switch self {
        case .saturated: "all compute threads are busy and the queue is full"
        case .shutDown: "the server is shutting down"
        }
    }

    public var problem: Problem {
        switch self {
        case .saturated:
            Problem(
                name: "compute-saturated", title: "Server busy", status: 503, detail: description,
                fix: "Try again after the time that Retry-After names.", retryAfterSeconds: 2)
        case .shutDown:
            Problem(
                name: "shutting-down", title: "Server shutting down", status: 503, detail: description,
                fix: "Try again; another instance, or this one after its restart, will answer.",
                retryAfterSeconds: 5)
        }
    }
}
