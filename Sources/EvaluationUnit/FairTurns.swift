import Synchronization

/// One piece of work at a time, of everybody who has some in turn: whoever asks for much waits behind those who ask for
/// little, and has so many places and no more.
package final class FairTurns<Owner: Hashable & Sendable>: Sendable {
    /// The owner has no place left.
    package struct Full: Error {}

    private struct State {
        var running = false
        /// Places that are taken, those of running work included.
        var taken: [Owner: Int] = [:]
        var lines: [Owner: [CheckedContinuation<Void, Never>]] = [:]
        /// Those who have a line, the next first.
        var turns: [Owner] = []
    }

    /// Places of each owner.
    package let places: Int
    private let state = Mutex(State())

    package init(places: Int) { self.places = places }

    /// Pieces of work that wait for their turn.
    package var waiting: Int { state.withLock { $0.lines.values.reduce(0) { $0 + $1.count } } }

    /// Takes a place for what ``run(_:_:)`` is then called with, once.
    package func takePlace(_ owner: Owner) throws(Full) {
        try state.withLock { state throws(Full) in
            guard state.taken[owner, default: 0] < places else { throw Full() }
            state.taken[owner, default: 0] += 1
        }
    }

    /// Waits for the owner's turn, then runs `body`, and gives the place back.
    package func run<Success: Sendable>(_ owner: Owner, _ body: () async -> Success) async -> Success {
        await withCheckedContinuation { turn in
            let now = state.withLock { state in
                guard state.running else {
                    state.running = true
                    return true
                }
                if state.lines[owner] == nil { state.turns.append(owner) }
                state.lines[owner, default: []].append(turn)
                return false
            }
            if now { turn.resume() }
        }
        let result = await body()
        let next: CheckedContinuation<Void, Never>? = state.withLock { state in
            let left = state.taken[owner, default: 1] - 1
            state.taken[owner] = left > 0 ? left : nil
            guard !state.turns.isEmpty else {
                state.running = false
                return nil
            }
            let next = state.turns.removeFirst()
            guard var line = state.lines.removeValue(forKey: next) else { return nil }
            let turn = line.removeFirst()
            if !line.isEmpty {
                state.lines[next] = line
                state.turns.append(next)
            }
            return turn
        }
        next?.resume()
        return result
    }
}
