import Tracing

/// Spans within a request.
public enum Spans {
    /// The trace that the current task is part of: 32 hex digits.
    public static var currentTraceID: String? { InstrumentationContext.current?.trace?.traceID.hex }

    /// Runs `body` in a span of its own; what runs in no trace begins none.
    /// - Parameters:
    ///   - name: of the operation, the same for all its calls.
    ///   - attributes: by names that ``SpanRecord`` may say.
    public static func within<Result>(
        _ name: String, kind: SpanKind = .internal, attributes: [String: String] = [:],
        isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
    ) async rethrows -> Result {
        guard InstrumentationContext.current?.trace != nil else { return try await body() }
        return try await withSpan(name, ofKind: kind, isolation: isolation) { span in
            if !attributes.isEmpty {
                span.updateAttributes { for (name, value) in attributes { $0[name] = value } }
            }
            return try await body()
        }
    }

    /// The same for what tells its outcome: `ok`, or the name of a failure.
    public static func within(
        _ name: String, attributes: [String: String], outcome body: () async -> String
    ) async {
        guard InstrumentationContext.current?.trace != nil else {
            _ = await body()
            return
        }
        await withSpan(name, ofKind: .internal) { span in
            let outcome = await body()
            span.updateAttributes {
                for (name, value) in attributes { $0[name] = value }
                $0["hkms.outcome"] = outcome
            }
            if outcome != "ok" { span.setStatus(SpanStatus(code: .error)) }
        }
    }
}
