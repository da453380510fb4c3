import CoreMetrics
import Synchronization

/// Metrics of one process, for Prometheus to scrape.
///
/// A factory of swift-metrics: timers and aggregating recorders become histograms, meters and other recorders gauges.
/// One lock finds a series by its labels; counting has locks of its own, each series one. Series stay until the process
/// ends, and their number is bounded, so that no label can use memory up.
public final class PrometheusRegistry: MetricsFactory {
    /// Series of a process, where nothing else is asked for.
    public static let defaultSeriesLimit = 4096

    private struct Family {
        let definition: MetricDefinition
        var series: [[MetricLabel]: MetricSeries] = [:]
    }

    private struct State {
        var families: [String: Family] = [:]
        var seriesCount = 0
        var readers: [@Sendable (PrometheusRegistry) async -> Void] = []
    }

    private let seriesLimit: Int
    private let state = Mutex(State())
    private let refused = CounterSeries()

    /// - Parameters:
    ///   - definitions: help, and buckets, of metrics by name; others may be measured, too.
    ///   - seriesLimit: at most so many pairs of a metric and its labels. Further ones are counted in
    ///     `hkms_metrics_refused_total` and thrown away.
    public init(_ definitions: [MetricDefinition] = MetricCatalog.all, seriesLimit: Int = defaultSeriesLimit) {
        self.seriesLimit = seriesLimit
        state.withLock { state in
            for definition in definitions {
                state.families[definition.name] = Family(definition: definition)
            }
            state.families[MetricCatalog.seriesRefused.name] = Family(
                definition: MetricCatalog.seriesRefused, series: [[]: .counter(refused)])
        }
        // There from the start, so that the first event is an increase.
        for definition in definitions where definition.kind == .counter && definition.labels.isEmpty {
            _ = series(definition.name, [], .counter)
        }
    }

    // MARK: What is read when it is asked for

    /// Has `read` called at every scrape, before it is answered; it sets gauges with ``set(_:to:_:)``.
    public func onScrape(_ read: @escaping @Sendable (PrometheusRegistry) async -> Void) {
        state.withLock { $0.readers.append(read) }
    }

    /// Sets a gauge, or raises a counter that is kept elsewhere.
    /// - Parameter values: of the definition's labels, in their order.
    public func set(_ definition: MetricDefinition, to value: Double, _ values: String...) {
        switch series(definition.name, definition.dimensions(values), definition.kind) {
        case .counter(let counter): counter.raise(to: Int64(exactly: value.rounded()) ?? 0)
        case .gauge(let gauge): gauge.set(value)
        case .histogram(let histogram): histogram.observe(value)
        case nil: break
        }
    }

    /// The answer to a scrape: calls the readers, then writes everything down.
    public func scrape() async -> String {
        for read in state.withLock({ $0.readers }) { await read(self) }
        return exposition()
    }

    /// Everything in the text format of Prometheus, sorted by name and labels.
    public func exposition() -> String {
        let families = state.withLock { Array($0.families.values) }
        var text = ""
        for family in families.sorted(by: { $0.definition.name < $1.definition.name }) where !family.series.isEmpty {
            let series = family.series.map { (labels: $0.key, series: $0.value) }
                .sorted { $0.labels.lexicographicallyPrecedes($1.labels) }
            PrometheusText.family(family.definition, series, into: &text)
        }
        return text
    }

    /// Names of all metrics that were defined or measured, ascending.
    public var names: [String] { state.withLock { $0.families.keys.sorted() } }

    // MARK: MetricsFactory

    public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        if case .counter(let counter) = series(label, dimensions, .counter) { return counter }
        return NOOPMetricsHandler.instance
    }

    public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
        if case .gauge(let gauge) = series(label, dimensions, .gauge) { return gauge }
        return NOOPMetricsHandler.instance
    }

    public func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        switch series(label, dimensions, aggregate ? .histogram : .gauge) {
        case .gauge(let gauge): return gauge
        case .histogram(let histogram): return histogram
        case .counter, nil: return NOOPMetricsHandler.instance
        }
    }

    public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        if case .histogram(let histogram) = series(label, dimensions, .histogram) { return histogram }
        return NOOPMetricsHandler.instance
    }

    // What was counted stays, whoever counted it: a series that vanishes and comes back looks like a restart.
    public func destroyCounter(_ handler: any CounterHandler) {}
    public func destroyMeter(_ handler: any MeterHandler) {}
    public func destroyRecorder(_ handler: any RecorderHandler) {}
    public func destroyTimer(_ handler: any TimerHandler) {}

    /// - Returns: nil where there is no place for it, or the name is of another kind.
    private func series(
        _ label: String, _ dimensions: [(String, String)], _ kind: MetricDefinition.Kind
    ) -> MetricSeries? {
        let name = PrometheusText.name(label, colons: true)
        let labels = Self.labels(dimensions)
        let found: MetricSeries? = state.withLock { state in
            if let family = state.families[name] {
                guard family.definition.kind == kind else { return nil }
                if let series = family.series[labels] { return series }
            }
            guard state.seriesCount < seriesLimit else { return nil }
            let definition =
                state.families[name]?.definition
                ?? MetricDefinition(
                    name: name, kind: kind, help: "", labels: labels.map(\.name),
                    buckets: kind == .histogram ? MetricDefinition.seconds : [])
            let series: MetricSeries =
                switch kind {
                case .counter: .counter(CounterSeries())
                case .gauge: .gauge(GaugeSeries())
                case .histogram: .histogram(HistogramSeries(bounds: definition.buckets))
                }
            state.families[name, default: Family(definition: definition)].series[labels] = series
            state.seriesCount += 1
            return series
        }
        if found == nil { refused.increment(by: 1) }
        return found
    }

    /// Sorted, each name once: the last value counts.
    private static func labels(_ dimensions: [(String, String)]) -> [MetricLabel] {
        var values: [String: String] = [:]
        for (name, value) in dimensions {
            let name = PrometheusText.name(name, colons: false)
            // `le` is the histograms' own.
            values[name == "le" ? "exported_le" : name] = value
        }
        return values.map { MetricLabel(name: $0.key, value: $0.value) }.sorted()
    }
}
