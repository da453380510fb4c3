import Synchronization

/// How much of a kind of work a caller may have going on at a time, whatever others have.
package final class CallerLimit<Caller: Hashable & Sendable>: Sendable {
    /// The caller has as much going on as it may.
    package struct Reached: Error, Equatable {}

    private let most: Int
    private let going = Mutex<[Caller: Int]>([:])

    /// - Parameter most: pieces of work of one caller, at least 1.
    package init(_ most: Int) {
        precondition(most >= 1, "a caller may do something")
        self.most = most
    }

    /// Runs `body` as work of the caller.
    /// - Throws: ``Reached`` at once, or what `body` throws.
    package func run<Success: Sendable>(
        as caller: Caller, _ body: () async throws -> Success
    ) async throws -> Success {
        try going.withLock { going throws(Reached) in
            guard going[caller, default: 0] < most else { throw Reached() }
            going[caller, default: 0] += 1
        }
        defer {
            going.withLock { going in
                let left = going[caller, default: 1] - 1
                going[caller] = left > 0 ? left : nil
            }
        }
        return try await body()
    }
}
