import KeyManagement
import SecretMemory
import TestSupport
import Testing

// The network between adapter and backend, and a backend that has enough. After every fault the very next call
// succeeds: nothing of it may stick.
extension TrustedKMSConformance {
    static func refusedConnectionIsUnavailable(
        _ subject: any ConformanceSubject
    ) async throws -> ConformanceOutcome {
        try await withFaults(subject) { kms, key, sealed, proxy in
            try await proxy.set(.refusing)
            await expectUnavailable(kms, key, sealed)
            try await proxy.set(.none)
            _ = try await kms.open(sealed, under: key, context: context, as: .service)
        }
    }

    static func answerCutShortIsUnavailable(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        try await withFaults(subject) { kms, key, sealed, proxy in
            for bytes in [0, 1, 17, 90] {
                for (operation, call) in calls(kms, key, sealed) {
                    try await proxy.set(.resetting(afterBytes: bytes))
                    expectUnavailable("\(operation) after \(bytes) bytes", await failure(call))
                    try await proxy.set(.none)
                    try await call()
                }
            }
        }
    }

    static func slowBackendIsUnavailable(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        try await withFaults(subject) { kms, key, sealed, proxy in
            try await proxy.set(.stalling)
            // All at once: each waits for its own time limit.
            await withTaskGroup(of: Void.self) { group in
                for (operation, call) in calls(kms, key, sealed) {
                    group.addTask { expectUnavailable(operation, await failure(call)) }
                }
            }
            try await proxy.set(.none)
            _ = try await kms.open(sealed, under: key, context: context, as: .service)
        }
    }

    static func unknownAuthorityIsUnavailable(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let connect) = subject.unknownAuthority else {
            return .notApplicable(reason: subject.unknownAuthority.reason)
        }
        try await withConnection(try await connect()) { kms in
            let blob = KMSSealedBlob(bytes: [UInt8](repeating: 0x41, count: 64), keyVersion: 1)
            for (operation, call) in calls(kms, freshName(), blob) where operation != "open" {
                guard case .unavailable(let reason) = await failure(call), reason.contains("TLS") else {
                    Issue.record("\(operation) with an unknown authority")
                    continue
                }
            }
        }
        return .passed
    }

    /// As load balancers answer in a server's place.
    static func proxyAnswersAreNamed(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let network) = subject.network else {
            return .notApplicable(reason: subject.network.reason)
        }
        guard network.isPlainHTTP else {
            return .notApplicable(reason: "TLS: what is between adapter and backend cannot answer in its place.")
        }
        return try await withFaults(subject) { kms, key, sealed, proxy in
            let page = "<html>\(String(repeating: "x", count: 100))</html>"
            for (operation, call) in calls(kms, key, sealed) {
                for (headers, seconds) in [(["Retry-After": "7"], 7), ([:], nil)] as [([String: String], Int?)] {
                    try await proxy.set(.answering(status: 429, headers: headers, body: page))
                    #expect(await failure(call) == .throttled(retryAfterSeconds: seconds), "\(operation)")
                }
                for status in [500, 502, 503, 504] {
                    try await proxy.set(.answering(status: status, body: page))
                    expectUnavailable("\(operation), \(status)", await failure(call))
                }
                try await proxy.set(.none)
                try await call()
            }
        }
    }

    static func throttlingIsNamed(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        guard case .has(let connect) = subject.throttling else {
            return .notApplicable(reason: subject.throttling.reason)
        }
        let connection = try await connect()
        return try await withConnection(connection.kms) { kms in
            let key = try await freshKey(kms)
            let sealed = try await sealed(kms, key)
            try await connection.begin()
            var refusal: KMSError?
            for _ in 0..<20 where refusal == nil {
                refusal = await failure {
                    _ = try await kms.open(sealed.blob, under: key, context: context, as: .service)
                }
            }
            guard case .throttled(let seconds) = refusal else {
                throw ConformanceFailure("\(String(describing: refusal))")
            }
            #expect((seconds != nil) == connection.tellsWhen)
            try await connection.end()
            try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
            return .passed
        }
    }

    // MARK: Tools

    /// A connection through a proxy, a key and something that it sealed.
    private static func withFaults(
        _ subject: any ConformanceSubject,
        _ body: (any TrustedKMS, KMSKeyName, KMSSealedBlob, FaultProxy) async throws -> Void
    ) async throws -> ConformanceOutcome {
        guard case .has(let network) = subject.network else {
            return .notApplicable(reason: subject.network.reason)
        }
        let proxy = try await FaultProxy(to: network.port)
        do {
            try await withConnection(try await network.connect(proxy.port)) { kms in
                let key = try await freshKey(kms)
                let blob = try await sealed(kms, key).blob
                try await body(kms, key, blob, proxy)
            }
            try await proxy.stop()
        } catch {
            try? await proxy.stop()
            throw error
        }
        return .passed
    }

    private static func calls(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob
    ) -> [(operation: String, call: @Sendable () async throws -> Void)] {
        [
            ("open", { _ = try await kms.open(blob, under: key, context: context, as: .service) }),
            ("generateDataKey", { _ = try await kms.generateDataKey(under: key, context: context, as: .service) }),
            ("describeKey", { _ = try await kms.describeKey(key) }),
            ("checkHealth", { try await kms.checkHealth() }),
        ]
    }

    private static func expectUnavailable(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob
    ) async {
        for (operation, call) in calls(kms, key, blob) { expectUnavailable(operation, await failure(call)) }
    }

    private static func expectUnavailable(_ operation: String, _ error: KMSError?) {
        guard case .unavailable = error else {
            Issue.record("\(operation): \(String(describing: error))")
            return
        }
    }
}
