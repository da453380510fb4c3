import Foundation
import KeyManagement
import SecretMemory
import Synchronization
import TestSupport
import Testing
import TrustedKMSOpenBao

/// The active server of a cluster is killed under load: once, ten times with HKMS_SOAK=1.
@Suite(.serialized, .timeLimit(.minutes(20))) struct OpenBaoFailoverTests {
    private static let failovers = ProcessInfo.processInfo.environment["HKMS_SOAK"] == "1" ? 10 : 1
    private static let delegation = OpenBaoDelegation(role: "hkms-user")

    /// What a worker sealed, to be opened at the end.
    private final class Sealed: Sendable {
        let blob: KMSSealedBlob
        let context: SealingContext
        private let secret: SecretBytes

        init(_ blob: KMSSealedBlob, _ context: SealingContext, _ secret: consuming SecretBytes) {
            self.blob = blob
            self.context = context
            self.secret = secret
        }

        func holds(_ opened: borrowing SecretBytes) -> Bool { opened.equals(secret) }
    }

    /// Counts of one adapter's calls.
    private final class Tally: Sendable {
        struct Counts {
            var passed = 0
            var unavailable = 0
            var longest = Duration.zero
        }
        let counts = Mutex(Counts())
    }

    /// What the workers share.
    private final class Load: Sendable {
        let sealed = Mutex<[(Sealed, KMSKeyName, String?)]>([])
        let isOver = Mutex(false)
        let patient = Tally()
        let hasty = Tally()
    }

    @Test("every call in flight passes, or fails with a name and passes when it is made again; nothing is lost")
    func leaderIsKilledUnderLoad() async throws {
        try await OpenBaoCluster.with { cluster in
            let issuer = JWTIssuer()
            try await Self.enableDelegation(cluster, issuer)
            // One that waits for the next leader, and one that does not.
            let patient = try OpenBaoKMS(cluster.configuration(retryTime: .seconds(60), delegation: Self.delegation))
            let hasty = try OpenBaoKMS(cluster.configuration(retryTime: .zero, delegation: Self.delegation))
            do {
                try await Self.useWhatWasJustMade(cluster, issuer)
                try await Self.load(cluster, issuer, patient: patient, hasty: hasty)
            } catch {
                await patient.shutdown()
                await hasty.shutdown()
                throw error
            }
            await patient.shutdown()
            await hasty.shutdown()
        }
    }

    /// Standbys serve reads and lag behind; the first address is one of them.
    private static func useWhatWasJustMade(_ cluster: OpenBaoCluster, _ issuer: JWTIssuer) async throws {
        let context = SealingContext.forTests(["standby"])
        let kms = try OpenBaoKMS(
            OpenBaoConfiguration(
                addresses: cluster.addresses.reversed(),
                authentication: .token(OpenBaoTestServer.token(cluster.token)), delegation: delegation,
                caCertificateFile: cluster.ca, retryTime: .zero))
        let error = await failure {
            for round in 0..<20 {
                let key = TrustedKMSConformance.freshName()
                try await kms.createKey(key)
                _ = try await kms.generateDataKey(under: key, context: context, as: .service)
                let caller = try caller("user \(round)", issuer)
                _ = try await kms.generateDataKey(
                    under: kms.principalKey(of: caller), context: context, as: caller)
            }
        }
        await kms.shutdown()
        #expect(error == nil)
    }

    private static func load(
        _ cluster: OpenBaoCluster, _ issuer: JWTIssuer, patient: OpenBaoKMS, hasty: OpenBaoKMS
    ) async throws {
        let key = try #require(KMSKeyName("hkms-seeds"))
        try await patient.createKey(key)
        let load = Load()
        let folders = (try TemporaryFolder(), try TemporaryFolder())
        let keySets = [
            try await KeySetLoad(patient, key: key, in: folders.0),
            try await KeySetLoad(hasty, key: key, in: folders.1),
        ]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for keySets in keySets {
                group.addTask { try await keySets.run { load.isOver.withLock { $0 } } }
            }
            for worker in 0..<16 {
                group.addTask {
                    let (kms, tally) = worker % 2 == 0 ? (patient, load.patient) : (hasty, load.hasty)
                    // A quarter comes with credentials of their own.
                    let subject = worker >= 12 ? "user \(worker)" : nil
                    var round = 0
                    while !load.isOver.withLock({ $0 }) {
                        round += 1
                        let context = SealingContext.forTests(["failover", "\(worker)", "\(round)"])
                        let (sealed, key) = try await sealAndOpen(kms, tally, key, subject, issuer, context)
                        if round % 8 == 1 { load.sealed.withLock { $0.append((sealed, key, subject)) } }
                    }
                }
            }
            group.addTask {
                for _ in 0..<failovers {
                    try await Task.sleep(for: .seconds(5))
                    let node = try await cluster.killLeader()
                    try await Task.sleep(for: .seconds(18))
                    if failovers > 1 { try await cluster.restart(node) }
                }
                load.isOver.withLock { $0 = true }
            }
            try await group.waitForAll()
        }

        let (waited, failed) = (load.patient.counts.withLock { $0 }, load.hasty.counts.withLock { $0 })
        #expect(waited.unavailable == 0, "a retry time that outlasts the election loses no call")
        // A call may outlast the election at a standby, and pass late instead of failing.
        #expect(
            failed.unavailable > 0 || failed.longest > .seconds(1),
            "nobody noticed: the leader was not killed under load")
        #expect(waited.passed > 100 && failed.passed > 100)
        #expect(waited.longest < .seconds(60 + 3 * 5), "retries and the last requests end in time")
        // The data key and its opening are one step: two calls, each perhaps with a login before it.
        #expect(failed.longest < .seconds(2 * (3 + 3) * 5), "two logins and two calls at three servers end in time")

        #expect(keySets[0].failed == 0)
        for keySets in keySets {
            #expect(keySets.count >= 8)
            try await keySets.check()
        }
        // Every seed is there.
        let sealed = load.sealed.withLock { $0 }
        #expect(sealed.count >= 16)
        for (sealed, key, subject) in sealed {
            let opened = try await patient.open(
                sealed.blob, under: key, context: sealed.context, as: try caller(subject, issuer))
            let isSame = sealed.holds(opened)
            #expect(isSame)
        }
    }

    private static func caller(_ subject: String?, _ issuer: JWTIssuer) throws -> KMSCaller {
        guard let subject else { return .service }
        return try .holding(issuer.token(subject: subject))
    }

    /// Seal, open and a data key, each until it passes.
    private static func sealAndOpen(
        _ kms: OpenBaoKMS, _ tally: Tally, _ serviceKey: KMSKeyName, _ subject: String?, _ issuer: JWTIssuer,
        _ context: SealingContext
    ) async throws -> (Sealed, KMSKeyName) {
        let caller = try caller(subject, issuer)
        var key = serviceKey
        if subject != nil {
            try await insist(tally) { key = try await kms.principalKey(of: caller) }
        }
        let secret = try SecretBytes(randomCount: 32)
        var blob: KMSSealedBlob?
        try await insist(tally) { blob = try await kms.seal(secret, under: key, context: context, as: caller) }
        let sealed = Sealed(try #require(blob), context, secret)
        try await insist(tally) {
            let opened = try await kms.open(sealed.blob, under: key, context: context, as: caller)
            let isSame = sealed.holds(opened)
            #expect(isSame)
        }
        try await insist(tally) {
            let sealed = try await kms.generateDataKey(under: key, context: context, as: caller).sealed
            _ = try await kms.open(sealed, under: key, context: context, as: caller)
        }
        return (sealed, key)
    }

    /// Makes a call until it passes, for two minutes. Only what says that a retry helps is retried.
    private static func insist(_ tally: Tally, _ body: () async throws -> Void) async throws {
        let end = ContinuousClock.now + .seconds(120)
        while true {
            let start = ContinuousClock.now
            let error = await failure(body)
            let duration = ContinuousClock.now - start
            tally.counts.withLock {
                $0.longest = max($0.longest, duration)
                if error == nil { $0.passed += 1 } else { $0.unavailable += 1 }
            }
            switch error {
            case nil: return
            case .unavailable, .throttled:
                guard ContinuousClock.now < end else { throw ConformanceFailure("still \(String(describing: error))") }
                try await Task.sleep(for: .milliseconds(100))
            default: throw ConformanceFailure("no failure of a server: \(String(describing: error))")
            }
        }
    }

    private static func enableDelegation(_ cluster: OpenBaoCluster, _ issuer: JWTIssuer) async throws {
        let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../docs/kms/policies/user.hcl")
        try await cluster.administer(
            "PUT", "sys/policies/acl/hkms-user", ["policy": String(contentsOf: file, encoding: .utf8)])
        try await cluster.administer("POST", "sys/auth/jwt", ["type": "jwt"])
        try await cluster.administer(
            "POST", "auth/jwt/config",
            ["jwt_validation_pubkeys": [issuer.publicKeyPEM], "bound_issuer": issuer.issuer])
        try await cluster.administer(
            "POST", "auth/jwt/role/hkms-user",
            [
                "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["kms"], "token_policies": ["hkms-user"],
                "token_num_uses": 1, "token_ttl": "60s", "token_max_ttl": "60s", "token_no_default_policy": true,
            ])
    }
}
