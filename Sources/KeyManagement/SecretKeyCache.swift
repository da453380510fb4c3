import Attestation
import SecretKeys
import Synchronization

/// How long, how often and how many secret keys may stay in locked memory between decryptions, so that a decryption in
/// between asks no KMS.
public struct SecretKeyCaching: Sendable, Hashable {
    /// From the moment at which the KMS opened the seed: what the KMS forbids meanwhile counts after that time.
    public var age: Duration
    /// Decryptions after the one that asked the KMS.
    public var uses: Int
    /// Of all keys together, 2 bits a coefficient.
    public var bytes: Int

    public init(age: Duration, uses: Int, bytes: Int) {
        self.age = age
        self.uses = uses
        self.bytes = bytes
    }
}

/// Secret keys, never seeds, of key sets whose manifest has not changed since the KMS opened them.
///
/// Keys that only a principal's own credential opens are not for it: while the principal is away nothing of theirs is
/// to be opened.
final class SecretKeyCache: Sendable {
    struct Name: Hashable, Sendable {
        let keySet: String
        /// A change of state, seal or policy is another manifest.
        let manifest: Digest
    }

    private struct Entry {
        let key: SecretKeyHolder
        let bytes: Int
        let end: ContinuousClock.Instant
        var usesLeft: Int
        var lastUse: ContinuousClock.Instant
    }

    private struct State {
        var entries: [Name: Entry] = [:]
        /// One more with everything that is forgotten: what was opened before it is not kept after it.
        var generation = 0
        var isSweeping = false
    }

    private let limits: SecretKeyCaching
    private let state = Mutex(State())

    init(_ limits: SecretKeyCaching) { self.limits = limits }

    var count: Int { state.withLock { $0.entries.count } }

    /// To be read before a key set's row is.
    var generation: Int { state.withLock { $0.generation } }

    /// A key for one decryption; nil where there is none any more. Those of other manifests of the key set go.
    func take(_ name: Name) -> SecretKeyHolder? {
        let now = ContinuousClock.now
        return state.withLock { state in
            for other in state.entries.keys where other.keySet == name.keySet && other != name {
                state.entries[other] = nil
            }
            guard var entry = state.entries[name] else { return nil }
            guard now < entry.end, entry.usesLeft > 0 else {
                state.entries[name] = nil
                return nil
            }
            entry.usesLeft -= 1
            entry.lastUse = now
            state.entries[name] = entry.usesLeft > 0 ? entry : nil
            return entry.key
        }
    }

    /// Keeps a key that was just derived. Those that were not used for longest make room.
    /// - Parameters:
    ///   - opened: when the KMS was asked.
    ///   - generation: from before the row was read.
    func keep(_ key: SecretKeyHolder, as name: Name, opened: ContinuousClock.Instant, generation: Int) {
        let bytes = key.byteCount
        guard bytes <= limits.bytes, limits.uses > 0, limits.age > .zero else { return }
        let sweeps = state.withLock { state in
            guard state.generation == generation else { return false }
            state.entries[name] = Entry(
                key: key, bytes: bytes, end: opened + limits.age, usesLeft: limits.uses, lastUse: opened)
            while state.entries.values.reduce(0, { $0 + $1.bytes }) > limits.bytes,
                let oldest = state.entries.filter({ $0.key != name }).min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                state.entries[oldest.key] = nil
            }
            defer { state.isSweeping = true }
            return !state.isSweeping
        }
        guard sweeps else { return }
        // Wiped when their time is up, whether anybody comes or not.
        Task { [weak self] in
            while let end = self?.removeExpired() { try? await Task.sleep(until: end, clock: .continuous) }
        }
    }

    /// Wipes what is kept of a key set.
    func forget(_ keySet: String) {
        state.withLock { state in
            state.generation += 1
            for name in state.entries.keys where name.keySet == keySet { state.entries[name] = nil }
        }
    }

    /// - Returns: when the next one ends; nil where none is left.
    private func removeExpired() -> ContinuousClock.Instant? {
        let now = ContinuousClock.now
        return state.withLock { state in
            for (name, entry) in state.entries where entry.end <= now { state.entries[name] = nil }
            let next = state.entries.values.map(\.end).min()
            state.isSweeping = next != nil
            return next
        }
    }
}
