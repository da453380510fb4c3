import Synchronization

/// Lets so many events through in a stretch of time, and counts the others.
final class RateBound: Sendable {
    private struct State {
        var start: ContinuousClock.Instant
        var admitted = 0
        var passedOver = 0
    }

    private let events: Int
    private let stretch: Duration
    private let state: Mutex<State>

    init(events: Int, per stretch: Duration) {
        self.events = events
        self.stretch = stretch
        state = Mutex(State(start: .now))
    }

    /// - Returns: how many were passed over since the last that was let through; nil where this one is, too.
    func admit(at now: ContinuousClock.Instant = .now) -> Int? {
        state.withLock { state in
            if now >= state.start + stretch {
                state.start = now
                state.admitted = 0
            }
            guard state.admitted < events else {
                state.passedOver += 1
                return nil
            }
            state.admitted += 1
            defer { state.passedOver = 0 }
            return state.passedOver
        }
    }
}
