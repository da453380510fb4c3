import Attestation
import HomomorphicEncryption
import Observability
import Synchronization

/// Manifests and parsed evaluation keys, bounded in bytes.
///
/// A key stays while a manifest here names it. Where room is needed, the manifest that was not used for
/// the longest time goes, but none that an evaluation uses.
package final class KeyCache: Sendable {
    /// Bytes of keys and manifests together.
    package let capacity: Int
    private let state = Mutex(State())

    private struct Entry {
        let manifest: HeldManifest
        /// Tells an entry from a later one of the same manifest.
        let token: UInt64
        var lastUse: UInt64
        var users = 0
    }

    private struct HeldKey {
        let key: EvaluationKey
        let byteCount: Int
    }

    private struct State {
        var entries: [Digest: Entry] = [:]
        var keys: [Digest: HeldKey] = [:]
        var byteCount = 0
        // Counts uses; a clock that cannot go back.
        var time: UInt64 = 0

        mutating func touch(_ manifest: Digest) {
            time += 1
            entries[manifest]?.lastUse = time
        }

        mutating func remove(_ manifest: Digest) {
            guard let entry = entries.removeValue(forKey: manifest) else { return }
            byteCount -= entry.manifest.byteCount
            for digest in entry.manifest.keys.keys
            where !entries.values.contains(where: { $0.manifest.keys[digest] != nil }) {
                if let key = keys.removeValue(forKey: digest) { byteCount -= key.byteCount }
            }
        }

        /// - Parameter kept: the manifest that the room is for.
        mutating func makeRoom(_ wanted: Int, capacity: Int, keeping kept: Digest) throws(UnitProblem) {
            while byteCount + wanted > capacity {
                let others = entries.filter { $0.key != kept }
                guard
                    let oldest = others.filter({ $0.value.users == 0 }).min(by: { $0.value.lastUse < $1.value.lastUse })
                else {
                    guard others.isEmpty else { throw .keyCacheBusy }
                    throw .keyCacheTooSmall(needed: byteCount + wanted, capacity: capacity)
                }
                remove(oldest.key)
            }
        }
    }

    package init(capacity: Int) { self.capacity = capacity }

    /// Bytes that are taken.
    package var byteCount: Int { state.withLock { $0.byteCount } }

    /// Takes a manifest in.
    /// - Throws: ``UnitProblem/keyCacheTooSmall(needed:capacity:)`` where it will never fit with its keys, or
    ///   ``UnitProblem/keyCacheBusy``.
    package func insert(_ manifest: HeldManifest) throws(UnitProblem) {
        if let context = manifest.context {
            let needed = manifest.needed.reduce(manifest.byteCount) { $0 + $1.memoryBytes(context) }
            guard needed <= capacity else { throw .keyCacheTooSmall(needed: needed, capacity: capacity) }
        }
        try state.withLock { state throws(UnitProblem) in
            if state.entries[manifest.digest] == nil {
                try state.makeRoom(manifest.byteCount, capacity: capacity, keeping: manifest.digest)
                state.time += 1
                state.entries[manifest.digest] = Entry(manifest: manifest, token: state.time, lastUse: state.time)
                state.byteCount += manifest.byteCount
            }
            state.touch(manifest.digest)
        }
    }

    /// - Throws: ``UnitProblem/unknownManifest(_:)``.
    package func manifest(_ digest: Digest) throws(UnitProblem) -> HeldManifest {
        let found = state.withLock { state in
            state.touch(digest)
            return state.entries[digest]?.manifest
        }
        guard let found else { throw .unknownManifest(digest) }
        return found
    }

    /// Which of a manifest's keys are here, and which ones models wait for; both in the manifest's order.
    /// - Throws: ``UnitProblem/unknownManifest(_:)``.
    package func status(_ digest: Digest) throws(UnitProblem) -> (have: [Digest], need: [Digest]) {
        let manifest = try manifest(digest)
        let present = state.withLock { state in Set(manifest.keys.keys.filter { state.keys[$0] != nil }) }
        return (
            manifest.body.objects.map(\.digest).filter(present.contains),
            manifest.needed.map(\.digest).filter { !present.contains($0) }
        )
    }

    package func contains(_ key: Digest) -> Bool { state.withLock { $0.keys[key] != nil } }

    /// Takes in a key that the manifest names.
    /// - Parameter byteCount: what it takes in memory.
    package func insert(_ key: EvaluationKey, digest: Digest, byteCount: Int, manifest: Digest) throws(UnitProblem) {
        try state.withLock { state throws(UnitProblem) in
            // Another request may have forgotten the manifest, or brought the key, in the meantime.
            guard state.entries[manifest] != nil else { throw .unknownManifest(manifest) }
            state.touch(manifest)
            guard state.keys[digest] == nil else { return }
            try state.makeRoom(byteCount, capacity: capacity, keeping: manifest)
            state.keys[digest] = HeldKey(key: key, byteCount: byteCount)
            state.byteCount += byteCount
        }
    }

    /// Forgets a manifest and those of its keys that no other one names.
    package func remove(_ manifest: Digest) { state.withLock { $0.remove(manifest) } }

    /// Runs `body` with keys that stay in the cache until it ends.
    /// - Throws: ``UnitProblem/missingKeys(_:)``, ``UnitProblem/unknownManifest(_:)``, or what `body` throws.
    package func withKeys<Result: Sendable>(
        _ objects: [KeySetObject], of manifest: Digest, _ body: (EvaluationKeySet) async throws -> Result
    ) async throws -> Result {
        let (keys, token) = try state.withLock { state throws(UnitProblem) in
            guard let entry = state.entries[manifest] else { throw .unknownManifest(manifest) }
            let missing = objects.filter { state.keys[$0.digest] == nil }
            MetricCatalog.keyCache.increment(missing.isEmpty ? "hit" : "miss")
            guard missing.isEmpty else { throw .missingKeys(missing.map(\.name)) }
            state.touch(manifest)
            state.entries[manifest]?.users += 1
            return (EvaluationKeySet(objects.compactMap { state.keys[$0.digest]?.key }), entry.token)
        }
        defer {
            state.withLock { state in
                if state.entries[manifest]?.token == token { state.entries[manifest]?.users -= 1 }
            }
        }
        return try await body(keys)
    }
}
