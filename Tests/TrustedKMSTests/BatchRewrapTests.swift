import KeyManagement
import SecretMemory
import Synchronization
import Testing
import TrustedKMSSoftware

/// Batches of a KMS that has none.
@Suite struct BatchRewrapTests {
    private static let context = SealingContext.forTests(["batch"])

    /// Throws the next error of a list, one for each rewrap; nil passes.
    private final class Failing: ForwardingKMS {
        let inner: any TrustedKMS
        private let errors: Mutex<[KMSError?]>
        let calls = Mutex(0)

        init(_ inner: any TrustedKMS, _ errors: [KMSError?]) {
            self.inner = inner
            self.errors = Mutex(errors)
        }

        func rewrap(
            _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
        ) async throws(KMSError) -> KMSSealedBlob {
            calls.withLock { $0 += 1 }
            let error = errors.withLock { $0.isEmpty ? nil : $0.removeFirst() }
            if let error { throw error }
            return try await inner.rewrap(sealed, under: key, context: context, as: caller)
        }

        func rewrap(
            _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
        ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
            try await rewrapOneByOne(items, under: key, as: caller)
        }
    }

    private static func with(
        _ errors: [KMSError?], count: Int, _ body: (Failing, [KMSRewrapItem], KMSKeyName) async throws -> Void
    ) async throws {
        let folder = try TemporaryFolder()
        let software = try SoftwareKMS.create(
            at: folder.file("keystore"), passphrase: SecretBytes(copying: "passphrase".utf8), developmentOnly: true,
            scryptCost: .minimum)
        let key = try await TrustedKMSConformance.freshKey(software)
        var items: [KMSRewrapItem] = []
        for _ in 0..<count {
            let blob = try await software.generateDataKey(under: key, context: context, as: .service).sealed
            items.append(.init(blob, context: context))
        }
        try await software.rotateKey(key)
        try await body(Failing(software, errors), items, key)
    }

    @Test("each secret has its own result, in order")
    func resultsAreInOrder() async throws {
        try await Self.with([], count: 4) { kms, items, key in
            var items = items
            items[1].context = SealingContext.forTests(["another"])
            items[2].sealed.bytes = []
            let results = try await kms.rewrap(items, under: key, as: .service)
            #expect(results.count == 4)
            for (index, result) in results.enumerated() {
                switch result {
                case .success(let blob):
                    #expect(index == 0 || index == 3)
                    _ = try await kms.open(blob, under: key, context: items[index].context, as: .service)
                case .failure(let error): #expect((index == 1 || index == 2) && error == .cannotOpen)
                }
            }
            #expect(try await kms.rewrap([], under: key, as: .service).isEmpty)
        }
    }

    @Test("a KMS that goes away or asks to wait ends a batch, and what was done is kept")
    func batchEndsWhereNothingServes() async throws {
        for error in [
            KMSError.unavailable(reason: "away"), .throttled(retryAfterSeconds: 3), .denied(reason: "revoked"),
        ] {
            try await Self.with([nil, .cannotOpen, nil, error], count: 10) { kms, items, key in
                let results = try await kms.rewrap(items, under: key, as: .service)
                #expect(results.count == 10)
                #expect(kms.calls.withLock { $0 } == 4, "the others were not tried")
                for (index, result) in results.enumerated() {
                    switch result {
                    case .success: #expect(index == 0 || index == 2)
                    case .failure(let failure): #expect(failure == (index == 1 ? .cannotOpen : error), "\(index)")
                    }
                }
            }
            try await Self.with([error], count: 3) { kms, items, key in
                let thrown = await failure { _ = try await kms.rewrap(items, under: key, as: .service) }
                #expect(thrown == error, "nothing was rewrapped")
            }
        }
    }
}
