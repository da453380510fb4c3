import Foundation
import Observability
import Testing
import Yams

/// Dashboard, alert rules and documentation name what there is.
@Suite struct FilesTests {
    private static let repository = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()
    private static let definitions = Dictionary(
        MetricCatalog.all.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

    private func text(_ path: String) throws -> String {
        try String(contentsOf: Self.repository.appendingPathComponent(path), encoding: .utf8)
    }

    /// The metric that a name in a query is of: histograms have three.
    private func definition(_ name: String) -> MetricDefinition? {
        if let definition = Self.definitions[name], definition.kind != .histogram { return definition }
        for suffix in ["_bucket", "_sum", "_count"] where name.hasSuffix(suffix) {
            if let definition = Self.definitions[String(name.dropLast(suffix.count))], definition.kind == .histogram {
                return definition
            }
        }
        return nil
    }

    /// Metrics in a query, with the labels that it asks of them.
    private func uses(_ query: String) -> [(name: String, labels: [String])] {
        query.matches(of: /(hkms_[a-z0-9_]+)(?:\{([^}]*)\})?/).map { match in
            let labels = (match.2 ?? "").matches(of: /([a-z_]+) *(?:=~|!~|!=|=)/).map { String($0.1) }
            return (String(match.1), labels)
        }
    }

    private func check(_ queries: [String]) {
        for query in queries {
            for (name, labels) in uses(query) {
                guard let definition = definition(name) else {
                    Issue.record("\(name) is no metric: \(query)")
                    continue
                }
                for label in labels where !["instance", "job", "le"].contains(label) {
                    #expect(definition.labels.contains(label), "\(name) has no label \(label)")
                }
            }
            let grouped = query.matches(of: /by \(([^)]*)\)/).flatMap { $0.1.split(separator: ",") }
                .map { $0.trimmingCharacters(in: .whitespaces) }
            let known = Set(uses(query).flatMap { definition($0.name)?.labels ?? [] } + ["instance", "job", "le"])
            #expect(known.isSuperset(of: grouped), "\(query)")
            #expect(query.filter { $0 == "(" }.count == query.filter { $0 == ")" }.count, "\(query)")
        }
    }

    @Test func `the dashboard asks for metrics that are there`() throws {
        let dashboard = try #require(
            try JSONSerialization.jsonObject(with: Data(try text("deploy/grafana/hkms.json").utf8)) as? [String: Any])
        let panels = try #require(dashboard["panels"] as? [[String: Any]])
        let queries = panels.flatMap { $0["targets"] as? [[String: Any]] ?? [] }.compactMap { $0["expr"] as? String }
        #expect(queries.count > 30)
        check(queries)
        let used = Set(queries.flatMap(uses).compactMap { definition($0.name)?.name })
        // Everything that is measured is to be seen.
        #expect(used == Set(Self.definitions.keys))
        let ids = panels.compactMap { $0["id"] as? Int }
        #expect(Set(ids).count == panels.count)
    }

    @Test func `alert rules are rules on metrics that are there`() throws {
        let file = try #require(try Yams.load(yaml: try text("deploy/prometheus/alerts.yaml")) as? [String: Any])
        let groups = try #require(file["groups"] as? [[String: Any]])
        let rules = groups.flatMap { $0["rules"] as? [[String: Any]] ?? [] }
        #expect(rules.count >= 10)
        var names: Set<String> = []
        let documentation = try text("docs/observability.md")
        for rule in rules {
            let name = try #require(rule["alert"] as? String)
            #expect(names.insert(name).inserted && documentation.contains("`\(name)`"), "\(name)")
            let query = try #require(rule["expr"] as? String)
            check([query])
            #expect(!uses(query).isEmpty || query.hasPrefix("up{"))
            let annotations = try #require(rule["annotations"] as? [String: Any])
            #expect(annotations["summary"] is String && annotations["description"] is String)
            let severity = try #require((rule["labels"] as? [String: Any])?["severity"] as? String)
            #expect(["critical", "warning", "info"].contains(severity))
        }
    }

    @Test func `the documentation lists every metric with its labels, and no other`() throws {
        let documentation = try text("docs/observability.md")
        for definition in MetricCatalog.all {
            let labels = definition.labels.map { "`\($0)`" }.joined(separator: ", ")
            let row = "| `\(definition.name)` | \(definition.kind.rawValue) | \(labels.isEmpty ? "-" : labels) |"
            #expect(documentation.contains(row), "\(row)")
        }
        for (name, _) in uses(documentation) {
            #expect(definition(name) != nil || Self.definitions[name] != nil, "\(name)")
        }
    }
}
