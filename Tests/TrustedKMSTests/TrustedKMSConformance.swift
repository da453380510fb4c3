import Crypto
import KeyManagement
import SecretMemory
import Testing

/// What every adapter of ``TrustedKMS`` promises. One test target runs it unchanged against each
/// adapter: `@Test(arguments: TrustedKMSConformance.allCases)` with `try await check.run(on: CompletedKMS(kms))`.
///
/// Every check makes keys of its own under fresh names and destroys none of others.
enum TrustedKMSConformance: String, CaseIterable, Sendable, CustomTestStringConvertible {
    case capabilities
    case roundTripOfEveryLength
    case roundTripOfTheLongestSecret
    case lengthsOutOfRangeAreRefused
    case sealingTwiceDiffers
    case otherContextDoesNotOpen
    case otherKeyDoesNotOpen
    case everyAlteredByteIsNoticed
    case malformedBlobsDoNotOpen
    case dataKeysOpenAndDiffer
    case dataKeyIsBoundToItsContext
    case rotationKeepsOldBlobs
    case rewrapGivesTheLatestVersion
    case rewrapKeepsKeyAndContext
    case minimumVersionShutsOldBlobsOut
    case minimumVersionMustExist
    case destroyedKeyOpensNothing
    case recreatedKeyOpensNothingOld
    case missingKeyIsNamedAndNotMade
    case creatingAnExistingKeyChangesNothing
    case concurrentUse
    case randomBytes
    case signing
    case health

    var testDescription: String { rawValue }

    func run(on kms: any TrustedKMS) async throws {
        switch self {
        case .capabilities: try await Self.capabilities(kms)
        case .roundTripOfEveryLength: try await Self.roundTripOfEveryLength(kms)
        case .roundTripOfTheLongestSecret: try await Self.roundTripOfTheLongestSecret(kms)
        case .lengthsOutOfRangeAreRefused: try await Self.lengthsOutOfRangeAreRefused(kms)
        case .sealingTwiceDiffers: try await Self.sealingTwiceDiffers(kms)
        case .otherContextDoesNotOpen: try await Self.otherContextDoesNotOpen(kms)
        case .otherKeyDoesNotOpen: try await Self.otherKeyDoesNotOpen(kms)
        case .everyAlteredByteIsNoticed: try await Self.everyAlteredByteIsNoticed(kms)
        case .malformedBlobsDoNotOpen: try await Self.malformedBlobsDoNotOpen(kms)
        case .dataKeysOpenAndDiffer: try await Self.dataKeysOpenAndDiffer(kms)
        case .dataKeyIsBoundToItsContext: try await Self.dataKeyIsBoundToItsContext(kms)
        case .rotationKeepsOldBlobs: try await Self.rotationKeepsOldBlobs(kms)
        case .rewrapGivesTheLatestVersion: try await Self.rewrapGivesTheLatestVersion(kms)
        case .rewrapKeepsKeyAndContext: try await Self.rewrapKeepsKeyAndContext(kms)
        case .minimumVersionShutsOldBlobsOut: try await Self.minimumVersionShutsOldBlobsOut(kms)
        case .minimumVersionMustExist: try await Self.minimumVersionMustExist(kms)
        case .destroyedKeyOpensNothing: try await Self.destroyedKeyOpensNothing(kms)
        case .recreatedKeyOpensNothingOld: try await Self.recreatedKeyOpensNothingOld(kms)
        case .missingKeyIsNamedAndNotMade: try await Self.missingKeyIsNamedAndNotMade(kms)
        case .creatingAnExistingKeyChangesNothing: try await Self.creatingAnExistingKeyChangesNothing(kms)
        case .concurrentUse: try await Self.concurrentUse(kms)
        case .randomBytes: try await Self.randomBytes(kms)
        case .signing: try await Self.signing(kms)
        case .health: try await Self.health(kms)
        }
    }
}

// MARK: - Sealing and opening

extension TrustedKMSConformance {
    private static let context = SealingContext.forTests(["hkms", "installation", "tenant", "key set 1", "seed"])
    private static let otherContext = SealingContext.forTests(["hkms", "installation", "tenant", "key set 2", "seed"])

    static func capabilities(_ kms: any TrustedKMS) async throws {
        #expect(!kms.provider.isEmpty)
        #expect(kms.capabilities.maximumPlaintextBytes >= 32, "a seed must fit")
    }

    static func roundTripOfEveryLength(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        for length in 1...64 {
            let secret = try SecretBytes(randomCount: length)
            let blob = try await kms.seal(secret, under: key, context: context, as: .service)
            let isBounded = blob.bytes.count <= KMSSealedBlob.maximumBytes
            #expect(isBounded)
            let opened = try await kms.open(blob, under: key, context: context, as: .service)
            let isSame = opened.equals(secret)
            #expect(isSame, "\(length) bytes")
        }
    }

