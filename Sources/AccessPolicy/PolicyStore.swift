import ServiceKit
import Synchronization

/// Holds the policy in force, and exchanges it for the file's next state as a whole or not at all.
///
/// When to ``reload()`` is the caller's: on a signal, or when the file has changed.
public final class PolicyStore: Sendable {
    /// What became of a reload.
    public enum Reload: Sendable, Equatable {
        /// The file has the bytes of the policy in force, or there is no file.
        case unchanged
        case replaced(earlier: String, digest: String)
        /// The file is not usable; the policy in force stays.
        case refused(ConfigurationError)
    }

    private struct State {
        var policy: Policy
        /// Of the last reload, until one succeeds.
        var failure: ConfigurationError?
    }

    private let path: String?
    private let state: Mutex<State>
    /// One reload at a time, so that an older read never replaces a newer one.
    private let reloading = Mutex(())

    /// Holds ``Policy/builtIn``, for ever.
    public init() {
        path = nil
        state = Mutex(State(policy: .builtIn))
    }

    /// Holds the policy of the file at `path`.
    /// - Throws: `ConfigurationError`: there is no earlier policy that could stay in force.
    public init(path: String) throws(ConfigurationError) {
        self.path = path
        state = Mutex(State(policy: try Policy(path: path)))
    }

    /// The policy in force. What belongs to one request asks one copy of it.
    public var policy: Policy { state.withLock { $0.policy } }

    /// SHA-256 of the policy in force, lower-case hex.
    public var digest: String { policy.digest }

    /// What is wrong with the file since a reload was refused, one line, for `/readyz` and the log; nil where the
    /// policy in force is the one that was read last.
    public var problem: String? {
        let (failure, digest) = state.withLock { ($0.failure, $0.policy.digest) }
        guard let failure else { return nil }
        let lines = failure.issues.map(\.description).joined(separator: "; ")
        return "access policy: the file is not usable, policy \(digest.prefix(12)) stays in force: \(lines)"
    }

    /// Reads and checks the file; where nothing is wrong, its policy is in force from here on. Blocks for the file.
    @discardableResult
    public func reload() -> Reload {
        guard let path else { return .unchanged }
        return reloading.withLock { _ in
            let policy: Policy
            do throws(ConfigurationError) {
                policy = try Policy(path: path)
            } catch {
                state.withLock { $0.failure = error }
                return .refused(error)
            }
            return state.withLock { state in
                let earlier = state.policy.digest
                state = State(policy: policy)
                return earlier == policy.digest ? .unchanged : .replaced(earlier: earlier, digest: policy.digest)
            }
        }
    }

    /// See ``Policy/decide(_:)``, by the policy in force.
    public func decide(_ request: AccessRequest) -> AccessDecision { policy.decide(request) }

    /// See ``Policy/require(_:)``, by the policy in force.
    @discardableResult
    public func require(_ request: AccessRequest) throws(AccessDenied) -> AccessDecision {
        try policy.require(request)
    }
}
