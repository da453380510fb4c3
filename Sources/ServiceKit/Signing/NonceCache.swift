import FoundationEssentials
import Synchronization

/// Remembers the nonces of signed requests until the requests expire.
///
/// A full cache refuses new nonces and forgets none. It lives in memory, so a restart forgets all:
/// see ``HTTPMessageSignatureVerifier/acceptedFrom``.
public final class NonceCache: Sendable {
    /// The largest number of nonces remembered at a time, about 150 bytes each.
    public let capacity: Int

    private let state: Mutex<State>

    private struct Entry: Hashable {
        let keyID: String
        let nonce: String
    }

    private struct State {
        var entries: Set<Entry> = []
        // By the second of expiry, so that forgetting looks at no entry that stays.
        var expiring: [Int: [Entry]] = [:]
        // Nonces that expired below this may have been forgotten. It never goes back, even where the clock does; and
        // it is what was forgotten and not the time, so that a clock that jumped ahead for a moment costs no more.
        var forgottenBelow = Int.min
        // The second of the last time that anything was forgotten.
        var forgotten = Int.min
    }

    /// - Parameter capacity: at least 1.
    public init(capacity: Int = 100_000) {
        precondition(capacity >= 1, "a cache holds an entry")
        self.capacity = capacity
        state = Mutex(State())
    }

    /// The number of nonces remembered.
    public var count: Int { state.withLock { $0.entries.count } }

    /// Remembers a nonce of a verified request until `expiry`.
    /// - Throws: ``SignatureError/replayed``, ``SignatureError/nonceCacheFull``, or
    ///   ``SignatureError/expired`` where nonces of that time are already forgotten.
    func insert(keyID: String, nonce: String, expiry: Date, now: Date) throws(SignatureError) {
        let entry = Entry(keyID: keyID, nonce: nonce)
        let second = Self.seconds(expiry)
        let failure: SignatureError? = state.withLock { state in
            Self.forget(&state, before: Self.seconds(now))
            guard second >= state.forgottenBelow else { return .expired }
            guard !state.entries.contains(entry) else { return .replayed }
            guard state.entries.count < capacity else { return .nonceCacheFull }
            state.entries.insert(entry)
            state.expiring[second, default: []].append(entry)
            return nil
        }
        if let failure { throw failure }
    }

    private static func forget(_ state: inout State, before second: Int) {
        guard second != state.forgotten else { return }
        state.forgotten = second
        for key in state.expiring.keys where key < second {
            state.forgottenBelow = max(state.forgottenBelow, key + 1)
            for entry in state.expiring.removeValue(forKey: key) ?? [] { state.entries.remove(entry) }
        }
    }

    // Rounded up, so that a nonce is remembered at least as long as its signature is accepted.
    private static func seconds(_ date: Date) -> Int {
        Int(max(-1e15, min(1e15, date.timeIntervalSince1970.rounded(.up))))
    }
}