    static func roundTripOfTheLongestSecret(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let secret = try SecretBytes(randomCount: kms.capabilities.maximumPlaintextBytes)
        let blob = try await kms.seal(secret, under: key, context: context, as: .service)
        #expect(blob.bytes.count <= KMSSealedBlob.maximumBytes)
        let opened = try await kms.open(blob, under: key, context: context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
    }

    static func lengthsOutOfRangeAreRefused(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        for length in [0, kms.capabilities.maximumPlaintextBytes + 1] {
            let secret = try SecretBytes(count: length)
            let error = await failure {
                _ = try await kms.seal(secret, under: key, context: context, as: .service)
            }
            guard case .notSupported = error else {
                Issue.record("\(length) bytes: \(String(describing: error))")
                continue
            }
        }
    }

    static func sealingTwiceDiffers(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let secret = try SecretBytes(randomCount: 32)
        let first = try await kms.seal(secret, under: key, context: context, as: .service)
        let second = try await kms.seal(secret, under: key, context: context, as: .service)
        #expect(first.bytes != second.bytes)
    }

    static func otherContextDoesNotOpen(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        for other in [otherContext, .forTests([]), .forTests([""])] {
            let error = await failure {
                _ = try await kms.open(blob, under: key, context: other, as: .service)
            }
            #expect(error == .cannotOpen)
        }
    }

    static func otherKeyDoesNotOpen(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let other = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        let error = await failure {
            _ = try await kms.open(blob, under: other, context: context, as: .service)
        }
        #expect(error == .cannotOpen)
    }

    static func everyAlteredByteIsNoticed(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        for index in blob.bytes.indices {
            for mask in [UInt8(0x01), UInt8(1 << (index % 7 + 1))] {
                var altered = blob
                altered.bytes[index] ^= mask
                let error = await failure {
                    _ = try await kms.open(altered, under: key, context: context, as: .service)
                }
                // A version altered to a lower one may be called unusable; opened it must not be.
                if case .keyUnusable = error { continue }
                #expect(error == .cannotOpen, "byte \(index), mask \(mask)")
            }
        }
    }

    static func malformedBlobsDoNotOpen(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        var blobs: [[UInt8]] = [
            [], [0], blob.bytes + [0], blob.bytes + [UInt8(ascii: "\n")], blob.bytes + blob.bytes,
            [UInt8](repeating: 0x41, count: 100), [UInt8](repeating: 0xFF, count: KMSSealedBlob.maximumBytes),
            [UInt8](repeating: 0x41, count: KMSSealedBlob.maximumBytes + 1),
            blob.bytes + [UInt8](repeating: 0x41, count: 1 << 20), Array(blob.bytes.reversed()),
            Array("\",\"context\":\"\"}".utf8),
        ]
        for length in stride(from: 1, to: blob.bytes.count, by: 5) { blobs.append(Array(blob.bytes.prefix(length))) }
        for length in [1, 2, 3, 4, 16] { blobs.append(Array(blob.bytes.dropLast(length))) }
        for bytes in blobs {
            let malformed = KMSSealedBlob(bytes: bytes, keyVersion: blob.keyVersion)
            let openError = await failure {
                _ = try await kms.open(malformed, under: key, context: context, as: .service)
            }
            #expect(openError == .cannotOpen, "\(bytes.count) bytes")
            let rewrapError = await failure {
                _ = try await kms.rewrap(malformed, under: key, context: context, as: .service)
            }
            #expect(rewrapError == .cannotOpen, "\(bytes.count) bytes")
        }
    }
}

// MARK: - Data keys

extension TrustedKMSConformance {
    static func dataKeysOpenAndDiffer(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        var previous: SecretBytes?
        for _ in 0..<4 {
            let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
            let blob = dataKey.sealed
            let plaintext = dataKey.take()
            #expect(plaintext.count == 32)
            let opened = try await kms.open(blob, under: key, context: context, as: .service)
            let isSame = opened.equals(plaintext)
            #expect(isSame)
            let isRepeated = previous?.equals(plaintext) ?? plaintext.equals([UInt8](repeating: 0, count: 32))
            #expect(!isRepeated)
            previous = consume plaintext
        }
    }

