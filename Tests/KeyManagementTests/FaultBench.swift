import Attestation
import Foundation
import HomomorphicEncryption
import KeyManagement
import Logging
import SecretMemory
import StorageFiles
import StorageSQLite
import Synchronization
import TestSupport
import Testing
import TrustedKMSSoftware

/// An installation with a past, whose ports fail as planned: one key set that works and one that was destroyed.
final class FaultBench: Sendable {
    /// In memory where there is a file system for it: how durable files are is not asked here.
    let folder: URL
    let plan = FaultPlan()
    let clock = SteppingClock()
    let kms: FaultyKMS
    let objects: FileObjectStore
    let metadata: SQLiteMetadataStore
    let keys: InstallationKeys
    let kept: String
    /// Of `kept`.
    let ciphertext: [UInt8]
    let destroyed: String
    let alice = Requester(issuer: "static", subject: "alice", tenant: "default", groups: [])

    /// Decryptions that every key set here is registered with.
    static let budget = 100_000

    init(_ mode: ProtectionMode = .direct) async throws {
        let memory = URL(fileURLWithPath: "/dev/shm")
        let root =
            FileManager.default.isWritableFile(atPath: memory.path) ? memory : FileManager.default.temporaryDirectory
        folder = root.appendingPathComponent("hkms-test-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let software = try SoftwareKMS.create(
            at: folder.appendingPathComponent("keystore.json").path, passphrase: SecretBytes(randomCount: 16),
            developmentOnly: true, scryptCost: .minimum)
        try await software.createKey(Fixture.kmsKey)
        kms = FaultyKMS(software, plan)
        objects = try FileObjectStore(directory: folder.appendingPathComponent("objects").path)
        metadata = try SQLiteMetadataStore(path: folder.appendingPathComponent("metadata.sqlite").path)
        (keys, _) = try await InstallationKeys.create(
            installation: "test", tenant: "default", kms: KMSDirectory(kms, key: Fixture.kmsKey))
        let manager = Self.manager(kms, objects, metadata, keys, plan, clock)
        let first = try await manager.register(Self.request(mode, by: alice), as: alice)
        let second = try await manager.register(Self.request(mode, by: alice), as: alice)
        (kept, destroyed) = (first.keySet.manifest.keySet, second.keySet.manifest.keySet)
        ciphertext = try await manager.encrypt([.init(sample)], under: kept, as: alice).ciphertexts[0]
        _ = try await manager.destroy(destroyed, as: alice)
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    /// The manager of a process that has just started.
    func manager() -> KeyManager { Self.manager(kms, objects, metadata, keys, plan, clock) }

    private static func manager(
        _ kms: FaultyKMS, _ objects: FileObjectStore, _ metadata: SQLiteMetadataStore, _ keys: InstallationKeys,
        _ plan: FaultPlan, _ clock: SteppingClock
    ) -> KeyManager {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return KeyManager(
            configuration: .init(
                installation: "test", gateway: "gateway-1", tenant: "default"),
            keys: keys, kms: KMSDirectory(kms, key: Fixture.kmsKey), objects: FaultyObjects(inner: objects, plan: plan),
            metadata: FaultyMetadata(inner: metadata, plan: plan), compute: FaultyCompute(plan: plan), logger: logger,
            clock: { clock.now })
    }

    /// With a request id of its own.
    func request(_ mode: ProtectionMode) throws -> RegistrationRequest { try Self.request(mode, by: alice) }

    private static func request(_ mode: ProtectionMode, by owner: Requester) throws -> RegistrationRequest {
        RegistrationRequest(
            requestID: UUID().uuidString, mode: mode, owner: owner.owner,
            parameters: try #require(ParameterPreset.named("ckks-12")).parameters,
            evaluationKeys: [
                EvaluationKeyID(kind: .relinearization, level: 2), EvaluationKeyID(kind: .galois, galois: 3, level: 2),
            ], profile: nil, policy: KeySetPolicy.raw(decryptionBudget: budget))
    }

    struct Outcome: Sendable {
        let error: (any Error)?
        /// The first port that failed.
        let hit: Port?
    }

    /// Runs a flow while the call of this number fails.
    func attempt(_ fault: Fault, at call: Int, _ flow: @escaping @Sendable () async throws -> Void)
        async -> Outcome
    {
        plan.arm(fault, at: call)
        let task = Task { try await flow() }
        let watcher = Task { [plan] in
            while !Task.isCancelled {
                if plan.isHanging { return task.cancel() }
                try? await Task.sleep(for: .milliseconds(1))
            }
        }
        var failure: (any Error)?
        do { try await task.value } catch { failure = error }
        watcher.cancel()
        let hit = plan.hit
        plan.disarm()
        return Outcome(error: failure, hit: hit)
    }

    /// A registration that dies before its last write: everything is stored, and no row names it.
    func breakOffRegistration() async throws -> RegistrationRequest {
        let request = try request(.envelope)
        let manager = manager()
        plan.arm(.gone, at: 15)
        await #expect(throws: KeyManagementError.metadataStore(.unavailable(reason: "planned"))) {
            try await manager.register(request, as: alice)
        }
        plan.disarm()
        return request
    }

    /// A job over the sample under the key set that is kept, and what the unit makes of it.
    func openJob(
        _ unit: SevenUnit, _ manager: KeyManager, keepsOutputs: Bool = true
    ) async throws -> (job: JobDescription, output: [UInt8]) {
        let job = try await unit.openJob(manager, under: kept, keepsOutputs: keepsOutputs, as: alice)
        return (job, try await unit.result(manager, under: kept, as: alice))
    }

