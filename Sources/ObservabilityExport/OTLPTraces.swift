import Observability
import Tracing

/// Spans as OTLP/HTTP takes them in JSON: ids in hex, 64-bit numbers as decimal text.
public enum OTLPTraces {
    public static let mediaType = "application/json"

    /// A request for `/v1/traces`.
    /// - Parameter resource: attributes of who sends it, `service.name` first among them.
    public static func request(_ spans: [SpanRecord], resource: [(name: String, value: String)]) -> String {
        let attributes = resource.map { attribute($0.name, .text($0.value)) }
        let scope = JSONText.object([(name: "name", json: JSONText.quoted("hkms"))])
        let scopeSpans = JSONText.object([
            (name: "scope", json: scope), (name: "spans", json: JSONText.array(spans.map(span))),
        ])
        let resourceSpans = JSONText.object([
            (name: "resource", json: JSONText.object([(name: "attributes", json: JSONText.array(attributes))])),
            (name: "scopeSpans", json: JSONText.array([scopeSpans])),
        ])
        return JSONText.object([(name: "resourceSpans", json: JSONText.array([resourceSpans]))])
    }

    private static func span(_ span: SpanRecord) -> String {
        var members = [
            (name: "traceId", json: JSONText.quoted(span.traceID.hex)),
            (name: "spanId", json: JSONText.quoted(span.spanID.hex)),
        ]
        if let parent = span.parent { members.append((name: "parentSpanId", json: JSONText.quoted(parent.hex))) }
        if !span.state.isEmpty { members.append((name: "traceState", json: JSONText.quoted(span.state.text))) }
        members += [
            (name: "name", json: JSONText.quoted(span.name)),
            (name: "kind", json: String(number(span.kind))),
            (name: "startTimeUnixNano", json: JSONText.quoted(String(span.start))),
            (name: "endTimeUnixNano", json: JSONText.quoted(String(span.end))),
            (name: "attributes", json: JSONText.array(span.attributes.map { attribute($0.name, $0.value) })),
            // 2 says error; without it nobody said anything.
            (name: "status", json: span.isError ? #"{"code":2}"# : "{}"),
        ]
        return JSONText.object(members)
    }

    private static func number(_ kind: SpanKind) -> Int {
        switch kind {
        case .internal: 1
        case .server: 2
        case .client: 3
        case .producer: 4
        case .consumer: 5
        }
    }

    private static func attribute(_ name: String, _ value: SpanRecord.Value) -> String {
        let typed: (name: String, json: String) =
            switch value {
            case .text(let text): (name: "stringValue", json: JSONText.quoted(text))
            case .integer(let number): (name: "intValue", json: JSONText.quoted(String(number)))
            case .number(let number) where number.isFinite: (name: "doubleValue", json: "\(number)")
            case .number(let number):
                (
                    name: "doubleValue",
                    json: JSONText.quoted(number.isNaN ? "NaN" : number < 0 ? "-Infinity" : "Infinity")
                )
            case .boolean(let value): (name: "boolValue", json: value ? "true" : "false")
            }
        return JSONText.object([
            (name: "key", json: JSONText.quoted(name)), (name: "value", json: JSONText.object([typed])),
        ])
    }
}
