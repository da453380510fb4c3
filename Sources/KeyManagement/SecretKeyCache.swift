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

    private let limits: SecretKeyCaching
    private let entries = Mutex<[Name: Entry]>([:])

    init(_ limits: SecretKeyCaching) { self.limits = limits }

    /// How many there are now.
    var count: Int { entries.withLock { $0.count } }

    /// A key for one decryption; nil where there is none any more.
    func take(_ name: Name) -> SecretKeyHolder? {
        let now = ContinuousClock.now
        return entries.withLock { entries in
            guard var entry = entries[name] else { return nil }
            guard now < entry.end, entry.usesLeft > 0 else {
                entries[name] = nil
                return nil
            }
            entry.usesLeft -= 1
            entry.lastUse = now
            entries[name] = entry.usesLeft > 0 ? entry : nil
            return entry.key
        }
    }

    /// Keeps a key that was just derived. Those that were not used for longest make room.
    func keep(_ key: SecretKeyHolder, as name: Name) {
        let bytes = key.byteCount
        guard bytes <= limits.bytes, limits.uses > 0, limits.age > .zero else { return }
        let now = ContinuousClock.now
        entries.withLock { entries in
            entries[name] = Entry(
                key: key, bytes: bytes, end: now + limits.age, usesLeft: limits.uses, lastUse: now)
            while entries.values.reduce(0, { $0 + $1.bytes }) > limits.bytes,
                let oldest = entries.filter({ $0.key != name }).min(by: { $0.value.lastUse < $1.value.lastUse })
            {
                entries[oldest.key] = nil
            }
        }
        // Wiped when its time is up, whether anybody comes or not.
        Task { [weak self, age = limits.age] in
            try? await Task.sleep(for: age)
            self?.removeExpired()
        }
    }

    /// Wipes what is kept of a key set.
    func forget(_ keySet: String) {
        entries.withLock { entries in
            for name in entries.keys where name.keySet == keySet { entries[name] = nil }
        }
    }

    private func removeExpired() {
        let now = ContinuousClock.now
        entries.withLock { entries in
            for (name, entry) in entries where entry.end <= now { entries[name] = nil }
        }
    }
}
