import DataFiles
import Foundation
import HKMSClient
import ServiceKit
import Testing

/// One prediction between real processes, as metrics, traces and logs tell it.
@Suite(.serialized) struct ObservabilityTests {
    private static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"

    private func body(keySet: String) throws -> Data {
        let records = try RecordFile(Array(try Data(contentsOf: Installation.records))).records
        return Data(try APIJSON.encode(PredictRequest(keySet: keySet, records: Array(records.prefix(8)))))
    }

    @Test("one trace id across gateway, unit and KMS; metrics of both; and nobody's name in either")
    func prediction() async throws {
        let collector = try TraceCollector()
        let (gatewayMetrics, unitMetrics) = (try Installation.freePort(), try Installation.freePort())
        func lines(_ port: Int) -> String {
            "metrics: {listen: {port: \(port)}}\ntracing: {endpoint: 'http://127.0.0.1:\(collector.port)'}\n"
        }
        try await Installation.use(
            .openbao, lines: ["hkms.yaml": lines(gatewayMetrics), "evaluator.yaml": lines(unitMetrics)]
        ) { installation in
            let keySet = try await installation.alice.register(
                RegisterRequest(requestId: "r", mode: "direct", model: "heart-disease")
            ).body.id
            let request = installation.folder.appendingPathComponent("predict.json")
            try body(keySet: keySet).write(to: request)
            let parent = "00f067aa0ba902b7"
            let answer = try installation.curl(
                "-H", "traceparent: 00-\(Self.trace)-\(parent)-01", "-H", "Content-Type: application/json",
                "--data-binary", "@\(request.path)", "-w", "\n%{http_code}",
                installation.gatewayURL + "/v1/models/heart-disease/predict?who=nobody")
            try #require(answer.out.hasSuffix("\n200"), "\(answer.out.suffix(500))")

            // Spans come in batches, some time later.
            func own() throws -> [TraceCollector.Span] { try collector.spans().filter { $0.trace == Self.trace } }
            for _ in 0..<600 {
                let names = Set(try own().map { "\($0.service) \($0.name)" })
                if names.isSuperset(of: [
                    "hkms-gateway POST /v1/models/{model}/predict", "hkms-evaluator POST /v1/evaluate",
                ]) {
                    break
                }
                try await Task.sleep(for: .milliseconds(50))
            }
            let spans = try own()
            func only(_ service: String, _ name: String) throws -> TraceCollector.Span {
                try #require(spans.first { $0.service == service && $0.name == name }, "no span \(name) of \(service)")
            }
            func parents(_ span: TraceCollector.Span) -> [TraceCollector.Span] {
                guard let parent = spans.first(where: { $0.id == span.parent }) else { return [] }
                return [parent] + parents(parent)
            }
            let root = try only("hkms-gateway", "POST /v1/models/{model}/predict")
            #expect(root.parent == parent && root.attributes["http.response.status_code"] == "200")
            let evaluated = try only("hkms-evaluator", "POST /v1/evaluate")
            #expect(parents(evaluated).map(\.service).allSatisfy { $0 == "hkms-gateway" })
            #expect(parents(evaluated).last?.id == root.id)
            let evaluation = try only("hkms-evaluator", "evaluation")
            #expect(parents(evaluation).first?.id == evaluated.id)
            let opened = try only("hkms-gateway", "kms open")
            #expect(opened.attributes["hkms.provider"] == "openbao" && opened.attributes["hkms.outcome"] == "ok")
            #expect(parents(opened).map(\.name).first == "open" && parents(opened).last?.id == root.id)
            // The request to the KMS itself.
            #expect(spans.contains { $0.parent == opened.id && $0.attributes["http.request.method"] == "POST" })
            #expect(spans.contains { $0.name == "metadata apply" } && spans.contains { $0.name == "decryption" })

            // Metrics of both.
            func scrape(_ port: Int) throws -> String {
                let answer = try installation.curl("-i", "http://127.0.0.1:\(port)/metrics")
                #expect(answer.out.contains("text/plain; version=0.0.4"))
                return answer.out
            }
            let (gateway, unit) = (try scrape(gatewayMetrics), try scrape(unitMetrics))
            for line in [
                #"hkms_http_request_duration_seconds_bucket{method="POST",route="/v1/models/{model}/predict","#
                    + #"status="200",le="+Inf"} 1"#,
                #"hkms_stage_duration_seconds_count{stage="open"} 1"#,
                #"hkms_stage_duration_seconds_count{stage="decryption"} 1"#,
                // One for the installation's own keys.
                #"hkms_kms_duration_seconds_count{operation="open",outcome="ok",provider="openbao"} 2"#,
                #"hkms_storage_duration_seconds_count{operation="get",outcome="ok",store="objects"} "#,
                "hkms_decryptions_total 1", "hkms_decryption_failures_total 0", "hkms_compute_threads ",
                "hkms_jobs_running 0", "hkms_locked_memory_bytes ", "hkms_ready 1",
            ] {
                #expect(gateway.contains("\n" + line), "\(line)")
            }
            for line in [
                #"hkms_stage_duration_seconds_count{stage="prediction"} 1"#,
                #"hkms_unit_key_cache_total{result="hit"} 1"#, "hkms_unit_key_cache_bytes ", "hkms_compute_threads ",
            ] {
                #expect(unit.contains("\n" + line), "\(line)")
            }

            // Nobody's name, token or key set.
            let token = try String(contentsOfFile: installation.tokenFile, encoding: .utf8)
                .trimmingCharacters(in: .whitespacesAndNewlines)
            let bao = try #require(ProcessInfo.processInfo.environment["HKMS_TEST_OPENBAO_TOKEN"])
            let told = collector.bodies
            #expect(told.contains(Self.trace))
            for hidden in [keySet, token, bao, "developer", "who=nobody", installation.key] {
                #expect(!told.contains(hidden), "a span tells \(hidden.prefix(8))")
                #expect(!gateway.contains(hidden) && !unit.contains(hidden), "a metric tells \(hidden.prefix(8))")
            }

            // The log names the trace.
            for name in ["gateway.log", "unit.log"] {
                let log = try String(
                    contentsOf: installation.folder.appendingPathComponent(name), encoding: .utf8)
                #expect(log.split(separator: "\n").contains { $0.contains("trace=\(Self.trace)") }, "\(name)")
            }
            // The API's own listener has no metrics.
            let other = try installation.curl(
                "-o", "/dev/null", "-w", "%{http_code}", installation.gatewayURL + "/metrics")
            #expect(other.out == "404")
        }
    }

    @Test("log lines for machines are one JSON object each")
    func jsonLines() async throws {
        try await Installation.use { installation in
            installation.killGateway()
            try await installation.start(options: ["--log-format", "json"])
            let missing = try installation.curl(installation.gatewayURL + "/v1/keysets/no%0a%22such")
            #expect(missing.out.contains("unknown-key-set"))
            let log = try String(
                contentsOf: installation.folder.appendingPathComponent("gateway.log"), encoding: .utf8)
            let lines = log.split(separator: "\n").filter { $0.hasPrefix("{") }
            let objects = try lines.map { try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] }
            #expect(
                objects.allSatisfy { $0?["time"] is String && $0?["level"] is String && $0?["component"] is String })
            let request = objects.compactMap { $0 }.first {
                ($0["path"] as? String)?.contains("/v1/keysets/no") == true
            }
            #expect(request?["status"] as? String == "404" && (request?["trace"] as? String)?.utf8.count == 32)
            // What it said before it was told to say it in JSON is not mixed in.
            let first = try #require(log.range(of: "\n{"))
            #expect(log[first.upperBound...].split(separator: "\n").dropFirst().allSatisfy { $0.hasPrefix("{") })
        }
    }
}
