import Crypto
import KeyManagement
import SecretMemory
import Testing

// Everything else that one connection is asked.
extension TrustedKMSConformance {
    static func concurrentUse(_ kms: any TrustedKMS) async throws {
        let keys = [try await freshKey(kms), try await freshKey(kms)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<64 {
                group.addTask {
                    let key = keys[task % 2]
                    let context = SealingContext.forTests(["task", "\(task)"])
                    let sealed = try await sealed(kms, key, context)
                    if task % 16 == 0 { try await kms.rotateKey(key) }
                    let rewrapped = try await kms.rewrap(sealed.blob, under: key, context: context, as: .service)
                    for blob in [sealed.blob, rewrapped] {
                        try await expectOpens(kms, blob, key, context, as: sealed.secret)
                    }
                }
            }
            try await group.waitForAll()
        }
        for key in keys {
            // A server may count a rotation whose commit it then reports as lost, which is asked for again: more
            // versions than rotations, never fewer, and none of the key that nobody rotated.
            let versions = try await kms.describeKey(key).latestVersion
            #expect(key == keys[0] ? versions >= 5 : versions == 1)
        }
    }

    static func randomBytes(_ kms: any TrustedKMS) async throws {
        for count in [1, 2, 3, 31, 32, 33, 64, 1000, 1024] {
            let first = try await kms.random(count: count)
            #expect(first.count == count)
            if count >= 31 {
                let second = try await kms.random(count: count)
                let isRepeated = first.equals(second)
                #expect(!isRepeated)
            }
        }
        for count in [-1, 0, 1025, Int.max] {
            let error = await failure { _ = try await kms.random(count: count) }
            guard case .notSupported = error else {
                Issue.record("\(count) bytes: \(String(describing: error))")
                continue
            }
        }
    }

    static func signing(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        try await withConnection(to: subject) { kms in
            let sealing = try await freshKey(kms)
            let name = freshName()
            guard kms.capabilities.sign else {
                for error in [
                    await failure { _ = try await kms.sign([1, 2, 3], with: sealing) },
                    await failure { try await kms.createKey(name, purpose: .signing) },
                ] {
                    guard case .notSupported = error else {
                        throw ConformanceFailure("\(String(describing: error))")
                    }
                }
                return .notApplicable(reason: "It has no Ed25519 keys, and refuses to make them by name.")
            }
            try await kms.createKey(name, purpose: .signing)
            try await kms.createKey(name, purpose: .signing)
            for version in 1...2 {
                let description = try await kms.describeKey(name)
                #expect(description.purpose == .signing)
                #expect(description.latestVersion == version)
                let publicKey = try Curve25519.Signing.PublicKey(
                    rawRepresentation: try #require(description.publicKey))
                for message in [[], [1, 2, 3], [UInt8](repeating: 7, count: 4096)] as [[UInt8]] {
                    let signature = try await kms.sign(message, with: name)
                    #expect(signature.count == 64)
                    #expect(publicKey.isValidSignature(signature, for: message))
                    #expect(!publicKey.isValidSignature(signature, for: message + [0]))
                }
                if version == 1 { try await kms.rotateKey(name) }
            }
            await expectUnfit(kms, signing: name, sealing: sealing)
            return .passed
        }
    }

    /// A key has one purpose.
    private static func expectUnfit(_ kms: any TrustedKMS, signing: KMSKeyName, sealing: KMSKeyName) async {
        for (operation, error) in [
            ("sign", await failure { _ = try await kms.sign([1, 2, 3], with: sealing) }),
            ("seal", await failure { _ = try await sealed(kms, signing) }),
            (
                "generateDataKey",
                await failure { _ = try await kms.generateDataKey(under: signing, context: context, as: .service) }
            ),
        ] {
            guard case .keyUnusable = error else {
                Issue.record("\(operation): \(String(describing: error))")
                continue
            }
        }
        let missing = freshName()
        #expect(await failure { _ = try await kms.sign([1, 2, 3], with: missing) } == .keyNotFound(missing))
    }

    static func health(_ kms: any TrustedKMS) async throws { try await kms.checkHealth() }
}
