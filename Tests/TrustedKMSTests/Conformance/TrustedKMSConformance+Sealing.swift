import KeyManagement
import SecretMemory
import Testing

// Secrets and data keys, sealed and opened.
extension TrustedKMSConformance {
    static func capabilities(_ kms: any TrustedKMS) async throws {
        #expect(!kms.provider.isEmpty)
        #expect(kms.capabilities.maximumPlaintextBytes >= 32, "a seed must fit")
        #expect(kms.capabilities.contextBinding != .none)
        #expect(kms.capabilities.authenticates.contains(.service))
    }

    static func roundTripOfEveryLength(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        for length in 1...64 {
            guard kms.capabilities.sealing == .secrets else {
                try await expectSealingIsRefused(kms, key, length)
                continue
            }
            let secret = try SecretBytes(randomCount: length)
            let blob = try await kms.seal(secret, under: key, context: context, as: .service)
            #expect(blob.bytes.count <= KMSSealedBlob.maximumBytes)
            try await expectOpens(kms, blob, key, as: secret, "\(length) bytes")
        }
        let sealed = try await sealed(kms, key)
        try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
    }

    static func roundTripOfTheLongestSecret(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let length = kms.capabilities.maximumPlaintextBytes
        guard kms.capabilities.sealing == .secrets else {
            #expect(length == 32, "data keys and no more")
            return try await expectSealingIsRefused(kms, key, length)
        }
        let secret = try SecretBytes(randomCount: length)
        let blob = try await kms.seal(secret, under: key, context: context, as: .service)
        #expect(blob.bytes.count <= KMSSealedBlob.maximumBytes)
        try await expectOpens(kms, blob, key, as: secret)
    }

    static func lengthsOutOfRangeAreRefused(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        for length in [0, kms.capabilities.maximumPlaintextBytes + 1] {
            try await expectSealingIsRefused(kms, key, length)
        }
    }

    private static func expectSealingIsRefused(_ kms: any TrustedKMS, _ key: KMSKeyName, _ length: Int) async throws {
        let secret = try SecretBytes(count: length)
        let error = await failure { _ = try await kms.seal(secret, under: key, context: context, as: .service) }
        guard case .notSupported = error else {
            Issue.record("\(length) bytes: \(String(describing: error))")
            return
        }
    }

    static func sealingTwiceDiffers(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        guard kms.capabilities.sealing == .secrets else {
            let first = try await sealed(kms, key).blob
            let second = try await sealed(kms, key).blob
            #expect(first.bytes != second.bytes)
            return
        }
        let secret = try SecretBytes(randomCount: 32)
        let first = try await kms.seal(secret, under: key, context: context, as: .service)
        let second = try await kms.seal(secret, under: key, context: context, as: .service)
        #expect(first.bytes != second.bytes)
    }

    /// As after a restart, or at another replica.
    static func otherConnectionOpens(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        try await withConnection(to: subject) { first in
            let key = try await freshKey(first)
            let sealed = try await sealed(first, key)
            try await withConnection(to: subject) { second in
                try await expectOpens(second, sealed.blob, key, as: sealed.secret)
                // What one connection changes the other sees at its next call.
                try await second.rotateKey(key)
            }
            #expect(try await first.describeKey(key).latestVersion == 2)
            try await expectOpens(first, sealed.blob, key, as: sealed.secret)
        }
        return .passed
    }

    static func otherContextDoesNotOpen(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key).blob
        for other in [otherContext, .forTests([]), .forTests([""])] {
            let error = await failure { _ = try await kms.open(blob, under: key, context: other, as: .service) }
            #expect(error == .cannotOpen)
        }
    }

    static func otherKeyDoesNotOpen(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let other = try await freshKey(kms)
        let blob = try await sealed(kms, key).blob
        let error = await failure { _ = try await kms.open(blob, under: other, context: context, as: .service) }
        #expect(error == .cannotOpen)
    }

    /// Two key sets' blobs, each in the other's place.
    static func swappedBlobsDoNotOpen(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let one = try await sealed(kms, key, context)
        let two = try await sealed(kms, key, otherContext)
        for (blob, context) in [(two.blob, context), (one.blob, otherContext)] {
            let opening = await failure { _ = try await kms.open(blob, under: key, context: context, as: .service) }
            #expect(opening == .cannotOpen)
            let rewrapping = await failure {
                _ = try await kms.rewrap(blob, under: key, context: context, as: .service)
            }
            #expect(rewrapping == .cannotOpen)
        }
        try await expectOpens(kms, one.blob, key, context, as: one.secret)
        try await expectOpens(kms, two.blob, key, otherContext, as: two.secret)
    }

    static func everyAlteredByteIsNoticed(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key).blob
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
        let blob = try await sealed(kms, key).blob
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

    static func dataKeysOpenAndDiffer(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        var previous: SecretBytes?
        for _ in 0..<4 {
            let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
            let blob = dataKey.sealed
            let plaintext = dataKey.take()
            #expect(plaintext.count == 32)
            try await expectOpens(kms, blob, key, as: plaintext)
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
