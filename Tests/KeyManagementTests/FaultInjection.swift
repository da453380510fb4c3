import Foundation
import KeyManagement
import SecretMemory
import Synchronization

/// What goes wrong with one call.
enum Fault: String, CaseIterable, Sendable {
    /// It fails before it has any effect.
    case refused
    /// It has its effect, and the caller is told of a failure: an answer that got lost.
    case lostAnswer
    /// The KMS asks to come back later.
    case throttled
    /// It never answers, until the one who waits is cancelled.
    case hangs
    /// It fails, and so does everything after it.
    case gone

    /// For flows that ask the KMS for nothing, and so never too often.
    static let withoutKMS = allCases.filter { $0 != .throttled }
}

/// The systems around a key manager.
enum Port: String, Sendable {
    case kms, objects, metadata, compute
}

/// Decides which call fails, over all ports together, so that one sweep covers every call of a flow.
final class FaultPlan: Sendable {
    enum Turn {
        case works, fails, losesAnswer, throttles
    }

    private struct State {
        var ports: [Port] = []
        var fault: (Fault, at: Int)?
        var hit: Port?
        var isHanging = false
        var hook: (@Sendable (Int, Port) async -> Void)?
    }
    private let state = Mutex(State())

    /// Whose calls they were, since the plan was armed.
    var ports: [Port] { state.withLock { $0.ports } }
    /// The port whose call was the first to fail.
    var hit: Port? { state.withLock { $0.hit } }
    var isHanging: Bool { state.withLock { $0.isHanging } }

    /// Counts from 1 again; the call of this number fails.
    func arm(_ fault: Fault, at call: Int) { state.withLock { $0 = State(fault: (fault, at: call)) } }
    func disarm() { state.withLock { $0 = State() } }
    /// Runs before every call, with its number; one call may fail besides.
    func beforeEveryCall(
        refusing call: Int? = nil, _ hook: @escaping @Sendable (Int, Port) async -> Void
    ) {
        state.withLock { $0 = State(fault: call.map { (.refused, at: $0) }, hook: hook) }
    }

    func turn(_ port: Port) async -> Turn {
        let (call, fault, hook) = state.withLock { state in
            state.ports.append(port)
            var fault: Fault?
            if let (kind, call) = state.fault,
                state.ports.count == call || (kind == .gone && state.ports.count > call)
            {
                fault = kind
                if state.hit == nil { state.hit = port }
                state.isHanging = kind == .hangs
            }
            return (state.ports.count, fault, state.hook)
        }
        await hook?(call, port)
        switch fault {
        case nil: return .works
        case .refused, .gone: return .fails
        case .lostAnswer: return .losesAnswer
        case .throttled: return .throttles
        case .hangs:
            while !Task.isCancelled { try? await Task.sleep(for: .milliseconds(1)) }
            return .fails
        }
    }
}

/// A KMS that fails as planned, and remembers every secret that passes. What an administrator does works always: no
/// flow asks for it.
final class FaultyKMS: ForwardingKMS {
    let inner: any TrustedKMS
    private let plan: FaultPlan
    private let seen = Mutex<[[UInt8]]>([])

    init(_ inner: any TrustedKMS, _ plan: FaultPlan) {
        self.inner = inner
        self.plan = plan
    }

    /// Seeds and data keys that passed.
    var secrets: [[UInt8]] { seen.withLock { $0 } }

    private func remember(_ secret: borrowing SecretBytes) {
        let bytes = secret.withUnsafeBytes { Array($0) }
        seen.withLock { $0.append(bytes) }
    }

    private func before() async throws(KMSError) -> FaultPlan.Turn {
        let turn = await plan.turn(.kms)
        switch turn {
        case .fails: throw .unavailable(reason: "planned")
        case .throttles: throw .throttled(retryAfterSeconds: 7)
        case .works, .losesAnswer: return turn
        }
    }