    // MARK: What is promised

    /// Key sets that can be used, besides that of the past.
    func newKeySets() async throws -> [String] {
        try await manager().list(as: alice).filter { $0.state != .destroyed && $0.manifest.keySet != kept }
            .map(\.manifest.keySet)
    }

    /// Nothing of the past is lost, what is listed is whole, budgets add up, and no secret is stored.
    func check(_ note: Comment) async throws {
        let manager = manager()
        let old = try await manager.decrypt([ciphertext], of: kept, count: 8, as: alice)
        #expect(close(old.vectors[0], sample), note)
        let list = try await manager.list(as: alice)
        #expect(list.first { $0.manifest.keySet == kept }?.state == .active, note)
        #expect(list.first { $0.manifest.keySet == destroyed }?.state == .destroyed, note)
        for description in list {
            let (keySet, counters) = (description.manifest.keySet, description.counters)
            #expect(counters.failures == 0, note)
            #expect(counters.decryptionsLeft.map { $0 + counters.decryptions } == Self.budget, note)
            guard description.state != .destroyed else {
                await #expect(throws: KeyManagementError.keySetDestroyed(keySet), note) {
                    try await manager.encrypt([.init(sample)], under: keySet, as: alice)
                }
                continue
            }
            let fresh = try await manager.encrypt([.init(sample)], under: keySet, as: alice).ciphertexts
            let opened = try await manager.decrypt(fresh, of: keySet, count: 8, as: alice)
            #expect(close(opened.vectors[0], sample), note)
            for entry in description.manifest.objects where entry.kind != .publicKey {
                _ = try await manager.evaluationKey(entry.name, of: keySet, as: alice)
            }
        }
        #expect(SecretScan(kms.secrets).files(below: folder) == [], note)
    }

    /// Every stored object is one that a row's manifest names. Outputs of jobs are left out.
    func checkObjects(_ note: Comment) async throws {
        var expected: Set<String> = []
        for description in try await manager().list(as: alice) {
            let (keySet, manifest) = (description.manifest.keySet, description.manifest)
            var names = ["manifest-\(description.manifestDigest.hex)"]
            if description.state != .destroyed {
                names += ["sealed-seed"] + manifest.objects.map(\.name)
                if manifest.sealing.sealedDataKey != nil { names.append("sealed-data-key") }
            }
            expected.formUnion(names.map { "keysets/\(keySet)/\($0)" })
        }
        let stored = try await objects.list(prefix: "").map(\.value).filter {
            !$0.contains("/jobs/")
        }
        #expect(Set(stored) == expected, note)
    }
}

/// One flow, what must hold when a call of it failed, and every call of it to fail.
struct FaultSweep<Past: Sendable>: Sendable {
    var mode = ProtectionMode.direct
    let prepare: @Sendable (FaultBench) async throws -> Past
    let flow: @Sendable (FaultBench, KeyManager, Past) async throws -> Void
    /// With the manager that failed.
    let afterwards: @Sendable (FaultBench, KeyManager, Past, FaultBench.Outcome, Comment) async throws -> Void

    /// - Returns: how many calls failed, one at a time: all that the flow makes; of KMS's wishes to be left alone, those
    ///   to the KMS.
    func run(_ fault: Fault) async throws -> Int {
        let trial = try await FaultBench(mode)
        let trialPast = try await prepare(trial)
        trial.plan.disarm()
        try await flow(trial, trial.manager(), trialPast)
        let ports = trial.plan.ports
        let calls = ports.indices.filter { fault != .throttled || ports[$0] == .kms }.map { $0 + 1 }
        let bench = try await FaultBench(mode)
        for call in calls {
            let past = try await prepare(bench)
            let manager = bench.manager()
            let flow = flow
            let outcome = await bench.attempt(fault, at: call) { try await flow(bench, manager, past) }
            let port = outcome.hit?.rawValue ?? "none"
            let note: Comment = "call \(call) of \(ports.count), \(port): \(fault.rawValue)"
            #expect(outcome.hit != nil, note)
            if let error = outcome.error {
                #expect(isNamed(error, fault, outcome.hit), "\(note.rawValue): \(error)")
            }
            do {
                try await afterwards(bench, manager, past, outcome, note)
                try await bench.check(note)
            } catch { Issue.record(error, note) }
        }
        return calls.count
    }

    /// The error tells which system failed, and a KMS's wish to be left alone goes through.
    private func isNamed(_ error: any Error, _ fault: Fault, _ port: Port?) -> Bool {
        let named: Port
        switch error as? KeyManagementError {
        case .kms(.throttled(retryAfterSeconds: 7)): return port == .kms && fault == .throttled
        case .kms(.unavailable): named = .kms
        case .objectStore(.unavailable): named = .objects
        case .metadataStore(.unavailable): named = .metadata
        case .busy: named = .compute
        case .internalFailure("the request was cancelled"):
            return port == .compute && (fault == .lostAnswer || fault == .hangs)
        default: return false
        }
        // Where one failure can be borne, the next one is told.
        return fault != .throttled && (named == port || fault == .gone)
    }
}

/// Something that a test waits for.
final class Signal: Sendable {
    private let isSet = Mutex(false)
    var wasSet: Bool { isSet.withLock { $0 } }
    func set() { isSet.withLock { $0 = true } }
    func wait() async { while !wasSet { try? await Task.sleep(for: .milliseconds(1)) } }
}
