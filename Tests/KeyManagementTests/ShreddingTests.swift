import Attestation
import Foundation
import KeyManagement
import Logging
import SecretMemory
import Synchronization
import TestSupport
import Testing
import TrustedKMSSoftware

/// What destroying claims, held against somebody who kept everything that was ever stored.
struct ShreddingTests {
    /// The sealed objects of a key set, as a thief or a backup has them.
    private struct Copy {
        let manifest: KeySetManifest
        let blob: KMSSealedBlob

        init(_ bench: RewrapBench, _ keySet: KnownKeySet, with manager: KeyManager) async throws {
            manifest = try await manager.show(keySet.id, as: bench.alice).manifest
            let seals = bench.seals(keySet)
            let name = try #require(seals.first { $0.hasPrefix("sealed-data-key") } ?? seals.first)
            let file = bench.folder.appendingPathComponent("objects/keysets/\(keySet.id)/\(name)")
            let bytes = Array(try Data(contentsOf: file).dropFirst(20).dropLast(32))
            blob = KMSSealedBlob(bytes: bytes, keyVersion: manifest.sealing.keyVersion)
        }

        /// What the KMS makes of it, for whoever may use the key.
        func opened(by kms: any TrustedKMS) async throws -> Bool {
            var parts = SealingContextParts()
            parts.keySet = manifest.keySet
            parts.mode = manifest.sealing.mode
            parts.object = manifest.sealing.mode == .envelope ? .dataKey : .seed
            let key = try #require(KMSKeyName(manifest.sealing.keyName))
            do throws(KMSError) {
                _ = try await kms.open(blob, under: key, context: parts.context(manifest.parameters), as: .service)
                return true
            } catch {
                switch error {
                case .keyNotFound, .keyUnusable, .cannotOpen: return false
                default: throw error
                }
            }
        }
    }

    @Test(
        "a key set with a KMS key of its own is shredded when it is destroyed",
        arguments: [ProtectionMode.direct, .envelope])
    func ownKey(mode: ProtectionMode) async throws {
        let bench = try await RewrapBench()
        let manager = bench.before(.perKeySet)
        let (gone, stays) = (
            try await bench.register(mode, with: manager), try await bench.register(mode, with: manager)
        )
        let copy = try await Copy(bench, gone, with: manager)
        #expect(copy.manifest.sealing.keyName == "old-seeds-\(gone.id)")
        #expect(try await copy.opened(by: bench.old), "as long as the key lives")
        let destruction = try await manager.destroy(gone.id, as: bench.alice)
        #expect(destruction.erasure == .shredded)
        #expect(try await !copy.opened(by: bench.old))
        #expect(try await manager.show(gone.id, as: bench.alice).shredded == destruction.date)
        // It is said again, with the same date.
        let again = try await manager.destroy(gone.id, as: bench.alice)
        #expect(again.erasure == .shredded && again.date == destruction.date)
        try await bench.opens(stays, with: manager)
    }

    @Test("where the KMS is away, it is tombstoned, and shredded when it is destroyed again")
    func laterShredded() async throws {
        let bench = try await RewrapBench()
        let manager = bench.before(.perKeySet)
        let keySet = try await bench.register(with: manager)
        let away = bench.manager(
            KMSDirectory(
                ConfiguredKMS(
                    name: "old", AwayKMS(inner: bench.old), key: RewrapBench.oldKey, placement: .perKeySet)))
        #expect(try await away.destroy(keySet.id, as: bench.alice).erasure == .tombstoned)
        #expect(try await manager.destroy(keySet.id, as: bench.alice).erasure == .shredded)
    }

    @Test("that a key is not there any more proves nothing where this installation was not let destroy it")
    func somebodyElse() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register(with: bench.before(.perKeySet))
        let denied = bench.before(.perKeySet, wrapping: NoDestruction(inner: bench.old))
        #expect(try await denied.destroy(keySet.id, as: bench.alice).erasure == .tombstoned)
        // As where a server was restored from a snapshot that is older than the key.
        try await bench.old.destroyKey(try #require(KMSKeyName("old-seeds-\(keySet.id)")))
        let manager = bench.before(.perKeySet)
        #expect(try await manager.destroy(keySet.id, as: bench.alice).erasure == .tombstoned)
        #expect(try await manager.show(keySet.id, as: bench.alice).shredded == nil)
    }

