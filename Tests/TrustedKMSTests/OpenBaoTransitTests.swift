import Foundation
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSOpenBao

/// What Transit does beyond the conformance of every KMS.
@Suite struct OpenBaoTransitTests {
    private static let context = SealingContext.forTests(["transit"])

    // MARK: Versions that are destroyed

    @Test("what destroyed versions sealed is lost, whatever is configured afterwards")
    func destroyedVersionsStayDestroyed() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS { kms in
            let key = try await TrustedKMSConformance.freshKey(kms)
            let secret = try SecretBytes(randomCount: 32)
            let old = try await kms.seal(secret, under: key, context: Self.context, as: .service)
            for _ in 0..<3 { try await kms.rotateKey(key) }
            let new = try await kms.rewrap(old, under: key, context: Self.context, as: .service)

            // Nothing above the minimum is destroyed.
            for version in [2, 4, 5] {
                guard case .keyUnusable = await failure({ try await kms.destroyVersions(below: version, of: key) })
                else { throw ConformanceFailure("version \(version)") }
            }
            try await kms.destroyVersions(below: 1, of: key)
            _ = try await kms.open(old, under: key, context: Self.context, as: .service)

            try await kms.setMinimumVersion(3, of: key)
            // A minimum alone is taken back.
            try await kms.setMinimumVersion(1, of: key)
            _ = try await kms.open(old, under: key, context: Self.context, as: .service)
            try await kms.setMinimumVersion(3, of: key)
            try await kms.destroyVersions(below: 2, of: key)
            try await kms.destroyVersions(below: 3, of: key)
            try await kms.destroyVersions(below: 3, of: key)
            try await kms.destroyVersions(below: 2, of: key)

            for version in [1, 2] {
                guard
                    case .keyUnusable(key, let reason) = await failure({
                        try await kms.setMinimumVersion(version, of: key)
                    })
                else { throw ConformanceFailure("the minimum went back to \(version)") }
                #expect(reason.contains("destroyed"))
            }
            // As an administrator with every right would try it.
            for setting in ["min_decryption_version", "min_available_version", "min_encryption_version"] {
                _ = try? await server.administer("POST", "transit/keys/\(key)/config", [setting: 1])
                _ = try? await server.administer("POST", "transit/keys/\(key)/trim", [setting: 1])
            }
            for operation in 0..<2 {
                guard
                    case .keyUnusable(key, _) = await failure({
                        if operation == 0 {
                            _ = try await kms.open(old, under: key, context: Self.context, as: .service)
                        } else {
                            _ = try await kms.rewrap(old, under: key, context: Self.context, as: .service)
                        }
                    })
                else { throw ConformanceFailure("operation \(operation) on what is destroyed") }
            }
            let opened = try await kms.open(new, under: key, context: Self.context, as: .service)
            let isSame = opened.equals(secret)
            #expect(isSame)

            // The key lives on.
            try await kms.rotateKey(key)
            try await kms.setMinimumVersion(5, of: key)
            try await kms.destroyVersions(below: 5, of: key)
            let last = try await kms.seal(secret, under: key, context: Self.context, as: .service)
            #expect(last.keyVersion == 5)
            _ = try await kms.open(last, under: key, context: Self.context, as: .service)
        }
    }

    @Test func softDeletedKeyIsPendingDeletion() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS { kms in
            let key = try await TrustedKMSConformance.freshKey(kms)
            #expect(try await kms.describeKey(key).state == .enabled)
            let sealed = try await kms.generateDataKey(under: key, context: Self.context, as: .service).sealed
            try await server.administer("DELETE", "transit/keys/\(key)/soft-delete")
            #expect(try await kms.describeKey(key).state == .pendingDeletion)
            guard
                case .keyUnusable(key, let reason) = await failure({
                    _ = try await kms.open(sealed, under: key, context: Self.context, as: .service)
                })
            else { throw ConformanceFailure("a soft-deleted key was used") }
            #expect(reason.contains("soft-deleted"))
            try await server.administer("POST", "transit/keys/\(key)/soft-delete-restore")
            _ = try await kms.open(sealed, under: key, context: Self.context, as: .service)
        }
    }

    @Test("nothing is sealed under a key that can leave the KMS", arguments: ["exportable", "allow_plaintext_backup"])
    func keyThatCanLeaveIsRefused(_ setting: String) async throws {
        let server = try OpenBaoTestServer()
        let key = TrustedKMSConformance.freshName()
        try await server.administer(
            "POST", "transit/keys/\(key)", ["type": "aes256-gcm96", "derived": true, setting: true])
        try await server.withKMS { kms in
            let secret = try SecretBytes(randomCount: 32)
            for isDataKey in [false, true] {
                guard
                    case .keyUnusable(key, let reason) = await failure({
                        if isDataKey {
                            _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
                        } else {
                            _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
                        }
                    })
                else { throw ConformanceFailure("\(setting): sealed") }
                #expect(reason.contains("exportable"))
            }
            #expect(try await kms.describeKey(key).state == .enabled)
        }
    }

    /// docs/kms/policies/administrator.hcl
    @Test("an administrator makes and changes no key into one that can leave the KMS")
    func administratorTakesNothingOut() async throws {
        let server = try OpenBaoTestServer()
        let key = TrustedKMSConformance.freshName()
        let policy = try await server.load("administrator", replacing: ["hkms-seeds": key.value])
        let token = try await server.createToken(policy: policy)
        let path = "transit/keys/\(key)"
        let form: [String: any Sendable] = ["type": "aes256-gcm96", "derived": true]
        for (name, value) in [("exportable", true), ("allow_plaintext_backup", true), ("derived", false)] {
            #expect(try await server.status("POST", path, form.merging([name: value]) { $1 }, token: token) == 403)
        }
        try await server.withKMS(.token(OpenBaoTestServer.token(token))) { kms in
            try await kms.createKey(key)
            try await kms.rotateKey(key)
            try await kms.setMinimumVersion(2, of: key)
            #expect(try await kms.describeKey(key).minimumVersion == 2)
        }
        for setting in ["exportable", "allow_plaintext_backup", "deletion_allowed"] {
            #expect(try await server.status("POST", "\(path)/config", [setting: true], token: token) == 403)
        }
    }

    /// docs/kms/policies/gateway-perkeyset.hcl and administrator-perkeyset.hcl
    @Test("a gateway makes, uses and destroys keys of single key sets; it trims none and takes none out")
    func gatewayHasKeysOfKeySets() async throws {
        let server = try OpenBaoTestServer()
        let shared = TrustedKMSConformance.freshName()
        try await server.withKMS { try await $0.createKey(shared) }
        var policies = [try await server.leastPolicy(for: shared)]
        policies.append(try await server.load("gateway-perkeyset", replacing: ["hkms-seeds": shared.value]))
        let own = try #require(KMSKeyName("\(shared)-ks-\(UInt32.random(in: .min ... .max))"))
        let gateway = try await server.createToken(policy: "", settings: ["policies": policies])
        let administrator = try await server.createToken(
            policy: "",
            settings: [
                "policies": policies + [
                    try await server.load("administrator-perkeyset", replacing: ["hkms-seeds": shared.value])
                ]
            ])
        try await server.withKMS(.token(OpenBaoTestServer.token(gateway))) { kms in
            try await kms.createKey(own)
            let secret = try SecretBytes(randomCount: 32)
            let sealed = try await kms.seal(secret, under: own, context: Self.context, as: .service)
            let opened = try await kms.open(sealed, under: own, context: Self.context, as: .service)
            let isSame = opened.equals(secret)
            #expect(isSame)
            _ = try await kms.generateDataKey(under: own, context: Self.context, as: .service)
            try await kms.rotateKey(own)
            #expect(try await kms.rewrap(sealed, under: own, context: Self.context, as: .service).keyVersion == 2)

            let other = TrustedKMSConformance.freshName()
            let missing = try #require(KMSKeyName("\(own)-missing"))
            let calls: [@Sendable () async throws -> Void] = [
                { try await kms.setMinimumVersion(2, of: own) },
                { try await kms.createKey(other) },
                { try await kms.rotateKey(shared) },
                { try await kms.setMinimumVersion(1, of: shared) },
                { try await kms.destroyKey(shared) },
            ]
            for (index, call) in calls.enumerated() {
                guard case .denied = await failure(call) else { throw ConformanceFailure("call \(index) passed") }
            }
            let form: [String: any Sendable] = ["type": "aes256-gcm96", "derived": true]
            let path = "transit/keys/\(missing)"
            for (name, value) in [("exportable", true), ("allow_plaintext_backup", true), ("derived", false)] {
                #expect(
                    try await server.status("POST", path, form.merging([name: value]) { $1 }, token: gateway) == 403)
            }
            let context = ["plaintext": "aGttcw==", "context": "aGttcw=="]
            #expect(try await server.status("POST", "transit/encrypt/\(missing)", context, token: gateway) == 403)
            for setting in ["exportable", "allow_plaintext_backup"] {
                let path = "transit/keys/\(own)/config"
                #expect(try await server.status("POST", path, [setting: true], token: gateway) == 403)
            }
        }
        // Where the minimum stands, trimming is a right of its own.
        try await server.withKMS { try await $0.setMinimumVersion(2, of: own) }
        try await server.administer("POST", "transit/keys/\(own)/config", ["min_encryption_version": 2])
        let trim = ["min_available_version": 2]
        #expect(try await server.status("POST", "transit/keys/\(own)/trim", trim, token: gateway) == 403)
        try await server.withKMS(.token(OpenBaoTestServer.token(administrator))) { kms in
            try await kms.destroyVersions(below: 2, of: own)
            try await kms.rotateKey(own)
            try await kms.setMinimumVersion(3, of: own)
            try await kms.destroyVersions(below: 3, of: own)
        }
        try await server.withKMS(.token(OpenBaoTestServer.token(gateway))) { kms in
            #expect(try await kms.describeKey(own).minimumVersion == 3)
            try await kms.destroyKey(own)
            #expect(await failure { _ = try await kms.describeKey(own) } == .keyNotFound(own))
        }
    }

    /// docs/kms/policies/gateway-signing.hcl
    @Test func signingPolicySuffices() async throws {
        let server = try OpenBaoTestServer()
        let key = TrustedKMSConformance.freshName()
        try await server.withKMS { try await $0.createKey(key, purpose: .signing) }
        let policy = try await server.load("gateway-signing", replacing: ["hkms-manifest": key.value])
        let token = try await server.createToken(policy: policy)
        try await server.withKMS(.token(OpenBaoTestServer.token(token))) { kms in
            #expect(try await kms.sign([1, 2, 3], with: key).count == 64)
            #expect(try await kms.describeKey(key).publicKey?.count == 32)
            guard case .denied = await failure({ try await kms.rotateKey(key) }) else {
                throw ConformanceFailure("an administrator's call passed")
            }
        }
    }

    /// docs/kms/policies/administrator.hcl
    @Test func administratorOpensNothing() async throws {
        let server = try OpenBaoTestServer()
        let key = TrustedKMSConformance.freshName()
        let policy = try await server.load("administrator", replacing: ["hkms-seeds": key.value])
        let token = try await server.createToken(policy: policy)
        let sealed = try await server.withKMS(.token(OpenBaoTestServer.token(token))) { kms in
            try await kms.requireKey(key)
            return try await server.withKMS { root in
                try await root.generateDataKey(under: key, context: Self.context, as: .service).sealed
            }
        }
        try await server.withKMS(.token(OpenBaoTestServer.token(token))) { kms in
            try await kms.rotateKey(key)
            try await kms.setMinimumVersion(1, of: key)
            let calls: [@Sendable () async throws -> Void] = [
                { _ = try await kms.open(sealed, under: key, context: Self.context, as: .service) },
                { _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service) },
                { _ = try await kms.rewrap(sealed, under: key, context: Self.context, as: .service) },
                { try await kms.destroyKey(key) },
                {
                    try await kms.setMinimumVersion(2, of: key)
                    try await kms.destroyVersions(below: 2, of: key)
                },
            ]
            for (index, call) in calls.enumerated() {
                guard case .denied = await failure(call) else { throw ConformanceFailure("call \(index) passed") }
            }
        }
    }

    // MARK: Batches

    @Test("a batch is rewrapped in few requests, each secret by itself")
    func batchesAreRewrapped() async throws {
        let server = try OpenBaoTestServer()
        try await server.withKMS { kms in
            let key = try await TrustedKMSConformance.freshKey(kms)
            var items: [KMSRewrapItem] = []
            for index in 0..<300 {
                let context = SealingContext.forTests(["batch", "\(index)"])
                let secret = try SecretBytes(copying: [UInt8](repeating: UInt8(index % 251), count: 1 + index % 64))
                items.append(
                    .init(try await kms.seal(secret, under: key, context: context, as: .service), context: context))
            }
            // Three that fail, each alone: another's context, altered, no ciphertext at all.
            items[7].context = items[8].context
            items[130].sealed.bytes[40] ^= 1
            items[299].sealed.bytes = [1, 2, 3]
            try await kms.rotateKey(key)
            let results = try await CompletedKMS(kms).rewrap(items, under: key, as: .service)
            #expect(results.count == items.count)
            for (index, result) in results.enumerated() {
                switch result {
                case .failure(let error): #expect([7, 130, 299].contains(index) && error == .cannotOpen, "\(index)")
                case .success(let blob):
                    #expect(![7, 130, 299].contains(index))
                    #expect(blob.keyVersion == 2)
                    let opened = try await kms.open(blob, under: key, context: items[index].context, as: .service)
                    let isSame = opened.equals([UInt8](repeating: UInt8(index % 251), count: 1 + index % 64))
                    #expect(isSame, "\(index)")
                }
            }
            // The longest secrets, more than one answer holds.
            let long = try SecretBytes(randomCount: 4096)
            let sealed = try await kms.seal(long, under: key, context: Self.context, as: .service)
            let many = [KMSRewrapItem](repeating: .init(sealed, context: Self.context), count: 20)
            let longResults = try await kms.rewrap(many, under: key, as: .service)
            for result in longResults {
                let opened = try await kms.open(result.get(), under: key, context: Self.context, as: .service)
                let isSame = opened.equals(long)
                #expect(isSame)
            }
            #expect(try await kms.rewrap([], under: key, as: .service).isEmpty)

            try await kms.setMinimumVersion(2, of: key)
            let old = try await kms.rewrap(Array(items.prefix(2)), under: key, as: .service)
            for result in old {
                guard case .failure(.keyUnusable(key, _)) = result else { throw ConformanceFailure("\(result)") }
            }
            let missing = TrustedKMSConformance.freshName()
            let error = await failure {
                _ = try await kms.rewrap(many, under: missing, as: .service)
            }
            #expect(error == .keyNotFound(missing))
        }
    }

    @Test func batchesThatDoNotFitTheirRequestAreInvalid() async throws {
        let item = KMSRewrapItem(
            KMSSealedBlob(bytes: Array("vault:v1:AAAA".utf8), keyVersion: 1), context: Self.context)
        let key = try #require(KMSKeyName("key"))
        let good = #"{"ciphertext":"vault:v2:AAAA","key_version":2}"#
        for (text, status, isValid) in [
            (#"{"data":{"batch_results":[\#(good),\#(good)]}}"#, 200, true),
            (#"{"data":{"batch_results":[\#(good),{"error":"cipher: message authentication failed"}]}}"#, 400, true),
            (#"{"data":{"batch_results":[\#(good)]}}"#, 200, false),
            (#"{"data":{"batch_results":[\#(good),\#(good),\#(good)]}}"#, 200, false),
            (#"{"data":{"batch_results":[\#(good),{}]}}"#, 200, false),
            (#"{"data":{"batch_results":[\#(good),{"ciphertext":"AAAA"}]}}"#, 200, false),
            (#"{"data":\#(good)}"#, 200, false), ("{}", 200, false), ("", 200, false), ("{}", 400, false),
        ] {
            let server = try await CannedServer(["/v1/transit/rewrap/key": .init(text, status: status)])
            let kms = try OpenBaoKMS(
                OpenBaoConfiguration(
                    address: server.address, authentication: .token(OpenBaoTestServer.token("token")),
                    retryTime: .zero))
            var count: Int?
            let error = await failure {
                count = try await kms.rewrap([item, item], under: key, as: .service).count
            }
            if isValid {
                #expect(count == 2)
            } else {
                guard case .invalidResponse = error else {
                    throw ConformanceFailure("\(text): \(String(describing: error))")
                }
            }
            await kms.shutdown()
            try await server.stop()
        }
    }

    // MARK: Limits

    /// A rate limit of the server's own.
    @Test("a throttled call is named, or waits as long as it is told and passes")
    func rateLimitIsKept() async throws {
        let server = try OpenBaoTestServer()
        let mount = "limited-\(UInt32.random(in: .min ... .max))"
        try await server.administer("POST", "sys/mounts/\(mount)", ["type": "transit"])
        try await server.administer("POST", "sys/quotas/config", ["enable_rate_limit_response_headers": true])
        try await server.administer(
            "POST", "sys/quotas/rate-limit/\(mount)", ["path": mount, "rate": 2, "interval": "2s"])
        do {
            try await server.withKMS(mount: mount) { kms in
                var errors: [KMSError] = []
                for _ in 0..<5 {
                    if let error = await failure({ _ = try await kms.random(count: 8) }) { errors.append(error) }
                }
                #expect(!errors.isEmpty)
                for error in errors {
                    guard case .throttled(let seconds?) = error, (0...2).contains(seconds) else {
                        throw ConformanceFailure("\(error)")
                    }
                }
            }
            try await server.withKMS(mount: mount, retryTime: .seconds(30)) { kms in
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for _ in 0..<4 { group.addTask { _ = try await kms.random(count: 8) } }
                    try await group.waitForAll()
                }
            }
        } catch {
            try await server.administer("DELETE", "sys/quotas/rate-limit/\(mount)")
            throw error
        }
        try await server.administer("DELETE", "sys/quotas/rate-limit/\(mount)")
    }
}
