import CoreMetrics

/// A metric by name: what it counts, and by which labels it is told apart.
///
/// What is measured goes to the factory of swift-metrics that the process was started with; without one it goes
/// nowhere. Values of labels are few and known beforehand: never an id, a subject, a path or anything of a request.
public struct MetricDefinition: Sendable, Hashable {
    public enum Kind: String, Sendable {
        case counter
        case gauge
        case histogram
    }

    /// As Prometheus knows it; histograms have their unit at the end, counters `_total`.
    public let name: String
    public let kind: Kind
    /// What it says, in one sentence.
    public let help: String
    /// The labels' names, in the order in which values are given.
    public let labels: [String]
    /// Upper bounds of a histogram's buckets, ascending and without infinity; empty for other kinds.
    public let buckets: [Double]

    /// Seconds, 0.5 ms to 60 s: an HE stage takes milliseconds, a large circuit a minute.
    public static let seconds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]
    /// Bytes, 1 KiB to 1 GiB.
    public static let bytes: [Double] = stride(from: 10, through: 30, by: 2).map { Double(1 << $0) }

    public static func counter(_ name: String, _ help: String, labels: [String] = []) -> Self {
        Self(name: name, kind: .counter, help: help, labels: labels, buckets: [])
    }

    public static func gauge(_ name: String, _ help: String, labels: [String] = []) -> Self {
        Self(name: name, kind: .gauge, help: help, labels: labels, buckets: [])
    }

    public static func histogram(
        _ name: String, _ help: String, labels: [String] = [], buckets: [Double] = seconds
    ) -> Self {
        Self(name: name, kind: .histogram, help: help, labels: labels, buckets: buckets)
    }

    /// Adds to a counter.
    /// - Parameter values: of ``labels``, in their order.
    public func increment(by amount: Int = 1, _ values: String...) {
        Counter(label: name, dimensions: dimensions(values)).increment(by: amount)
    }

    /// Takes a duration into a histogram of seconds.
    public func record(_ duration: Duration, _ values: String...) {
        let (seconds, attoseconds) = duration.components
        let nanoseconds = seconds.multipliedReportingOverflow(by: 1_000_000_000)
        guard !nanoseconds.overflow else { return }
        CoreMetrics.Timer(label: name, dimensions: dimensions(values))
            .recordNanoseconds(nanoseconds.partialValue + attoseconds / 1_000_000_000)
    }

    /// Moves a gauge up, or down for a negative amount.
    public func move(by amount: Int, _ values: String...) {
        let meter = Meter(label: name, dimensions: dimensions(values))
        if amount < 0 { meter.decrement(by: Double(-amount)) } else { meter.increment(by: Double(amount)) }
    }

    /// Sets a gauge.
    public func set(to value: Double, _ values: String...) {
        Meter(label: name, dimensions: dimensions(values)).set(value)
    }

    func dimensions(_ values: [String]) -> [(String, String)] {
        assert(values.count == labels.count, "\(name) has the labels \(labels)")
        return Array(zip(labels, values))
    }
}
