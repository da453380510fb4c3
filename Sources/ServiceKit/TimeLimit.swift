/// A limit of time for a whole operation.
public enum TimeLimit {
    /// Thrown by ``run(within:_:)`` when the time is over.
    public struct Exceeded: Error, Equatable {
        public init() {}
    }

    /// Runs `body`, and cancels it where it is not done within `limit`.
    ///
    /// A client's own deadline often ends with the head of an answer; this one ends with the last byte, so that a
    /// server that stops in the middle holds nobody up for longer.
    /// - Throws: ``Exceeded``, or what `body` throws.
    public static func run<Result: Sendable>(
        within limit: Duration, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        try await withThrowingTaskGroup(of: Result.self) { group in
            defer { group.cancelAll() }
            group.addTask {
                let result = try await body()
                // A cancelled body ends as if it were whole.
                try Task.checkCancellation()
                return result
            }
            group.addTask {
                try await Task.sleep(for: limit)
                throw Exceeded()
            }
            guard let result = try await group.next() else { throw CancellationError() }
            return result
        }
    }
}