    @Test("keys of single key sets get one version a job, however often it is broken off")
    func ownKeysOnce() async throws {
        let bench = try await RewrapBench()
        var keySets: [KnownKeySet] = []
        for _ in 0..<4 { keySets.append(try await bench.register(with: bench.before(.perKeySet))) }
        var request = RewrapBench.rotation
        request.width = 1
        for _ in 0..<3 {
            await #expect(throws: Planned.self) {
                _ = try await bench.before(.perKeySet).rewrapAll(request, completed: { _ in throw Planned() })
            }
        }
        #expect(try await bench.before(.perKeySet).rewrapAll(RewrapBench.rotation).phase == .complete)
        for keySet in keySets {
            let key = try #require(KMSKeyName("old-seeds-\(keySet.id)"))
            #expect(try await bench.old.describeKey(key).latestVersion == 2)
            try await bench.opens(keySet, with: bench.before(.perKeySet))
        }
        // The next job is another one.
        #expect(try await bench.before(.perKeySet).rewrapAll(RewrapBench.rotation).rewrapped == 4)
    }

    @Test("what else is sealed under the key is looked at again before a version goes, and keeps it where it cannot be")
    func installationLast() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let looks = Flag()
        await #expect(throws: KeyManagementError.kms(.unavailable(reason: "planned"))) {
            _ = try await bench.before().rewrapAll(
                request,
                begun: { version in
                    #expect(version == 2)
                    if !looks.raise() { throw KeyManagementError.kms(.unavailable(reason: "planned")) }
                })
        }
        #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 1)
        #expect(try await bench.before().rewrapAll(request).phase == .complete)
        #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 2)
        try await bench.opens(keySet, with: bench.before())
    }

    @Test("a KMS with a key of the same name does not keep another one's versions from being destroyed")
    func sameName() async throws {
        let bench = try await RewrapBench()
        let (gone, stays) = (try await bench.register(), try await bench.register())
        try await bench.new.createKey(RewrapBench.oldKey)
        let manager = bench.manager(
            KMSDirectory(
                ConfiguredKMS(name: "new", bench.new, key: RewrapBench.oldKey),
                others: [ConfiguredKMS(name: "old", bench.old, key: RewrapBench.oldKey)]))
        #expect(try await manager.destroy(gone.id, as: bench.alice).erasure == .tombstoned)
        #expect(try await manager.rewrapAll(RewrapBench.migration).phase == .complete)
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let progress = try await manager.rewrapAll(request)
        #expect(progress.phase == .complete && progress.shredded == 1)
        try await bench.opens(stays, with: manager)
        // Two names of one server are another matter.
        let twice = bench.manager(
            KMSDirectory(
                ConfiguredKMS(name: "alias", bench.new, key: RewrapBench.oldKey),
                others: [ConfiguredKMS(name: "new", bench.new, key: RewrapBench.oldKey)]))
        request.from = "alias"
        request.to = "alias"
        await #expect(throws: KeyManagementError.self) { _ = try await twice.rewrapAll(request) }
        try await bench.opens(stays, with: twice)
    }

    @Test("a registration that is under way does not keep versions from being destroyed, nor is it lost")
    func registrationAtTheLastLook() async throws {
        let bench = try await RewrapBench()
        let objects = HeldManifests(inner: bench.objects)
        let slow = KeyManager(
            configuration: .init(installation: "test", gateway: "gateway-2", tenant: "default"), keys: bench.keys,
            kms: KMSDirectory(ConfiguredKMS(name: "old", bench.old, key: RewrapBench.oldKey)), objects: objects,
            metadata: bench.metadata, compute: InlineCompute(),
            logger: Logger(label: "test") { _ in
                SwiftLogNoOpLogHandler()
            })
        let registrations = Mutex<[Task<KnownKeySet, any Error>]>([])
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        // It begins after the version was added, so that the job does not know of it.
        let job = Task { [request] in
            try await bench.before().rewrapAll(
                request,
                begun: { _ in
                    guard registrations.withLock({ $0.isEmpty }) else { return }
                    registrations.withLock { $0.append(Task { try await bench.register(with: slow) }) }
                    await objects.awaitHeld()
                })
        }
        while try await bench.before().rewrapJob()?.progress.phase != .retiring {
            try await Task.sleep(for: .milliseconds(5))
        }
        try await Task.sleep(for: .milliseconds(50))
        #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 1)
        objects.release()
        #expect(try await job.value.phase == .complete)
        #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 2)
        let keySet = try await registrations.withLock { $0[0] }.value
        try await bench.opens(keySet, with: bench.before())
    }

    @Test("a registration that fails leaves no key of its own behind")
    func abandoned() async throws {
        let bench = try await RewrapBench()
        let manager = bench.before(.perKeySet)
        var call = 1
        var left = 0
        while true {
            bench.plan.arm(.refused, at: call)
            let keySet = try? await bench.register(with: manager)
            let wasHit = bench.plan.hit != nil
            bench.plan.disarm()
            _ = try await manager.removeAbandonedRegistrations()
            let names =
                try String(contentsOf: bench.folder.appendingPathComponent("old.json"), encoding: .utf8)
                .components(separatedBy: "old-seeds-ks").count - 1
            let known = try await manager.list(as: bench.alice).count
            #expect(names >= known, "call \(call)")
            // One that the KMS itself did not let be removed stays until somebody looks.
            left = max(left, names - known)
            #expect(left <= 1, "call \(call)")
            if !wasHit, keySet != nil { return }
            call += 1
        }
    }

    @Test(
        "retiring a key's old versions shreds what was destroyed before, and nothing else",
        arguments: [ProtectionMode.direct, .envelope])
    func epoch(mode: ProtectionMode) async throws {
        let bench = try await RewrapBench()
        let manager = bench.before()
        let (gone, stays) = (try await bench.register(mode), try await bench.register(mode))
        let (old, kept) = (
            try await Copy(bench, gone, with: manager), try await Copy(bench, stays, with: manager)
        )
        #expect(try await manager.destroy(gone.id, as: bench.alice).erasure == .tombstoned)
        // A rotation alone shreds nothing.
        #expect(try await manager.rewrapAll(RewrapBench.rotation).shredded == 0)
        #expect(try await old.opened(by: bench.old))
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let progress = try await manager.rewrapAll(request)
        #expect(progress.phase == .complete && progress.shredded == 1)
        for copy in [old, kept] { #expect(try await !copy.opened(by: bench.old), "an old copy") }
        #expect(try await manager.destroy(gone.id, as: bench.alice).erasure == .shredded)
        try await bench.opens(stays, with: manager)
        // What is destroyed after it waits for the next time.
        #expect(try await manager.destroy(stays.id, as: bench.alice).erasure == .tombstoned)
    }

    @Test("keys of single key sets are rotated and retired, too")
    func ownKeys() async throws {
        let bench = try await RewrapBench()
        let manager = bench.before(.perKeySet)
        let keySet = try await bench.register(with: manager)
        let copy = try await Copy(bench, keySet, with: manager)
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let progress = try await manager.rewrapAll(request)
        #expect(progress.phase == .complete && progress.rewrapped == 1)
        #expect(try await bench.sealing(keySet).keyVersion == 2)
        #expect(try await !copy.opened(by: bench.old))
        try await bench.opens(keySet, with: manager)
    }

    @Test("what was sealed by an earlier KMS is not shredded while that one's key lives")
    func earlierKMS() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        let copy = try await Copy(bench, keySet, with: bench.before())
        let manager = bench.after(.perKeySet)
        _ = try await manager.rewrapAll(RewrapBench.migration)
        #expect(try await bench.sealing(keySet).keyName == "new-seeds-\(keySet.id)")
        #expect(try await manager.destroy(keySet.id, as: bench.alice).erasure == .tombstoned)
        #expect(try await copy.opened(by: bench.old), "as it says")
        // That a KMS has no such key proves nothing: it may be another server of the same name.
        try await bench.old.destroyKey(RewrapBench.oldKey)
        #expect(try await manager.destroy(keySet.id, as: bench.alice).erasure == .tombstoned)
    }

    @Test("what failed is not lost: the same command again looks at everything before it destroys a version")
    func failedBefore() async throws {
        let bench = try await RewrapBench()
        let (gone, first, second) = (
            try await bench.register(), try await bench.register(), try await bench.register(.envelope)
        )
        _ = try await bench.before().destroy(gone.id, as: bench.alice)
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        for _ in 0..<2 {
            let failing = FailingRewraps(inner: bench.old, failures: 1)
            let progress = try await bench.before(wrapping: failing).rewrapAll(request)
            #expect(progress.failed == 1 && progress.phase == .rewrapping && progress.shredded == 0)
            for keySet in [first, second] { try await bench.opens(keySet, with: bench.before()) }
            #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 1)
            if try await bench.sealing(first).keyVersion == 2, try await bench.sealing(second).keyVersion == 2 { break }
        }
        let progress = try await bench.before().rewrapAll(request)
        #expect(progress.phase == .complete && progress.failed == 0 && progress.shredded == 1)
        #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 2)
        for keySet in [first, second] { try await bench.opens(keySet, with: bench.before()) }
    }

    @Test("a job that could not destroy is no leave to destroy what came later")
    func brokenOffWhileRetiring() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let denying = NoDestruction(inner: bench.old)
        await #expect(throws: (any Error).self) {
            _ = try await bench.before(wrapping: denying).rewrapAll(request)
        }
        #expect(try await bench.before().rewrapJob()?.progress.phase == .retiring)
        // Somebody rotates the key in the KMS meanwhile, and asks for no more than a rewrap.
        for _ in 0..<2 { try await bench.old.rotateKey(RewrapBench.oldKey) }
        var rewrap = RewrapBench.rotation
        rewrap.addsVersion = false
        await #expect(throws: KeyManagementError.self) { _ = try await bench.before().rewrapAll(rewrap) }
        let later = try await bench.register()
        #expect(try await bench.before().rewrapAll(request).phase == .complete)
        #expect(
            try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 2, "its own version, no later one")
        for known in [keySet, later] { try await bench.opens(known, with: bench.before()) }
    }

    @Test("nothing is retired while storage has a seal that no row tells of, or one below the version")
    func lastLook() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        let hidden = try await bench.register()
        let name = try #require(bench.seals(hidden).first)
        let folder = bench.folder.appendingPathComponent("objects/keysets")
        let stray = folder.appendingPathComponent("ks-0123456789abcdef0123456789abcdef")
        try FileManager.default.createDirectory(at: stray, withIntermediateDirectories: false)
        try FileManager.default.copyItem(
            at: folder.appendingPathComponent("\(hidden.id)/\(name)"), to: stray.appendingPathComponent("sealed-seed"))
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        await #expect(throws: KeyManagementError.self) { _ = try await bench.before().rewrapAll(request) }
        #expect(try await bench.old.describeKey(RewrapBench.oldKey).earliestVersion == 1)
        try FileManager.default.removeItem(at: stray)
        #expect(try await bench.before().rewrapAll(request).phase == .complete)
        for known in [keySet, hidden] { try await bench.opens(known, with: bench.before()) }
    }

    @Test("a key set that is destroyed while it is sealed anew is not called shredded for the seal that it had")
    func destroyedMeanwhile() async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register()
        let manager = bench.before()
        let destroying = OnRewrap(inner: bench.old) {
            _ = try? await manager.destroy(keySet.id, as: bench.alice)
        }
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let progress = try await bench.before(wrapping: destroying).rewrapAll(request)
        #expect(progress.phase == .complete)
        // Whether a copy of the new seal was ever stored is not known, so it is not claimed.
        let description = try await manager.show(keySet.id, as: bench.alice)
        #expect(description.state == .destroyed)
        #expect(description.shredded == nil && progress.shredded == 0)
    }

    @Test("a registration under way when the key is rotated is not lost when the old version is retired")
    func registrationMeanwhile() async throws {
        let bench = try await RewrapBench()
        let gate = SealGate(inner: bench.old)
        let slow = bench.before(wrapping: gate)
        let registration = Task { try await bench.register(with: slow) }
        await gate.awaitSeal()
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        let job = Task { [request] in try await bench.before().rewrapAll(request) }
        while try await bench.old.describeKey(RewrapBench.oldKey).latestVersion == 1 {
            try await Task.sleep(for: .milliseconds(1))
        }
        try await Task.sleep(for: .milliseconds(50))
        gate.open()
        let keySet = try await registration.value
        #expect(try await job.value.phase == .complete)
        #expect(try await bench.sealing(keySet).keyVersion == 2)
        try await bench.opens(keySet, with: bench.before())
    }
}

