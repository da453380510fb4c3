import Observability

/// One call of a system that the gateway depends on: a value of a histogram, and a span where there is a trace.
enum ObservedCall {
    /// Whom is called.
    enum System {
        case kms(String)
        /// `objects` or `metadata`
        case store(String)
    }

    /// Runs `body`; what it calls by HTTP is part of its span.
    /// - Parameter name: of a failure.
    static func run<Result, Failure: Error>(
        _ system: System, _ operation: String, _ name: (Failure) -> String,
        _ body: () async throws(Failure) -> Result
    ) async throws(Failure) -> Result {
        let start = ContinuousClock.now
        var answer: Swift.Result<Result, Failure>?
        await Spans.within(Self.name(system, operation), attributes: attributes(system, operation)) {
            var outcome = "ok"
            do throws(Failure) {
                answer = .success(try await body())
            } catch {
                answer = .failure(error)
                outcome = name(error)
            }
            record(system, operation, ContinuousClock.now - start, outcome)
            return outcome
        }
        guard let answer else { preconditionFailure("an answer or an error") }
        return try answer.get()
    }

    private static func record(_ system: System, _ operation: String, _ duration: Duration, _ outcome: String) {
        switch system {
        case .kms(let provider): MetricCatalog.kmsDuration.record(duration, provider, operation, outcome)
        case .store(let store): MetricCatalog.storageDuration.record(duration, store, operation, outcome)
        }
    }

    private static func name(_ system: System, _ operation: String) -> String {
        switch system {
        case .kms: "kms \(operation)"
        case .store(let store): "\(store) \(operation)"
        }
    }

    private static func attributes(_ system: System, _ operation: String) -> [String: String] {
        switch system {
        case .kms(let provider): ["hkms.provider": provider, "hkms.operation": operation]
        case .store(let store): ["hkms.store": store, "hkms.operation": operation]
        }
    }
}
