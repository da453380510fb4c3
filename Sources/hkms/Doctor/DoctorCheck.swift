import Dispatch
import Synchronization

/// One check of `hkms doctor`: asks, and leaves nothing behind.
struct DoctorCheck: Sendable {
    /// `kms.key`: what it is about, and of what; stable, because scripts go by it.
    let name: String
    /// Checks without whose success this one means nothing.
    let after: [String]
    /// What to do about errors that do not say it themselves.
    let fix: String
    let examine: @Sendable () async throws -> DoctorFinding

    init(
        _ name: String, after: [String] = [], fix: String,
        _ examine: @escaping @Sendable () async throws -> DoctorFinding
    ) {
        self.name = name
        self.after = after
        self.fix = fix
        self.examine = examine
    }
}

/// What one check makes and others go on with: nothing until then.
final class DoctorResult<Value: Sendable>: Sendable {
    private let held = Mutex<Value?>(nil)

    func set(_ value: Value) { held.withLock { $0 = value } }

    var value: Value? { held.withLock { $0 } }

    /// - Throws: where the check that makes it has not; its dependants do not run then.
    func get() throws -> Value {
        guard let value else {
            throw DoctorFailure("an earlier check left nothing to go on with", fix: "See the checks that failed.")
        }
        return value
    }
}

/// Runs what may block on a thread of its own.
func withoutBlocking<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async { continuation.resume(with: Swift.Result { try body() }) }
    }
}
