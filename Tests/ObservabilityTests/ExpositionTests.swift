import CoreMetrics
import Observability
import TestSupport
import Testing

/// The text that Prometheus reads.
@Suite struct ExpositionTests {
    private static let requests = MetricDefinition.counter("requests_total", "Requests.", labels: ["route", "status"])
    private static let wait = MetricDefinition.histogram("wait_seconds", "Waits.", buckets: [0.5, 1])

    /// What the registry says, without its own counter.
    private func text(_ registry: PrometheusRegistry) -> String {
        registry.exposition().split(separator: "\n", omittingEmptySubsequences: false)
            .filter { !$0.contains("hkms_metrics_refused_total") }.joined(separator: "\n")
    }

    @Test func `counters, gauges and histograms are written as the format says`() {
        let registry = PrometheusRegistry([Self.requests, Self.wait])
        withMetricsFactory(registry) {
            Self.requests.increment("/v1/b", "200")
            Self.requests.increment(by: 2, "/v1/a", "200")
            Self.requests.increment("/v1/b", "200")
            for milliseconds in [250, 500, 750, 2000] { Self.wait.record(.milliseconds(milliseconds)) }
            Meter(label: "depth").set(2.5)
            Meter(label: "depth").decrement(by: 1)
        }
        #expect(
            text(registry) == """
                # TYPE depth gauge
                depth 1.5
                # HELP requests_total Requests.
                # TYPE requests_total counter
                requests_total{route="/v1/a",status="200"} 2
                requests_total{route="/v1/b",status="200"} 2
                # HELP wait_seconds Waits.
                # TYPE wait_seconds histogram
                wait_seconds_bucket{le="0.5"} 2
                wait_seconds_bucket{le="1"} 3
                wait_seconds_bucket{le="+Inf"} 4
                wait_seconds_sum 3.5
                wait_seconds_count 4

                """)
    }

    @Test func `labels and help are escaped, names made valid`() {
        let odd = MetricDefinition.counter("odd", "a \\ and\na line", labels: ["text"])
        let registry = PrometheusRegistry([odd])
        withMetricsFactory(registry) {
            odd.increment("a\\b\"c\"\nd 1\n# TYPE x counter")
            Counter(label: "7 names.of-others", dimensions: [("le", "1"), ("9-x", "é"), ("", "y")]).increment()
        }
        #expect(
            text(registry) == #"""
                # TYPE __names_of_others counter
                __names_of_others{_="y",__x="é",exported_le="1"} 1
                # HELP odd a \\ and\na line
                # TYPE odd counter
                odd{text="a\\b\"c\"\nd 1\n# TYPE x counter"} 1

                """#)
    }

    @Test func `counters without labels are there from the start`() {
        let text = PrometheusRegistry().exposition()
        #expect(text.contains("\nhkms_decryption_failures_total 0\n"))
        #expect(text.contains("\nhkms_metrics_refused_total 0\n"))
    }

    @Test func `what has no place is counted and not kept`() {
        let registry = PrometheusRegistry([Self.requests], seriesLimit: 3)
        withMetricsFactory(registry) {
            for number in 0..<10 { Self.requests.increment("/\(number)", "200") }
            Self.requests.increment("/1", "200")
            // One name is of one kind.
            Meter(label: "requests_total").set(1)
        }
        let lines = registry.exposition().split(separator: "\n")
        #expect(lines.filter { $0.hasPrefix("requests_total{") }.count == 3)
        #expect(lines.contains(#"requests_total{route="/1",status="200"} 2"#))
        #expect(lines.contains("hkms_metrics_refused_total 8"))
    }

    @Test func `gauges are read when somebody asks`() async {
        let depth = MetricDefinition.gauge("depth", "Depth.", labels: ["pool"])
        let sent = MetricDefinition.counter("sent_total", "Sent.")
        let registry = PrometheusRegistry([depth, sent])
        registry.onScrape { registry in
            registry.set(depth, to: 3, "he")
            registry.set(sent, to: 7)
        }
        #expect(!registry.exposition().contains("depth"))
        let text = await registry.scrape()
        #expect(text.contains("depth{pool=\"he\"} 3\n") && text.contains("sent_total 7\n"))
        // A counter that somebody else keeps does not go back.
        registry.set(sent, to: 5)
        #expect(registry.exposition().contains("sent_total 7\n"))
    }

    @Test func `a histogram counts each value once, in every bucket from its own on`() throws {
        var generator = SeededGenerator(6)
        for _ in 0..<50 {
            let count = Int.random(in: 1...20, using: &generator)
            let bounds = Set((0..<count).map { _ in Double.random(in: 0...10, using: &generator) }).sorted()
            let registry = PrometheusRegistry([.histogram("h", "", buckets: bounds)])
            let values = (0..<200).map { _ in
                // Every bound itself, too: it belongs to its bucket.
                Bool.random(using: &generator)
                    ? bounds.randomElement(using: &generator) ?? 0 : Double.random(in: -1...12, using: &generator)
            }
            withMetricsFactory(registry) {
                // A recorder, since a timer takes whole nanoseconds.
                let recorder = Recorder(label: "h", aggregate: true)
                for value in values + [.nan] { recorder.record(value) }
            }
            let lines = registry.exposition().split(separator: "\n").filter { $0.hasPrefix("h_") }
            let counts = lines.compactMap { $0.split(separator: " ").last.flatMap { Double($0) } }
            try #require(counts.count == bounds.count + 3)
            for (bound, found) in zip(bounds + [.infinity], counts) {
                #expect(found == Double(values.filter { $0 <= bound }.count))
            }
            #expect(abs(counts[bounds.count + 1] - values.reduce(0, +)) < 1e-9)
            #expect(counts[bounds.count + 2] == 200)
        }
    }

    @Test func `many threads lose nothing`() async {
        let counter = MetricDefinition.counter("c_total", "", labels: ["n"])
        let registry = PrometheusRegistry([counter, Self.wait])
        await withMetricsFactory(registry) {
            await withTaskGroup(of: Void.self) { group in
                for task in 0..<8 {
                    group.addTask {
                        for _ in 0..<1000 {
                            counter.increment("\(task % 2)")
                            Self.wait.record(.seconds(1))
                        }
                    }
                }
            }
        }
        let text = registry.exposition()
        #expect(text.contains("c_total{n=\"0\"} 4000\n") && text.contains("c_total{n=\"1\"} 4000\n"))
        #expect(text.contains("wait_seconds_sum 8000\n") && text.contains("wait_seconds_count 8000\n"))
    }

    @Test func `the catalog names each metric once, by the conventions`() {
        let names = MetricCatalog.all.map(\.name)
        #expect(Set(names).count == names.count)
        for definition in MetricCatalog.all {
            #expect(definition.name.hasPrefix("hkms_") && !definition.help.isEmpty)
            #expect((definition.kind == .counter) == definition.name.hasSuffix("_total"), "\(definition.name)")
            if definition.kind == .histogram { #expect(definition.name.hasSuffix("_seconds")) }
            #expect(definition.buckets == definition.buckets.sorted())
        }
        #expect(MetricDefinition.seconds.first == 0.0005 && MetricDefinition.seconds.last == 60)
        #expect(MetricDefinition.bytes.first == 1024 && MetricDefinition.bytes.last == Double(1 << 30))
    }
}