extension ShreddingTests {
    @Test(
        "what a server that lags sealed under a retired version does not become a key set",
        arguments: [ProtectionMode.direct, .envelope])
    func laggingServer(mode: ProtectionMode) async throws {
        let bench = try await RewrapBench()
        let keySet = try await bench.register(mode)
        let lagging = bench.before(wrapping: LaggingSeals(inner: bench.old))
        try await bench.opens(bench.register(mode, with: lagging), with: bench.before())
        var request = RewrapBench.rotation
        request.retiresOldVersions = true
        #expect(try await bench.before().rewrapAll(request).phase == .complete)
        // A job after it forgets nothing.
        #expect(try await bench.before().rewrapAll(RewrapBench.rotation).phase == .complete)
        let count = try await bench.before().list(as: bench.alice).count
        let error = await #expect(throws: KeyManagementError.self) { try await bench.register(mode, with: lagging) }
        guard case .kms(.unavailable(let reason)) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("version 1") && reason.contains("lags"))
        #expect(try await bench.before().list(as: bench.alice).count == count)
        try await bench.opens(bench.register(mode), with: bench.before())
        try await bench.opens(keySet, with: bench.before())
    }
}

/// A KMS that has not heard of any rotation.
private struct LaggingSeals: ForwardingKMS {
    let inner: any TrustedKMS

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let sealed = try await inner.seal(secret, under: key, context: context, as: caller)
        return KMSSealedBlob(bytes: sealed.bytes, keyVersion: 1)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        let made = try await inner.generateDataKey(under: key, context: context, as: caller)
        let sealed = KMSSealedBlob(bytes: made.sealed.bytes, keyVersion: 1)
        return KMSDataKey(plaintext: made.take(), sealed: sealed)
    }
}

