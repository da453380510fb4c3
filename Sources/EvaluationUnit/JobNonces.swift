import Attestation
import Synchronization

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Remembers the nonces of accepted jobs for as long as the jobs could be accepted again.
///
/// A full memory refuses new jobs and forgets none. It ends with the process, which is no gap: a job comes
/// in a request whose signature must be younger than the process. Nor is a clock that jumps ahead and back: what
/// was forgotten in between is refused by its age.
final class JobNonces: Sendable {
    private let capacity: Int
    private let state = Mutex(State())

    private struct State {
        /// Until when each nonce is remembered.
        var expiries: [Digest: Date] = [:]
        /// Jobs that could be accepted no longer than this may have been forgotten.
        var forgottenUntil = Date.distantPast
        var lastCleaning = Date.distantPast
    }

    /// - Parameter capacity: nonces at a time, about 100 bytes each.
    init(capacity: Int) { self.capacity = capacity }

    /// - Throws: ``UnitProblem/jobReplayed``, ``UnitProblem/jobMemoryFull``, or ``UnitProblem/jobExpired`` where jobs
    ///   of that age are already forgotten.
    func take(_ nonce: Digest, until expiry: Date, now: Date) throws(UnitProblem) {
        try state.withLock { state throws(UnitProblem) in
            // Not each time, because it looks at every nonce.
            if abs(now.timeIntervalSince(state.lastCleaning)) >= 30 {
                for (nonce, expiry) in state.expiries where expiry < now {
                    state.expiries[nonce] = nil
                    state.forgottenUntil = max(state.forgottenUntil, expiry)
                }
                state.lastCleaning = now
            }
            guard expiry > state.forgottenUntil else { throw .jobExpired }
            guard state.expiries[nonce] == nil else { throw .jobReplayed }
            guard state.expiries.count < capacity else { throw .jobMemoryFull }
            state.expiries[nonce] = expiry
        }
    }

    /// Forgets the nonce of a job that was not accepted after all.
    func giveBack(_ nonce: Digest) { state.withLock { $0.expiries[nonce] = nil } }
}
