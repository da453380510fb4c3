import Dispatch
import Synchronization

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The threads that help with each other's work, and how many of the process work at a time.
///
/// Work is open to all from its beginning, and a thread that has nothing to do joins the oldest that has numbers left:
/// whole keys and ciphertexts before their rows, and the rows of the last ones when there are no more of those. Who
/// waits for others to end helps with what these have begun themselves. A thread that finds nothing looks again for a
/// while before it sleeps, because waking one takes as long as a row does.
enum ThreadTeam {
    /// How many work at a time, unless more threads than that begin of themselves.
    static let width = Atomic<Int>(1)
    private static let working = Atomic<Int>(0)
    /// Changes with everything that one who looks for work may have waited for.
    private static let changes = Atomic<Int>(0)
    private static let state = BriefLock(State())
    /// For how long a thread looks before it sleeps, in nanoseconds.
    private static let patience: UInt64 = 50_000

    private struct State {
        /// Oldest first.
        var open: [SharedWork] = []
        var sleepers: [Sleeper] = []
        /// Helpers that look for work.
        var looking = 0
        var helpers = 0
    }

    private final class Sleeper: Sendable {
        /// Who waits for this work helps with nothing else; a helper has none.
        let awaited: SharedWork?
        let semaphore = DispatchSemaphore(value: 0)

        init(_ awaited: SharedWork?) { self.awaited = awaited }

        func helps(_ work: SharedWork) -> Bool { awaited.map { work.isPart(of: $0) } ?? true }
    }

    // MARK: Places

    /// How many more could work.
    static var idle: Int { max(0, width.load(ordering: .relaxed) - working.load(ordering: .relaxed)) }

    /// Takes a place for a thread that works anyhow.
    static func enter() { working.add(1, ordering: .relaxed) }

    /// Gives a place back, for one who has waited for it.
    static func leave() {
        working.subtract(1, ordering: .relaxed)
        offerPlace()
    }

    /// Wakes one thread if there is a place for it, and work.
    private static func offerPlace() {
        let woken = state.withLock { state -> [Sleeper] in
            guard idle > 0, let work = state.open.first(where: \.isOpen) else { return [] }
            changes.add(1, ordering: .relaxed)
            return takeSleepers(1 - state.looking, for: work, &state)
        }
        for sleeper in woken { sleeper.semaphore.signal() }
    }

    private static func takePlace() -> Bool {
        changeWorking { $0 < width.load(ordering: .relaxed) ? $0 + 1 : nil }
    }

    /// Gives a place back if more threads work than should.
    private static func cedePlace() -> Bool {
        changeWorking { $0 > width.load(ordering: .relaxed) ? $0 - 1 : nil }
    }

    private static func changeWorking(_ changed: (Int) -> Int?) -> Bool {
        var now = working.load(ordering: .relaxed)
        while let desired = changed(now) {
            let (exchanged, found) = working.weakCompareExchange(expected: now, desired: desired, ordering: .relaxed)
            if exchanged { return true }
            now = found
        }
        return false
    }

    // MARK: Work

    /// Has all numbers of `work` done, by this thread, which has a place, and by whoever joins.
    static func perform(_ work: SharedWork) {
        publish(work)
        work.takePart { true }
        withdraw(work)
        while !isOver(work), let part = find(within: work) {
            help(part)
            offerPlace()
        }
        work.close()
    }

    private static func publish(_ work: SharedWork) {
        let (woken, started) = state.withLock { state in
            state.open.append(work)
            changes.add(1, ordering: .relaxed)
            let wanted = min(work.count - 1, idle) - state.looking
            let woken = takeSleepers(wanted, for: work, &state)
            let started = max(0, min(wanted - woken.count, width.load(ordering: .relaxed) - state.helpers))
            state.helpers += started
            return (woken, started)
        }
        for sleeper in woken { sleeper.semaphore.signal() }
        for _ in 0..<started { startHelper() }
    }

    /// The thread that began `work` finds no more numbers. Where others have not ended theirs its place is free, and
    /// that of the last one will be its own.
    private static func withdraw(_ work: SharedWork) {
        let isLast = state.withLock { state in
            state.open.removeAll { $0 === work }
            return work.participants.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
        }
        if !isLast { leave() }
    }

