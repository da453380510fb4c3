import KeyManagement
import SecretMemory
import Testing

// Keys that are made, missing, switched off and destroyed.
extension TrustedKMSConformance {
    static func disabledKeyIsUsedForNothing(_ subject: any ConformanceSubject) async throws -> ConformanceOutcome {
        switch subject.keySwitch {
        case .hasNot(let reason): return .notApplicable(reason: reason)
        case .has(let keySwitch):
            try await expectPause(subject, .disabled, begin: keySwitch.disable, end: keySwitch.enable)
            return .passed
        }
    }

    static func keyScheduledForDeletionIsUsedForNothing(
        _ subject: any ConformanceSubject
    ) async throws -> ConformanceOutcome {
        switch subject.scheduledDeletion {
        case .hasNot(let reason): return .notApplicable(reason: reason)
        case .has(let deletion):
            try await expectPause(subject, .pendingDeletion, begin: deletion.schedule, end: deletion.cancel)
            return .passed
        }
    }

    /// Between `begin` and `end` the key is in `state` and used for nothing; before and after it, all is as ever.
    private static func expectPause(
        _ subject: any ConformanceSubject, _ state: KMSKeyState,
        begin: @Sendable (KMSKeyName) async throws -> Void, end: @Sendable (KMSKeyName) async throws -> Void
    ) async throws {
        try await withConnection(to: subject) { kms in
            let key = try await freshKey(kms)
            let sealed = try await sealed(kms, key)
            #expect(try await kms.describeKey(key).state == .enabled)
            try await begin(key)
            await expectUnusable(kms, key, sealed.blob)
            #expect(try await kms.describeKey(key).state == state)
            try await withConnection(to: subject) { await expectUnusable($0, key, sealed.blob) }
            try await end(key)
            #expect(try await kms.describeKey(key).state == .enabled)
            try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
            _ = try await Self.sealed(kms, key)
        }
    }

    static func destroyedKeyOpensNothing(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key).blob
        try await kms.destroyKey(key)
        await expectNotFound(kms, key, blob)
    }

    static func recreatedKeyOpensNothingOld(_ kms: any TrustedKMS) async throws {
        let key = try await freshKey(kms)
        let blob = try await sealed(kms, key).blob
        try await kms.destroyKey(key)
        try await kms.createKey(key)
        let error = await failure { _ = try await kms.open(blob, under: key, context: context, as: .service) }
        #expect(error == .cannotOpen)
    }

    static func missingKeyIsNamedAndNotMade(_ kms: any TrustedKMS) async throws {
        let existing = try await freshKey(kms)
        let blob = try await sealed(kms, existing).blob
        for name in [freshName(), try #require(KMSKeyName("conformance-no-such-key."))] {
            await expectNotFound(kms, name, blob)
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
        let sealed = try await sealed(kms, key)
        try await kms.rotateKey(key)
        try await kms.createKey(key)
        let description = try await kms.describeKey(key)
        #expect(description.name == key)
        #expect(description.purpose == .sealing)
        #expect(description.type.hasPrefix("aes256"))
        #expect(description.latestVersion == 2)
        try await expectOpens(kms, sealed.blob, key, as: sealed.secret)
    }

    /// Every use of `key` is refused as of a key that does not exist, and none makes it.
    private static func expectNotFound(_ kms: any TrustedKMS, _ key: KMSKeyName, _ blob: KMSSealedBlob) async {
        for (operation, error) in await failures(kms, key, blob) {
            #expect(error == .keyNotFound(key), "\(operation)")
        }
        let error = await failure { _ = try await kms.describeKey(key) }
        #expect(error == .keyNotFound(key))
    }
}