    static func dataKeyIsBoundToItsContext(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await kms.generateDataKey(under: key, context: context, as: .service).sealed
        let error = await failure {
            _ = try await kms.open(blob, under: key, context: otherContext, as: .service)
        }
        #expect(error == .cannotOpen)
    }
}

// MARK: - Versions

extension TrustedKMSConformance {
    static func rotationKeepsOldBlobs(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let secret = try SecretBytes(randomCount: 32)
        let old = try await kms.seal(secret, under: key, context: context, as: .service)
        try await kms.rotateKey(key)
        let description = try await kms.describeKey(key)
        #expect(description.latestVersion == 2)
        #expect(description.minimumVersion == 1)
        let opened = try await kms.open(old, under: key, context: context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        let new = try await kms.seal(secret, under: key, context: context, as: .service)
        if let version = new.keyVersion { #expect(version == 2) }
        let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
        if let version = dataKey.sealed.keyVersion { #expect(version == 2) }
    }

    static func rewrapGivesTheLatestVersion(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let secret = try SecretBytes(randomCount: 32)
        let old = try await kms.seal(secret, under: key, context: context, as: .service)
        try await kms.rotateKey(key)
        let new = try await kms.rewrap(old, under: key, context: context, as: .service)
        #expect(new.bytes != old.bytes)
        if let version = new.keyVersion { #expect(version == 2) }
        let opened = try await kms.open(new, under: key, context: context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
    }

    static func rewrapKeepsKeyAndContext(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let other = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        let wrongContext = await failure {
            _ = try await kms.rewrap(blob, under: key, context: otherContext, as: .service)
        }
        #expect(wrongContext == .cannotOpen)
        let wrongKey = await failure {
            _ = try await kms.rewrap(blob, under: other, context: context, as: .service)
        }
        #expect(wrongKey == .cannotOpen)
    }

    static func minimumVersionShutsOldBlobsOut(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let secret = try SecretBytes(randomCount: 32)
        let old = try await kms.seal(secret, under: key, context: context, as: .service)
        try await kms.rotateKey(key)
        let new = try await kms.rewrap(old, under: key, context: context, as: .service)
        try await kms.setMinimumVersion(2, of: key)
        let description = try await kms.describeKey(key)
        #expect(description.minimumVersion == 2)
        for operation in ["open", "rewrap"] {
            let error = await failure {
                if operation == "open" {
                    _ = try await kms.open(old, under: key, context: context, as: .service)
                } else {
                    _ = try await kms.rewrap(old, under: key, context: context, as: .service)
                }
            }
            guard case .keyUnusable(key, _) = error else {
                Issue.record("\(operation): \(String(describing: error))")
                continue
            }
        }
        let opened = try await kms.open(new, under: key, context: context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
    }

    static func minimumVersionMustExist(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        for version in [-1, 0, 2, Int(Int32.max)] {
            let error = await failure {
                try await kms.setMinimumVersion(version, of: key)
            }
            guard case .keyUnusable(key, _) = error else {
                Issue.record("version \(version): \(String(describing: error))")
                continue
            }
        }
        let description = try await kms.describeKey(key)
        #expect(description.minimumVersion == 1)
    }
}

// MARK: - Keys

extension TrustedKMSConformance {
    static func destroyedKeyOpensNothing(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        try await kms.destroyKey(key)
        await expectRefusal(by: kms, of: key, blob: blob)
    }

    static func recreatedKeyOpensNothingOld(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        try await kms.destroyKey(key)
        try await kms.createKey(key)
        let error = await failure {
            _ = try await kms.open(blob, under: key, context: context, as: .service)
        }
        #expect(error == .cannotOpen)
    }

    static func missingKeyIsNamedAndNotMade(_ kms: any TrustedKMS) async throws {
        let existing = try await freshKey(kms)
        let blob = try await sealed(kms, existing)
        for name in [freshName(), try #require(KMSKeyName("conformance-no-such-key."))] {
            await expectRefusal(by: kms, of: name, blob: blob)
            let calls: [@Sendable () async throws -> Void] = [
                { try await kms.rotateKey(name) },
                { try await kms.setMinimumVersion(1, of: name) },
                { try await kms.destroyKey(name) },
                { _ = try await kms.describeKey(name) },
            ]
            for call in calls {
                let error = await failure(call)
                #expect(error == .keyNotFound(name))
            }
        }
    }

    static func creatingAnExistingKeyChangesNothing(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key)
        try await kms.rotateKey(key)
        try await kms.createKey(key)
        let description = try await kms.describeKey(key)
        #expect(description.name == key)
        #expect(description.type.hasPrefix("aes256-gcm"))
        #expect(description.latestVersion == 2)
        _ = try await kms.open(blob, under: key, context: context, as: .service)
    }

    /// Every use of `key` is refused as of a key that does not exist, and none makes it.
    private static func expectRefusal(by kms: any TrustedKMS, of key: KMSKeyName, blob: KMSSealedBlob) async {
        let calls: [@Sendable () async throws -> Void] = [
            {
                let secret = try SecretBytes(randomCount: 32)
                _ = try await kms.seal(secret, under: key, context: context, as: .service)
            },
            {
                _ = try await kms.generateDataKey(under: key, context: context, as: .service)
            },
            { _ = try await kms.open(blob, under: key, context: context, as: .service) },
            { _ = try await kms.rewrap(blob, under: key, context: context, as: .service) },
            { _ = try await kms.describeKey(key) },
        ]
        for (index, call) in calls.enumerated() {
            let error = await failure(call)
            #expect(error == .keyNotFound(key), "call \(index)")
        }
    }
}

// MARK: - Everything else

extension TrustedKMSConformance {
    static func concurrentUse(_ kms: any TrustedKMS) async throws {
        let keys = [try await freshKey(kms), try await freshKey(kms)]
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<64 {
                group.addTask {
                    let key = keys[task % 2]
                    let context = SealingContext.forTests(["task", "\(task)"])
                    let secret = try SecretBytes(randomCount: 1 + task % 48)
                    let blob = try await kms.seal(secret, under: key, context: context, as: .service)
                    if task % 16 == 0 { try await kms.rotateKey(key) }
                    let rewrapped = try await kms.rewrap(blob, under: key, context: context, as: .service)
                    for blob in [blob, rewrapped] {
                        let opened = try await kms.open(blob, under: key, context: context, as: .service)
                        let isSame = opened.equals(secret)
                        #expect(isSame)
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
        guard kms.capabilities.random else {
            let error = await failure { _ = try await kms.random(count: 32) }
            guard case .notSupported = error else { throw ConformanceFailure("random: \(String(describing: error))") }
            return
        }
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

    static func signing(_ kms: any TrustedKMS) async throws {
        guard kms.capabilities.sign else {
            let key = try await freshKey(kms)
            let error = await failure { _ = try await kms.sign([1, 2, 3], with: key) }
            guard case .notSupported = error else {
                throw ConformanceFailure("sign: \(String(describing: error))")
            }
            return
        }
        let key = freshName()
        let missing = await failure { _ = try await kms.sign([1, 2, 3], with: key) }
        #expect(missing == .keyNotFound(key))
        try await kms.createKey(key, purpose: .signing)
        for length in [0, 1, 100, 10_000] {
            let message = [UInt8](repeating: 7, count: length)
            try await expectSignature(by: kms, key, message)
        }
        let description = try await kms.describeKey(key)
        #expect(description.purpose == .signing)
        try await kms.createKey(key, purpose: .signing)
        #expect(try await kms.describeKey(key) == description, "an existing key is left as it is")
        // A key has one purpose.
        let sealing = try await freshKey(kms)
        let misuses: [@Sendable () async throws -> Void] = [
            { _ = try await kms.sign([1, 2, 3], with: sealing) },
            { _ = try await kms.generateDataKey(under: key, context: context, as: .service) },
        ]
        for (index, misuse) in misuses.enumerated() {
            guard case .keyUnusable = await failure(misuse) else {
                throw ConformanceFailure("misuse \(index) of a key passed")
            }
        }
    }

    private static func expectSignature(by kms: any TrustedKMS, _ key: KMSKeyName, _ message: [UInt8]) async throws {
        let signature = try await kms.sign(message, with: key)
        let publicKey = try Curve25519.Signing.PublicKey(
            rawRepresentation: try #require(try await kms.describeKey(key).publicKey))
        #expect(publicKey.isValidSignature(signature, for: message))
        #expect(!publicKey.isValidSignature(signature, for: message + [1]))
    }

    static func health(_ kms: any TrustedKMS) async throws { try await kms.checkHealth() }
}

// MARK: - Tools

struct ConformanceFailure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

extension TrustedKMSConformance {
    static func freshName() -> KMSKeyName {
        let random = String(UInt64.random(in: .min ... .max), radix: 36)
        guard let name = KMSKeyName("conformance-\(random)") else {
            preconditionFailure("a name of this form is allowed")
        }
        return name
    }

    static func freshKey(_ kms: any TrustedKMS) async throws -> KMSKeyName {
        let name = freshName()
        try await kms.createKey(name)
        return name
    }

    private static func sealed(_ kms: any TrustedKMS, _ key: KMSKeyName) async throws -> KMSSealedBlob {
        let secret = try SecretBytes(randomCount: 32)
        return try await kms.seal(secret, under: key, context: context, as: .service)
    }
}

/// The ``KMSError`` that `body` throws; nil where it succeeds or throws something else.
func failure(_ body: () async throws -> Void) async -> KMSError? {
    do {
        try await body()
        return nil
    } catch {
        return error as? KMSError
    }
}