    private func after(_ turn: FaultPlan.Turn) throws(KMSError) {
        if turn == .losesAnswer { throw .unavailable(reason: "planned, afterwards") }
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext,
        as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let turn = try await before()
        remember(secret)
        let blob = try await inner.seal(secret, under: key, context: context, as: caller)
        try after(turn)
        return blob
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let turn = try await before()
        let secret = try await inner.open(sealed, under: key, context: context, as: caller)
        remember(secret)
        try after(turn)
        return secret
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        let turn = try await before()
        let dataKey = try await inner.generateDataKey(under: key, context: context, as: caller)
        remember(dataKey.plaintext)
        try after(turn)
        return dataKey
    }

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let turn = try await before()
        let blob = try await inner.rewrap(sealed, under: key, context: context, as: caller)
        try after(turn)
        return blob
    }

    func random(count: Int) async throws(KMSError) -> SecretBytes {
        let turn = try await before()
        let bytes = try await inner.random(count: count)
        remember(bytes)
        try after(turn)
        return bytes
    }

    func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        let turn = try await before()
        let description = try await inner.describeKey(name)
        try after(turn)
        return description
    }

    func checkHealth() async throws(KMSError) {
        let turn = try await before()
        try await inner.checkHealth()
        try after(turn)
    }
}

/// An object store that fails as planned.
struct FaultyObjects: ObjectStore {
    let inner: any ObjectStore
    let plan: FaultPlan

    private func before() async throws(ObjectStoreError) -> FaultPlan.Turn {
        let turn = await plan.turn(.objects)
        switch turn {
        case .fails: throw .unavailable(reason: "planned")
        case .throttles: throw .unavailable(reason: "planned, slow down")
        case .works, .losesAnswer: return turn
        }
    }

    private func after(_ turn: FaultPlan.Turn) throws(ObjectStoreError) {
        if turn == .losesAnswer { throw .unavailable(reason: "planned, afterwards") }
    }

    func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
        let turn = try await before()
        try await inner.put(bytes, at: key, onlyIfAbsent: onlyIfAbsent)
        try after(turn)
    }

    func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        let turn = try await before()
        let bytes = try await inner.get(key, limit: limit)
        try after(turn)
        return bytes
    }

    func delete(_ key: ObjectKey) async throws(ObjectStoreError) {
        let turn = try await before()
        try await inner.delete(key)
        try after(turn)
    }

    func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] {
        let turn = try await before()
        let keys = try await inner.list(prefix: prefix)
        try after(turn)
        return keys
    }

    func checkHealth() async throws(ObjectStoreError) {
        let turn = try await before()
        try await inner.checkHealth()
        try after(turn)
    }
}

/// A metadata store that fails as planned.
struct FaultyMetadata: MetadataStore {
    let inner: any MetadataStore
    let plan: FaultPlan

    private func before() async throws(MetadataStoreError) -> FaultPlan.Turn {
        let turn = await plan.turn(.metadata)
        switch turn {
        case .fails: throw .unavailable(reason: "planned")
        case .throttles: throw .unavailable(reason: "planned, slow down")
        case .works, .losesAnswer: return turn
        }
    }

    private func after(_ turn: FaultPlan.Turn) throws(MetadataStoreError) {
        if turn == .losesAnswer { throw .unavailable(reason: "planned, afterwards") }
    }

    func read(collection: String, id: String) async throws(MetadataStoreError) -> MetadataRecord? {
        let turn = try await before()
        let record = try await inner.read(collection: collection, id: id)
        try after(turn)
        return record
    }

    func list(
        collection: String, index: String?, after id: String?, limit: Int
    ) async throws(MetadataStoreError) -> [MetadataRecord] {
        let turn = try await before()
        let records = try await inner.list(
            collection: collection, index: index, after: id, limit: limit)
        try after(turn)
        return records
    }

    func apply(_ changes: [MetadataChange]) async throws(MetadataStoreError) {
        let turn = try await before()
        try await inner.apply(changes)
        try after(turn)
    }

    func checkHealth() async throws(MetadataStoreError) {
        let turn = try await before()
        try await inner.checkHealth()
        try after(turn)
    }
}

/// A pool that is full as planned; a lost answer is the cancellation of work that ran.
struct FaultyCompute: ComputeExecutor {
    let plan: FaultPlan

    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        let turn = await plan.turn(.compute)
        if turn == .fails || turn == .throttles {
            try Task.checkCancellation()
            throw ComputeSaturated()
        }
        let result = try body()
        if turn == .losesAnswer { throw CancellationError() }
        return result
    }
}

/// The real time, and what it was put forward or back by.
final class SteppingClock: Sendable {
    private let offset = Mutex<TimeInterval>(0)
    var now: Date { Date() + offset.withLock { $0 } }
    func step(_ seconds: TimeInterval) { offset.withLock { $0 += seconds } }
}
