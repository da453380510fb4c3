import Attestation
import Dispatch
import Synchronization

/// The audit log of one gateway process: every record is on the device before ``append(_:)`` returns.
///
/// Records that arrive while others are being flushed share the next flush. Where the log cannot be written, nothing
/// is acknowledged until it can: ``append(_:)`` and ``checkHealth()`` throw, and each of them tries again, at most
/// once a second. docs/audit.md has the format.
public final class AuditTrail: Sendable {
    /// Records of one flush, at most.
    private static let batch = 1024
    /// Records that may wait.
    private static let maximumWaiting = 65_536
    /// How long an operation waits for a required sink.
    private static let sinkTimeout = Duration.seconds(10)
    /// How long a batch may take before the log counts as one that cannot be written.
    private static let writeTimeout = Duration.seconds(10)
    /// How long the sinks get at the end for what waits.
    private static let shutdownTimeout = Duration.seconds(5)

    private let files: Mutex<AuditFiles>
    private let deliveries: [SinkDelivery]
    private let state: Mutex<State>
    // One thread, because a flush blocks.
    private let queue = DispatchQueue(label: "hkms.audit-log")
    private let pause: Duration
    private let directory: String

    private struct State {
        var waiting: [Waiter] = []
        var isWriting = false
        var isClosed = false
        var head: AuditHead
        var failure: AuditError?
        var nextAttempt = ContinuousClock.now
        /// While a batch is under way.
        var writingSince: ContinuousClock.Instant?
        var closing: CheckedContinuation<Void, Never>?
    }

    private struct Waiter {
        /// nil for who only asks whether the log can be written.
        let record: AuditRecord?
        let turn: CheckedContinuation<Result<AuditHead, AuditError>, Never>
    }

    /// Opens the log, or makes one. Blocks for as long as it takes to read the newest file.
    /// - Parameters:
    ///   - installation: 1 to 64 printable ASCII characters without spaces, signed with every checkpoint.
    ///   - gateway: the same; which of the installation's gateways writes.
    ///   - key: signs checkpoints.
    ///   - identifierKey: for the identifiers that the configuration wants replaced.
    ///   - expected: a head that was kept elsewhere; the log must hold it.
    ///   - pause: between attempts to write a log that could not be written.
    /// - Throws: where the log cannot be written, or was changed or cut off since it was; the sinks then are the
    ///   caller's to shut down.
    public init(
        _ configuration: AuditConfiguration, installation: String, gateway: String, key: SigningKey,
        identifierKey: DigestKey, sinks: [any AuditSink] = [], expecting expected: AuditHead? = nil,
        pause: Duration = .seconds(1), clock: @escaping @Sendable () -> AuditTime = AuditTime.now
    ) throws(AuditError) {
        let files = try AuditFiles.open(
            AuditFiles.Settings(
                directory: configuration.directory, fileBytes: configuration.fileBytes, installation: installation,
                gateway: gateway, key: key, earlierKeys: configuration.publicKeys,
                identifiers: AuditIdentifierPolicy(hashing: configuration.hashed, under: identifierKey), clock: clock),
            expecting: expected)
        state = Mutex(State(head: files.head))
        self.files = Mutex(files)
        deliveries = sinks.map { SinkDelivery($0, capacity: configuration.queued) }
        self.pause = pause
        directory = configuration.directory
    }

    /// The last line that is on the device. Kept elsewhere, it shows later that nothing before it was cut off.
    public var head: AuditHead { state.withLock { $0.head } }

    /// How the sinks are doing.
    public var sinks: [AuditSinkStatus] { deliveries.map(\.status) }

    /// Puts an operation on record. Does not end before the record is on the device and, where there are required
    /// sinks, with them; a cancelled task's record is written all the same.
    /// - Parameter awaitsSinks: false where an error is answered anyway, so that a required sink that is behind is not
    ///   waited for.
    /// - Returns: the record's line.
    /// - Throws: where the record is not there; then the operation must not be answered but by the error. The record
    ///   itself is kept and written late, if there is room and the process lives on.
    @discardableResult
    public func append(_ record: AuditRecord, awaitsSinks: Bool = true) async throws(AuditError) -> AuditHead {
        let head = try await submit(record).get()
        guard awaitsSinks else { return head }
        for delivery in deliveries where delivery.sink.isRequired {
            guard await delivery.wait(for: head.sequence, atMost: Self.sinkTimeout) else {
                throw .sink(name: delivery.sink.name, reason: delivery.status.failure ?? "it took too long")
            }
        }
        return head
    }

