import CoreMetrics
import Synchronization

/// A label with its value.
struct MetricLabel: Sendable, Hashable, Comparable {
    let name: String
    let value: String

    static func < (left: Self, right: Self) -> Bool { (left.name, left.value) < (right.name, right.value) }
}

/// One metric with one set of labels.
enum MetricSeries: Sendable {
    case counter(CounterSeries)
    case gauge(GaugeSeries)
    case histogram(HistogramSeries)
}

/// Only goes up.
final class CounterSeries: CounterHandler {
    private let total = Atomic<Int64>(0)

    var value: Int64 { total.load(ordering: .relaxed) }

    func increment(by amount: Int64) {
        guard amount > 0 else { return }
        // Wraps after 2^63, which Prometheus takes for a restart.
        total.wrappingAdd(amount, ordering: .relaxed)
    }

    /// Takes over a count that somebody else keeps.
    func raise(to value: Int64) { total.max(value, ordering: .relaxed) }

    /// A counter that went back would look like a restart.
    func reset() {}
}

/// Goes up and down.
final class GaugeSeries: MeterHandler, RecorderHandler {
    private let state = Mutex(0.0)

    var value: Double { state.withLock { $0 } }

    func set(_ value: Int64) { set(Double(value)) }
    func set(_ value: Double) { state.withLock { $0 = value } }
    func increment(by amount: Double) { state.withLock { $0 += amount } }
    func decrement(by amount: Double) { state.withLock { $0 -= amount } }
    func record(_ value: Int64) { set(Double(value)) }
    func record(_ value: Double) { set(value) }
}

/// Counts values by size.
final class HistogramSeries: TimerHandler, RecorderHandler {
    struct Snapshot: Sendable, Equatable {
        /// Values of each bucket alone; the last one is of those above all bounds.
        var counts: [UInt64]
        var sum = 0.0
        var count: UInt64 = 0
    }

    let bounds: [Double]
    private let state: Mutex<Snapshot>

    init(bounds: [Double]) {
        self.bounds = bounds
        state = Mutex(Snapshot(counts: Array(repeating: 0, count: bounds.count + 1)))
    }

    var snapshot: Snapshot { state.withLock { $0 } }

    /// A bucket holds what is not above its bound. What is no number is not counted.
    func observe(_ value: Double) {
        guard !value.isNaN else { return }
        let bucket = bounds.firstIndex { value <= $0 } ?? bounds.count
        state.withLock {
            $0.counts[bucket] += 1
            $0.sum += value
            $0.count += 1
        }
    }

    func recordNanoseconds(_ duration: Int64) { observe(Double(max(0, duration)) / 1e9) }
    func record(_ value: Int64) { observe(Double(value)) }
    func record(_ value: Double) { observe(value) }
}
