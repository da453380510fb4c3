import KeyManagement
import SecretMemory
import Testing

// Rotation, rewrapping, minimum versions and versions that are destroyed.
extension TrustedKMSConformance {
    static func rotationKeepsOldBlobs(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let old = try await sealed(kms, key)
        try await kms.rotateKey(key)
        let description = try await kms.describeKey(key)
        #expect(description.latestVersion == 2)
        #expect(description.minimumVersion == 1)
        try await expectOpens(kms, old.blob, key, as: old.secret)
        let new = try await sealed(kms, key)
        if let version = new.blob.keyVersion { #expect(version == 2) }
        let dataKey = try await kms.generateDataKey(under: key, context: context, as: .service)
        if let version = dataKey.sealed.keyVersion { #expect(version == 2) }
    }

    static func rewrapGivesTheLatestVersion(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let old = try await sealed(kms, key)
        try await kms.rotateKey(key)
        let new = try await kms.rewrap(old.blob, under: key, context: context, as: .service)
        #expect(new.bytes != old.blob.bytes)
        if let version = new.keyVersion { #expect(version == 2) }
        try await expectOpens(kms, new, key, as: old.secret)
    }

    static func rewrapKeepsKeyAndContext(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let other = try await freshKey(kms)
        let blob = try await sealed(kms, key).blob
        let wrongContext = await failure {
            _ = try await kms.rewrap(blob, under: key, context: otherContext, as: .service)
        }
        #expect(wrongContext == .cannotOpen)
        let wrongKey = await failure {
            _ = try await kms.rewrap(blob, under: other, context: context, as: .service)
        }
        #expect(wrongKey == .cannotOpen)
    }

    /// One bad item among many fails by itself.
    static func rewrapTakesManyAtOnce(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        var items: [KMSRewrapItem] = []
        var expected: [[UInt8]] = []
        for index in 0..<150 {
            let context = SealingContext.forTests(["item", "\(index)"])
            let sealed = try await sealed(kms, key, context)
            items.append(KMSRewrapItem(sealed.blob, context: context))
            expected.append(sealed.secret.withUnsafeBytes { Array($0) })
        }
        try await kms.rotateKey(key)
        items[7].context = otherContext
        items[11].sealed.bytes[items[11].sealed.bytes.count / 2] ^= 1
        items[140].sealed.bytes = []
        let results = try await kms.rewrap(items, under: key, as: .service)
        #expect(results.count == items.count)
        for (index, result) in results.enumerated() {
            switch result {
            case .success(let blob):
                #expect(![7, 11, 140].contains(index), "item \(index)")
                if let version = blob.keyVersion { #expect(version == 2) }
                let opened = try await kms.open(blob, under: key, context: items[index].context, as: .service)
                let isSame = opened.equals(expected[index])
                #expect(isSame, "item \(index)")
            case .failure(let error):
                #expect(error == .cannotOpen && [7, 11, 140].contains(index), "item \(index): \(error)")
            }
        }
        #expect(try await kms.rewrap([], under: key, as: .service).isEmpty)
        let missing = freshName()
        let error = await failure { _ = try await kms.rewrap(items, under: missing, as: .service) }
        #expect(error == .keyNotFound(missing))
    }

    static func minimumVersionShutsOldBlobsOut(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let old = try await sealed(kms, key)
        try await kms.rotateKey(key)
        let new = try await kms.rewrap(old.blob, under: key, context: context, as: .service)
        try await kms.setMinimumVersion(2, of: key)
        let description = try await kms.describeKey(key)
        #expect(description.minimumVersion == 2)
        for operation in ["open", "rewrap"] {
            let error = await failure {
                if operation == "open" {
                    _ = try await kms.open(old.blob, under: key, context: context, as: .service)
                } else {
                    _ = try await kms.rewrap(old.blob, under: key, context: context, as: .service)
                }
            }
            guard case .keyUnusable(key, _) = error else {
                Issue.record("\(operation): \(String(describing: error))")
                continue
            }
        }
        try await expectOpens(kms, new, key, as: old.secret)
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

    /// What only a destroyed version opens stays closed, whatever the minimum is set to afterwards.
    static func destroyedVersionsOpenNothing(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        try await withConnection(to: subject) { kms in
            let key = try await freshKey(kms)
            let old = try await sealed(kms, key)
            try await kms.rotateKey(key)
            let new = try await kms.rewrap(old.blob, under: key, context: context, as: .service)
            guard kms.capabilities.destroysVersions else {
                let error = await failure { try await kms.destroyVersions(below: 1, of: key) }
                guard case .notSupported = error else { throw ConformanceFailure("\(String(describing: error))") }
                return .notApplicable(reason: "It destroys whole keys alone, and refuses single versions by name.")
            }
            let early = await failure { try await kms.destroyVersions(below: 2, of: key) }
            guard case .keyUnusable(key, _) = early else {
                throw ConformanceFailure("above the minimum: \(String(describing: early))")
            }
            try await expectOpens(kms, old.blob, key, as: old.secret)
            try await kms.setMinimumVersion(2, of: key)
            #expect(try await kms.describeKey(key).earliestVersion == 1)
            try await kms.destroyVersions(below: 2, of: key)
            #expect(try await kms.describeKey(key).earliestVersion == 2)
            // Whether the KMS lets the minimum be lowered is its own business.
            _ = await failure { try await kms.setMinimumVersion(1, of: key) }
            try await expectDestroyed(kms, key, old.blob)
            try await expectOpens(kms, new, key, as: old.secret)
            try await withConnection(to: subject) { second in
                try await expectDestroyed(second, key, old.blob)
                try await expectOpens(second, new, key, as: old.secret)
            }
            let missing = freshName()
            let error = await failure { try await kms.destroyVersions(below: 1, of: missing) }
            #expect(error == .keyNotFound(missing))
            return .passed
        }
    }

    private static func expectDestroyed(
        _ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob
    ) async throws {
        for (operation, error) in await failures(kms, key, blob) where ["open", "rewrap"].contains(operation) {
            switch error {
            case .keyUnusable(key, _), .cannotOpen: break
            default: Issue.record("\(operation): \(String(describing: error))")
            }
        }
    }
}
