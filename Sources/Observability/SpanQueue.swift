import Synchronization

/// Spans that wait for the collector. What has no room is thrown away and counted: nobody waits for a collector.
public final class SpanQueue: Sendable {
    private struct State {
        var spans: [SpanRecord] = []
        var dropped: UInt64 = 0
    }

    /// Spans that may wait.
    public let capacity: Int
    private let state = Mutex(State())

    public init(capacity: Int = 16_384) { self.capacity = max(1, capacity) }

    /// How many wait.
    public var count: Int { state.withLock { $0.spans.count } }
    /// How many had no room.
    public var dropped: UInt64 { state.withLock { $0.dropped } }

    func add(_ span: SpanRecord) {
        let isTaken = state.withLock { state in
            guard state.spans.count < capacity else {
                state.dropped += 1
                return false
            }
            state.spans.append(span)
            return true
        }
        if !isTaken { MetricCatalog.spansDropped.increment("queue-full") }
    }

    /// Takes the oldest ones out.
    public func take(_ maximum: Int) -> [SpanRecord] {
        state.withLock { state in
            let taken = Array(state.spans.prefix(maximum))
            state.spans.removeFirst(taken.count)
            return taken
        }
    }
}