/// A KMS whose first rewraps give nothing of use.
private final class FailingRewraps: ForwardingKMS {
    let inner: any TrustedKMS
    private let left: Mutex<Int>

    init(inner: any TrustedKMS, failures: Int) {
        self.inner = inner
        left = Mutex(failures)
    }

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let fails = left.withLock { left in
            defer { left -= 1 }
            return left > 0
        }
        guard !fails else { throw .invalidResponse(reason: "planned") }
        return try await inner.rewrap(sealed, under: key, context: context, as: caller)
    }
}

/// A KMS whose credential may not destroy versions.
private struct NoDestruction: ForwardingKMS {
    let inner: any TrustedKMS

    func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        throw .denied(reason: "planned")
    }

    func destroyKey(_ name: KMSKeyName) async throws(KMSError) { throw .denied(reason: "planned") }
}

/// A KMS beside whose rewraps something else happens.
private struct OnRewrap: ForwardingKMS {
    let inner: any TrustedKMS
    let body: @Sendable () async -> Void

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        await body()
        return try await inner.rewrap(sealed, under: key, context: context, as: caller)
    }
}

private struct Planned: Error {}

/// Holds back every manifest until it is told to go on.
private final class HeldManifests: ObjectStore {
    private let inner: any ObjectStore
    private let held = AsyncStream<Void>.makeStream()
    private let isReleased = Flag()

