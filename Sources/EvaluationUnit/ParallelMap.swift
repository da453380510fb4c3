import RLWE
import ServiceKit
import Synchronization

extension ComputePool {
    /// Transforms all items on the pool and keeps their order.
    ///
    /// One job takes at most as many places in the pool as it has threads, each place working through its
    /// share: otherwise a long job would fill the queue, or never find room in a short one.
    /// - Throws: what ``run(_:)`` or `transform` throws first; work that has not begun is then left out.
    func map<Item: Sendable, Result: Sendable>(
        _ items: [Item], _ transform: @escaping @Sendable (Int, Item) throws -> Result
    ) async throws -> [Result] {
        let shares = min(numberOfThreads, items.count)
        let failure = FirstFailure()
        let pieces = await withTaskCancellationHandler {
            await withTaskGroup(of: [(index: Int, result: Result)].self) { group in
                for share in 0..<shares {
                    group.addTask {
                        do {
                            return try await self.run {
                                try Parallelism.occupying {
                                    var results: [(index: Int, result: Result)] = []
                                    for index in stride(from: share, to: items.count, by: shares) {
                                        if failure.exists { break }
                                        results.append((index, try transform(index, items[index])))
                                    }
                                    return results
                                }
                            }
                        } catch {
                            failure.note(error)
                            return []
                        }
                    }
                }
                return await group.reduce(into: []) { $0 += $1 }
            }
        } onCancel: {
            failure.note(CancellationError())
        }
        try failure.check()
        return pieces.sorted { $0.index < $1.index }.map(\.result)
    }
}

private final class FirstFailure: Sendable {
    private let error = Mutex<(any Error)?>(nil)

    var exists: Bool { error.withLock { $0 != nil } }

    func note(_ new: any Error) { error.withLock { $0 = $0 ?? new } }

    func check() throws {
        if let error = error.withLock({ $0 }) { throw error }
    }
}
