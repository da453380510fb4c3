import Foundation
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSSoftware

/// Another passphrase, another key-encryption key, fewer versions: what they sealed stays as it is, or is lost.
@Suite(.serialized) struct KeystoreRotationTests {
    private static let context = SealingContext.forTests(["keystore", "rotation"])
    private static let new = "a new passphrase"

    private static func sealed(_ kms: SoftwareKMS, _ name: String = "first") async throws -> SealedSecret {
        let secret = try SecretBytes(randomCount: 32)
        let key = try #require(KMSKeyName(name))
        let blob = try await kms.seal(secret, under: key, context: context, as: .service)
        return SealedSecret(secret: secret, blob: blob)
    }

    private static func expectOpens(
        _ kms: SoftwareKMS, _ sealed: borrowing SealedSecret, _ name: String = "first"
    ) async throws {
        let key = try #require(KMSKeyName(name))
        let opened = try await kms.open(sealed.blob, under: key, context: context, as: .service)
        let isSame = opened.equals(sealed.secret)
        #expect(isSame)
    }

    @Test func anotherPassphraseOpensTheSameKeys() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let sealed = try await Self.sealed(kms)
        let before = try keystore.document()
        try await keystore.changePassphrase(of: kms, to: Self.new)
        try await Self.expectOpens(kms, sealed)
        try await kms.createKey(try #require(KMSKeyName("third")))
        let again = try keystore.open(passphrase: Self.new)
        try await Self.expectOpens(again, sealed)
        #expect(try again.report().keys.map(\.name.value) == ["first", "second", "third"])
        #expect(
            keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
                == .wrongPassphrase(path: keystore.path))
        #expect(try Self.sharedText(before, keystore.document()).isEmpty)
    }

    @Test func rotationKeepsThePassphraseAndChangesEverythingUnderIt() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let sealed = try await Self.sealed(kms)
        let before = try keystore.document()
        try await kms.rotateKeystore(passphrase: try Keystore.secret(Keystore.passphrase))
        try await Self.expectOpens(kms, sealed)
        try await Self.expectOpens(try keystore.open(), sealed)
        #expect(try Self.sharedText(before, keystore.document()).isEmpty)
    }

    @Test func rotationRaisesTheCost() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let cost = try ScryptCost(rounds: 1 << 16)
        try await kms.rotateKeystore(passphrase: try Keystore.secret(Keystore.passphrase), scryptCost: cost)
        #expect(try kms.report().scryptCost == cost)
        #expect(try keystore.open().report().scryptCost == cost)
        try await keystore.changePassphrase(of: kms, to: Self.new)
        #expect(try keystore.open(passphrase: Self.new).report().scryptCost == cost)
    }

    @Test func whoHasItOpenIsToldToStartAgain() async throws {
        for rotatesOnly in [true, false] {
            let keystore = try await Keystore.withTwoKeys()
            let kms = try keystore.open()
            let other = try keystore.open()
            let sealed = try await Self.sealed(other)
            if rotatesOnly {
                try await kms.rotateKeystore(passphrase: try Keystore.secret(Keystore.passphrase))
            } else {
                try await keystore.changePassphrase(of: kms, to: Self.new)
            }
            let bytes = try keystore.bytes()
            let key = try #require(KMSKeyName("first"))
            let blob = sealed.blob
            let calls: [@Sendable () async throws -> Void] = [
                { try await other.checkHealth() },
                { _ = try await other.open(blob, under: key, context: Self.context, as: .service) },
                { _ = try await other.generateDataKey(under: key, context: Self.context, as: .service) },
                { _ = try await other.describeKey(key) },
                { try await other.createKey(TrustedKMSConformance.freshName()) },
                { try await other.rotateKey(key) },
            ]
            for call in calls {
                let error = await failure(call)
                guard case .unavailable(let reason) = error, reason.contains("start it again") else {
                    throw ConformanceFailure("\(String(describing: error))")
                }
            }
            let rewrapping = await keystoreError { () async throws(SoftwareKMSError) in
                try await keystore.changePassphrase(of: other, to: "third")
            }
            #expect(rewrapping == .replacedPassphrase(path: keystore.path))
            #expect(try keystore.bytes() == bytes)
            try await Self.expectOpens(kms, sealed)
        }
    }

    @Test func passphrasesThatDoNotFitAreNamed() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let bytes = try keystore.bytes()
        let cases: [(old: String, new: String, error: SoftwareKMSError)] = [
            ("wrong", Self.new, .wrongPassphrase(path: keystore.path)),
            ("", Self.new, .emptyPassphrase),
            (Keystore.passphrase, "", .emptyPassphrase),
            (Keystore.passphrase, Keystore.passphrase, .samePassphrase),
        ]
        for (old, new, expected) in cases {
            let error = await keystoreError { () async throws(SoftwareKMSError) in
                try await keystore.changePassphrase(of: kms, from: old, to: new)
            }
            #expect(error == expected)
        }
        let rotation = await keystoreError { () async throws(SoftwareKMSError) in
            try await kms.rotateKeystore(passphrase: try Keystore.secret("wrong"))
        }
        #expect(rotation == .wrongPassphrase(path: keystore.path))
        #expect(try keystore.bytes() == bytes)
        try await kms.checkHealth()
    }

    @Test func failedWriteLeavesTheOldPassphrase() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let sealed = try await Self.sealed(kms)
        let before = try keystore.bytes()
        // A folder in the place of the temporary file cannot be replaced, whoever runs the test.
        try FileManager.default.createDirectory(atPath: keystore.path + ".tmp", withIntermediateDirectories: false)
        let error = await keystoreError { () async throws(SoftwareKMSError) in
            try await keystore.changePassphrase(of: kms, to: Self.new)
        }
        guard case .notWritable = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(try keystore.bytes() == before)
        try FileManager.default.removeItem(atPath: keystore.path + ".tmp")
        try await Self.expectOpens(kms, sealed)
        try await kms.createKey(TrustedKMSConformance.freshName())
        try await Self.expectOpens(try keystore.open(), sealed)
    }

    /// Rotations, keys that are made and secrets that are opened, all at once: nothing is lost.
    @Test func rotationAmongOtherWork() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let sealed = try await Self.sealed(kms)
        let blob = sealed.blob
        let names = (0..<12).map { _ in TrustedKMSConformance.freshName() }
        await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<2 {
                group.addTask {
                    try await kms.rotateKeystore(passphrase: try Keystore.secret(Keystore.passphrase))
                }
            }
            for name in names { group.addTask { try await kms.createKey(name) } }
            for _ in 0..<50 {
                group.addTask {
                    let key = try #require(KMSKeyName("first"))
                    _ = try await kms.open(blob, under: key, context: Self.context, as: .service)
                }
            }
            // A rotation that another one overtook says so, and has changed nothing.
            while let result = await group.nextResult() {
                guard case .failure(let error) = result else { continue }
                #expect(error as? SoftwareKMSError == .busy(path: keystore.path))
            }
        }
        let again = try keystore.open()
        for name in names { _ = try await again.describeKey(name) }
        try await Self.expectOpens(again, sealed)
    }

    // MARK: Versions

    @Test func destroyedVersionsAreGoneFromTheFile() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let key = try #require(KMSKeyName("first"))
        try await kms.rotateKey(key)
        let sealed = try await Self.sealed(kms)
        try await kms.setMinimumVersion(3, of: key)
        try await kms.destroyVersions(below: 3, of: key)
        for kms in [kms, try keystore.open()] {
            let shown = try #require(try kms.report().keys.first)
            #expect(shown.firstVersion == 3 && shown.latestVersion == 3 && shown.minimumVersion == 3)
            try await Self.expectOpens(kms, sealed)
            for version in [1, 2] {
                let error = await failure { try await kms.setMinimumVersion(version, of: key) }
                guard case .keyUnusable(key, _) = error else {
                    throw ConformanceFailure("\(String(describing: error))")
                }
            }
        }
        // Nothing to destroy is no failure, and writes nothing.
        let bytes = try keystore.bytes()
        for version in [3, 1, 0, -1] { try await kms.destroyVersions(below: version, of: key) }
        #expect(try keystore.bytes() == bytes)
        try await kms.rotateKey(key)
        #expect(try await kms.describeKey(key).latestVersion == 4)
    }

    @Test func reportOfAnUnverifiedFileSaysSo() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let unverified = try KeystoreReport(reading: keystore.path)
        var verified = try keystore.open().report()
        #expect(!unverified.isVerified && verified.isVerified)
        verified.isVerified = false
        #expect(unverified == verified)
    }

    /// Base64 texts that two documents have in common.
    private static func sharedText(_ one: [String: Any], _ other: [String: Any]) -> Set<String> {
        func texts(_ value: Any) -> Set<String> {
            switch value {
            case let text as String where text.utf8.count > 30: [text]
            case let list as [Any]: list.reduce(into: []) { $0.formUnion(texts($1)) }
            case let object as [String: Any]: object.values.reduce(into: []) { $0.formUnion(texts($1)) }
            default: []
            }
        }
        return texts(one).intersection(texts(other))
    }
}
