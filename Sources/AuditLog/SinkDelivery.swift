import Synchronization

/// Brings lines to one sink in their order: a bounded queue, tried again with growing pauses.
///
/// Where the queue is full, the next lines are dropped, and in their place the sink is told of the gap.
final class SinkDelivery: Sendable {
    /// Copies that are sent at a time.
    private static let batch = 256
    static let firstPause = Duration.milliseconds(100)
    static let longestPause = Duration.seconds(30)

    let sink: any AuditSink
    private let capacity: Int
    private let state = Mutex(State())
    private let wake: AsyncStream<Void>.Continuation
    private let signals: AsyncStream<Void>

    private struct State {
        var queue: [AuditCopy] = []
        var delivered = 0
        var dropped = 0
        var failure: String?
        var waiters: [Int: Waiter] = [:]
        /// Of lines that were dropped, as long as somebody may ask for them.
        var gaps: [ClosedRange<Int>] = []
        var nextWaiter = 0
        var task: Task<Void, Never>?

        /// Told of a gap, the sink still lacks its lines. Who waited for one does so for some seconds only.
        mutating func remember(_ gap: ClosedRange<Int>) {
            gaps.append(gap)
            if gaps.count > 64 { gaps.removeFirst() }
        }
    }

    private struct Waiter {
        let sequence: Int
        let turn: CheckedContinuation<Bool, Never>
        let timer: Task<Void, any Error>
    }

    init(_ sink: any AuditSink, capacity: Int) {
        self.sink = sink
        self.capacity = capacity
        (signals, wake) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        let task = Task { await self.run() }
        state.withLock { $0.task = task }
    }

    var status: AuditSinkStatus {
        state.withLock {
            AuditSinkStatus(
                name: sink.name, delivered: $0.delivered, waiting: $0.queue.count, dropped: $0.dropped,
                failure: $0.failure)
        }
    }

    /// Whether a line would be dropped now.
    var isFull: Bool { state.withLock { $0.queue.count >= capacity } }

    func add(_ lines: [AuditBatch.Line]) {
        state.withLock { state in
            for line in lines {
                if state.queue.count < capacity {
                    state.queue.append(AuditCopy(line))
                    continue
                }
                state.dropped += 1
                let sequence = line.head.sequence
                if let last = state.queue.last, last.isGap, last.last + 1 == sequence {
                    state.queue[state.queue.count - 1] = AuditCopy(gap: last.first...sequence)
                } else {
                    state.queue.append(AuditCopy(gap: sequence...sequence))
                }
            }
        }
        wake.yield()
    }

    /// Waits until the sink has taken a line.
    /// - Returns: false where it has not in time.
    func wait(for sequence: Int, atMost limit: Duration) async -> Bool {
        await withCheckedContinuation { turn in
            let isThere: Bool? = state.withLock { state in
                if state.gaps.contains(where: { $0.contains(sequence) }) { return false }
                if state.delivered >= sequence { return true }
                let id = state.nextWaiter
                state.nextWaiter += 1
                // Waits for the lock, so that it finds the waiter.
                let timer = Task {
                    try await Task.sleep(for: limit)
                    self.state.withLock { $0.waiters.removeValue(forKey: id) }?.turn.resume(returning: false)
                }
                state.waiters[id] = Waiter(sequence: sequence, turn: turn, timer: timer)
                return nil
            }
            if let isThere { turn.resume(returning: isThere) }
        }
    }

    /// Gives what waits some time to go. Nothing may be added after it.
    func shutdown(atMost limit: Duration) async {
        let last = state.withLock { $0.queue.last?.last ?? 0 }
        _ = await wait(for: last, atMost: limit)
        let task = state.withLock { $0.task }
        wake.finish()
        task?.cancel()
        await task?.value
        await sink.shutdown()
    }

    private func run() async {
        for await _ in signals {
            while let copies = next() {
                guard await deliver(copies) else { return }
            }
        }
    }

    private func next() -> [AuditCopy]? {
        state.withLock { $0.queue.isEmpty ? nil : Array($0.queue.prefix(Self.batch)) }
    }

    /// - Returns: false where it was cancelled before the sink took them.
    private func deliver(_ copies: [AuditCopy]) async -> Bool {
        var pause = Self.firstPause
        while true {
            do {
                try await sink.send(copies)
                delivered(copies)
                return true
            } catch {
                state.withLock { $0.failure = "\(error)" }
                if (try? await Task.sleep(for: pause)) == nil { return false }
                pause = min(pause * 2, Self.longestPause)
            }
        }
    }

    private func delivered(_ copies: [AuditCopy]) {
        let woken = state.withLock { state -> [Waiter] in
            state.failure = nil
            for copy in copies { state.delivered = max(state.delivered, copy.last) }
            for copy in copies where copy.isGap { state.remember(copy.first...copy.last) }
            // A gap at the end may have grown while it was told: what it grew by is told again.
            let last = copies[copies.count - 1]
            let grown = state.queue[copies.count - 1]
            state.queue.removeFirst(copies.count)
            if grown.last > last.last { state.queue.insert(AuditCopy(gap: last.last + 1...grown.last), at: 0) }
            let ready = state.waiters.filter { $0.value.sequence <= state.delivered }
            for id in ready.keys { state.waiters[id] = nil }
            return Array(ready.values)
        }
        let gaps = state.withLock { $0.gaps }
        for waiter in woken {
            waiter.timer.cancel()
            waiter.turn.resume(returning: !gaps.contains { $0.contains(waiter.sequence) })
        }
    }
}