    /// Works on what was found, with a place, and gives that back unless it is for the thread that began the work.
    private static func help(_ work: SharedWork) {
        var hasPlace = true
        Parallelism.withPlace(at: work) {
            work.takePart {
                hasPlace = !cedePlace()
                return hasPlace
            }
        }
        let owner: Sleeper? = state.withLock { state in
            let isLast = work.participants.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
            if isLast, !hasPlace { enter() }
            if !isLast, hasPlace { working.subtract(1, ordering: .relaxed) }
            guard isLast else { return nil }
            return state.sleepers.firstIndex { $0.awaited === work }.map { state.sleepers.remove(at: $0) }
        }
        owner?.semaphore.signal()
    }

    // MARK: Looking for work

    /// Waits for work to help with, and joins it with a place.
    /// - Parameter awaited: looks for parts of this alone.
    /// - Returns: nil when all have left `awaited`.
    private static func find(within awaited: SharedWork?) -> SharedWork? {
        while true {
            var seen = 0
            let joined = state.withLock { state in
                let joined = join(within: awaited, &state)
                if joined == nil, awaited == nil { state.looking += 1 }
                seen = changes.load(ordering: .relaxed)
                return joined
            }
            if let joined {
                // One who sleeps may have been left out because this one was looking.
                if idle > 0 { offerPlace() }
                return joined
            }
            let hasChanged = look(awaited, seen: seen)
            let sleeper: Sleeper? = state.withLock { state in
                if awaited == nil { state.looking -= 1 }
                guard !hasChanged, changes.load(ordering: .relaxed) == seen, !isOver(awaited) else { return nil }
                let sleeper = Sleeper(awaited)
                state.sleepers.append(sleeper)
                return sleeper
            }
            sleeper?.semaphore.wait()
            if isOver(awaited) { return nil }
        }
    }

    private static func isOver(_ awaited: SharedWork?) -> Bool {
        awaited.map { $0.participants.load(ordering: .acquiring) == 0 } ?? false
    }

    /// - Returns: whether something has changed.
    private static func look(_ awaited: SharedWork?, seen: Int) -> Bool {
        // A helper waits for a place as long as an operation takes.
        let end = DispatchTime.now().uptimeNanoseconds + (awaited != nil || idle > 0 ? patience : 0)
        repeat {
            if changes.load(ordering: .relaxed) != seen || isOver(awaited) { return true }
        } while DispatchTime.now().uptimeNanoseconds < end
        return false
    }

    /// The oldest work that has numbers left, if there is a place.
    private static func join(within awaited: SharedWork?, _ state: inout State) -> SharedWork? {
        let found = state.open.first { work in work.isOpen && (awaited.map { work.isPart(of: $0) } ?? true) }
        guard let found, takePlace() else { return nil }
        found.participants.add(1, ordering: .relaxed)
        return found
    }

    /// Up to `count` who sleep and would help with `work`, to be woken.
    private static func takeSleepers(_ count: Int, for work: SharedWork, _ state: inout State) -> [Sleeper] {
        var taken: [Sleeper] = []
        while taken.count < count, let index = state.sleepers.firstIndex(where: { $0.helps(work) }) {
            taken.append(state.sleepers.remove(at: index))
        }
        return taken
    }

    // MARK: Helpers

    private static func startHelper() {
        #if canImport(Darwin)
            var thread: pthread_t?
        #else
            var thread: pthread_t = 0
        #endif
        // By a pointer: Swift 6.3.1 crashes on an inout argument here.
        let isStarted = withUnsafeMutablePointer(to: &thread) { pthread_create($0, nil, helper, nil) == 0 }
        // The work goes on with those that there are.
        if !isStarted { state.withLock { $0.helpers -= 1 } }
    }

    fileprivate static func helpForEver() {
        while let work = find(within: nil) { help(work) }
    }
}

#if canImport(Darwin)
    private func helper(_: UnsafeMutableRawPointer) -> UnsafeMutableRawPointer? {
        ThreadTeam.helpForEver()
        return nil
    }
#else
    private func helper(_: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        ThreadTeam.helpForEver()
        return nil
    }
#endif
