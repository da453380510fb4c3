import CoreMetrics
import KeyManagement
import Observability
import SecretMemory
import Testing
import Tracing

/// KMS and stores behind decorators: the same answers, measured.
@Suite struct ObservedPortTests {
    /// Opens to 32 known bytes, and refuses to seal.
    private struct FixedKMS: ForwardingKMS {
        let inner: any TrustedKMS

        func open(
            _: KMSSealedBlob, under _: KMSKeyName, context _: SealingContext, as _: KMSCaller
        ) async throws(KMSError) -> SecretBytes {
            do { return try SecretBytes(count: 32) } catch { throw .memory(error) }
        }

        func random(count: Int) async throws(KMSError) -> SecretBytes {
            do { return try SecretBytes(count: count) } catch { throw .memory(error) }
        }

        func checkHealth() async throws(KMSError) { throw .unavailable(reason: "bao.example: ks-0123") }
    }

    private struct Objects: ObjectStore {
        func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
            throw .alreadyExists(key.value)
        }
        func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] { [1, 2, 3] }
        func delete(_ key: ObjectKey) async throws(ObjectStoreError) {}
        func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] { [] }
        func checkHealth() async throws(ObjectStoreError) {}
    }

    private struct Rows: MetadataStore {
        func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? { nil }
        func list(
            collection: String, index: String?, after: String?, limit: Int
        ) async throws(MetadataStoreError) -> [MetadataRecord] { [] }
        func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
            throw .conflict(collection: "keysets", id: "ks-0123")
        }
        func checkHealth() async throws(MetadataStoreError) {}
    }

    /// A KMS that nobody asks: every method that is called is replaced.
    private struct NoKMS: TrustedKMS {
        var provider: String { "test" }
        var capabilities: KMSCapabilities {
            KMSCapabilities(
                contextBinding: .none, nativeRewrap: false, random: false, sign: false, maximumPlaintextBytes: 32,
                developmentOnly: true)
        }
        func seal(
            _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
        ) async throws(KMSError) -> KMSSealedBlob { throw .notSupported(operation: "seal") }
        func open(
            _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
        ) async throws(KMSError) -> SecretBytes { throw .cannotOpen }
        func generateDataKey(
            under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
        ) async throws(KMSError) -> KMSDataKey { throw .notSupported(operation: "generateDataKey") }
        func rewrap(
            _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
        ) async throws(KMSError) -> KMSSealedBlob { throw .notSupported(operation: "rewrap") }
        func random(count: Int) async throws(KMSError) -> SecretBytes { throw .notSupported(operation: "random") }
        func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] { [7] }
        func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {}
        func rotateKey(_ name: KMSKeyName) async throws(KMSError) {}
        func destroyKey(_ name: KMSKeyName) async throws(KMSError) {}
        func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {}
        func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription { throw .keyNotFound(name) }
        func checkHealth() async throws(KMSError) {}
    }

    @Test func `answers and errors are those of the KMS; calls are spans and values`() async throws {
        let registry = PrometheusRegistry()
        let queue = SpanQueue()
        let tracer = SpanTracer(sampling: Sampling(ratio: 1), queue: queue)
        let name = try #require(KMSKeyName("ks-0123"))
        let kms = ObservedKMS(FixedKMS(inner: NoKMS()))
        #expect(kms.provider == "test" && kms.capabilities.developmentOnly)
        try await withMetricsFactory(registry) {
            try await withTracer(tracer) {
                try await withSpan("root") { _ in
                    let bytes = try await kms.random(count: 16)
                    #expect(bytes.count == 16)
                    let signature = try await kms.sign([1], with: name)
                    #expect(signature == [7])
                    await #expect(throws: KMSError.keyNotFound(name)) { _ = try await kms.describeKey(name) }
                    await #expect(throws: KMSError.unavailable(reason: "bao.example: ks-0123")) {
                        try await kms.checkHealth()
                    }
                }
            }
        }
        let text = registry.exposition()
        for (operation, outcome) in [
            ("random", "ok"), ("sign", "ok"), ("describe_key", "key_not_found"), ("check_health", "unavailable"),
        ] {
            let labels = #"operation="\#(operation)",outcome="\#(outcome)",provider="test""#
            #expect(text.contains("hkms_kms_duration_seconds_count{\(labels)} 1\n"))
        }
        let spans = queue.take(10)
        #expect(spans.map(\.name) == ["kms random", "kms sign", "kms describe_key", "kms check_health", "root"])
        #expect(spans.map(\.isError) == [false, false, true, true, false])
        #expect(spans.dropLast().allSatisfy { $0.parent == spans.last?.spanID })
        #expect(!text.contains("ks-0123") && !"\(spans)".contains("ks-0123"))
    }

    @Test func `stores are measured by operation and outcome`() async throws {
        let registry = PrometheusRegistry()
        let objects = ObservedObjectStore(Objects())
        let rows = ObservedMetadataStore(Rows())
        let key = try #require(ObjectKey("keysets/ks-0123/public-key"))
        try await withMetricsFactory(registry) {
            let bytes = try await objects.get(key, limit: 3)
            #expect(bytes == [1, 2, 3])
            await #expect(throws: ObjectStoreError.alreadyExists(key.value)) {
                try await objects.put([], at: key, onlyIfAbsent: true)
            }
            let row = try await rows.read(collection: "c", id: "i")
            #expect(row == nil)
            await #expect(throws: MetadataStoreError.conflict(collection: "keysets", id: "ks-0123")) {
                try await rows.apply([])
            }
        }
        let text = registry.exposition()
        for (store, operation, outcome) in [
            ("objects", "get", "ok"), ("objects", "put", "already_exists"), ("metadata", "read", "ok"),
            ("metadata", "apply", "conflict"),
        ] {
            let labels = #"operation="\#(operation)",outcome="\#(outcome)",store="\#(store)""#
            #expect(text.contains("hkms_storage_duration_seconds_count{\(labels)} 1\n"))
        }
        #expect(!text.contains("ks-0123"))
    }
}