    /// Whether an operation could be put on record now: to be asked before it begins.
    /// - Throws: why not.
    public func checkHealth() async throws(AuditError) {
        for delivery in deliveries where delivery.sink.isRequired {
            if let failure = delivery.status.failure { throw .sink(name: delivery.sink.name, reason: failure) }
            if delivery.isFull { throw .sink(name: delivery.sink.name, reason: "too many records wait for it") }
        }
        let (isClosed, failure, since) = state.withLock { ($0.isClosed, $0.failure, $0.writingSince) }
        if isClosed { throw .closed }
        if let since, ContinuousClock.now - since > Self.writeTimeout {
            throw .unwritable(directory: directory, reason: "its device does not answer")
        }
        if failure != nil { _ = try await submit(nil).get() }
    }

    /// Takes no more records, writes those that wait, and gives the sinks some seconds.
    public func shutdown() async {
        await withCheckedContinuation { continuation in
            let isIdle = state.withLock { state in
                state.isClosed = true
                if state.isWriting { state.closing = continuation }
                return !state.isWriting
            }
            if isIdle { continuation.resume() }
        }
        files.withLock { $0.release() }
        for delivery in deliveries { await delivery.shutdown(atMost: Self.shutdownTimeout) }
    }

    // MARK: - Writing

    private func submit(_ record: AuditRecord?) async -> Result<AuditHead, AuditError> {
        await withCheckedContinuation { turn in
            let refusal: AuditError? = state.withLock { state in
                if state.isClosed { return .closed }
                guard state.waiting.count < Self.maximumWaiting else { return .saturated }
                state.waiting.append(Waiter(record: record, turn: turn))
                if !state.isWriting {
                    state.isWriting = true
                    queue.async { self.drain() }
                }
                return nil
            }
            if let refusal { turn.resume(returning: .failure(refusal)) }
        }
    }

    private func drain() {
        while let waiters = next() {
            let records = waiters.compactMap(\.record)
            let result = write(records)
            var index = 0
            for waiter in waiters {
                waiter.turn.resume(
                    returning: result.map { batch in
                        guard waiter.record != nil else { return batch.head }
                        defer { index += 1 }
                        return batch.lines[batch.firstRecord + index].head
                    })
            }
        }
    }

    private func next() -> [Waiter]? {
        let (waiters, closing) = state.withLock { state in
            let waiters = Array(state.waiting.prefix(Self.batch))
            state.waiting.removeFirst(waiters.count)
            guard waiters.isEmpty else { return (waiters, nil as CheckedContinuation<Void, Never>?) }
            state.isWriting = false
            defer { state.closing = nil }
            return (waiters, state.closing)
        }
        closing?.resume()
        return waiters.isEmpty ? nil : waiters
    }

    private func write(_ records: [AuditRecord]) -> Result<AuditBatch, AuditError> {
        let (failure, isEarly) = state.withLock { ($0.failure, ContinuousClock.now < $0.nextAttempt) }
        if let failure, isEarly {
            files.withLock { $0.keep(records) }
            return .failure(failure)
        }
        if failure == nil, records.isEmpty {
            return .success(AuditBatch(after: head, time: AuditTime(microseconds: 0)))
        }
        state.withLock { $0.writingSince = .now }
        defer { state.withLock { $0.writingSince = nil } }
        let result: Result<AuditBatch, AuditError> = files.withLock { files in
            do throws(AuditError) {
                return .success(try files.commit(records))
            } catch {
                return .failure(error)
            }
        }
        switch result {
        case .success(let batch):
            for delivery in deliveries { delivery.add(batch.lines) }
            state.withLock {
                $0.head = batch.head
                $0.failure = nil
            }
        case .failure(let error):
            state.withLock {
                $0.failure = error
                $0.nextAttempt = .now + pause
            }
        }
        return result
    }
}