    init(inner: any ObjectStore) { self.inner = inner }

    func awaitHeld() async { for await _ in held.stream { return } }

    func release() { isReleased.raise() }

    func put(_ bytes: [UInt8], at key: ObjectKey, onlyIfAbsent: Bool) async throws(ObjectStoreError) {
        if key.value.contains("/manifest-") {
            held.continuation.yield()
            while !isReleased.isRaised { try? await Task.sleep(for: .milliseconds(2)) }
        }
        try await inner.put(bytes, at: key, onlyIfAbsent: onlyIfAbsent)
    }

    func get(_ key: ObjectKey, limit: Int) async throws(ObjectStoreError) -> [UInt8] {
        try await inner.get(key, limit: limit)
    }

    func delete(_ key: ObjectKey) async throws(ObjectStoreError) { try await inner.delete(key) }

    func list(prefix: String) async throws(ObjectStoreError) -> [ObjectKey] { try await inner.list(prefix: prefix) }

    func checkHealth() async throws(ObjectStoreError) { try await inner.checkHealth() }
}

/// A KMS that lets nobody destroy a key now.
private struct AwayKMS: ForwardingKMS {
    let inner: any TrustedKMS

    func destroyKey(_ name: KMSKeyName) async throws(KMSError) { throw .unavailable(reason: "planned") }
}

/// A KMS whose first sealing is answered late.
private final class SealGate: ForwardingKMS {
    let inner: any TrustedKMS
    private let sealed = AsyncStream<Void>.makeStream()
    private let opened = AsyncStream<Void>.makeStream()

    init(inner: any TrustedKMS) { self.inner = inner }

    /// Returns when something is sealed whose answer is held back.
    func awaitSeal() async { for await _ in sealed.stream { return } }
    func open() { opened.continuation.finish() }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let blob = try await inner.seal(secret, under: key, context: context, as: caller)
        sealed.continuation.yield()
        for await _ in opened.stream {}
        return blob
    }
}
