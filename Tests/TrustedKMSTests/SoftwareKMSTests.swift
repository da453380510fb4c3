import Foundation
import KeyManagement
import SecretMemory
import TestSupport
import Testing
import TrustedKMSSoftware

/// One after the other: scrypt keeps a thread busy, and tests beside these wait for a server.
@Suite(.serialized) struct SoftwareKMSTests {
    private static let context = SealingContext.forTests(["software", "tests"])

    /// The same promises when the keystore was closed and opened again.
    @Test func reopeningKeepsKeysVersionsAndMinimum() async throws {
        let keystore = try Keystore()
        let key = TrustedKMSConformance.freshName()
        let secret = try SecretBytes(randomCount: 32)
        let first: KMSSealedBlob
        let second: KMSSealedBlob
        do {
            let kms = try keystore.create(developmentOnly: true)
            try await kms.createKey(key)
            first = try await kms.seal(secret, under: key, context: Self.context, as: .service)
            try await kms.rotateKey(key)
            second = try await kms.seal(secret, under: key, context: Self.context, as: .service)
            try await kms.setMinimumVersion(2, of: key)
        }
        let kms = try keystore.open()
        #expect(kms.capabilities.developmentOnly)
        let description = try await kms.describeKey(key)
        #expect(description.latestVersion == 2)
        #expect(description.minimumVersion == 2)
        let opened = try await kms.open(second, under: key, context: Self.context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        let error = await failure {
            _ = try await kms.open(first, under: key, context: Self.context, as: .service)
        }
        guard case .keyUnusable = error else { throw ConformanceFailure("\(String(describing: error))") }
        // A minimum can be lowered again.
        try await kms.setMinimumVersion(1, of: key)
        _ = try await kms.open(first, under: key, context: Self.context, as: .service)
    }

    @Test func developmentOnlyIsShown() throws {
        #expect(try Keystore().create(developmentOnly: true).capabilities.developmentOnly)
        #expect(try !Keystore().create(developmentOnly: false).capabilities.developmentOnly)
    }

    // MARK: Opening what does not open

    @Test func wrongPassphraseIsNamed() throws {
        let keystore = try Keystore()
        try keystore.create()
        let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open(passphrase: "wrong") }
        #expect(error == .wrongPassphrase(path: keystore.path))
    }

    @Test func emptyPassphraseIsRefused() throws {
        let keystore = try Keystore()
        #expect(
            keystoreError { () throws(SoftwareKMSError) in try keystore.create(passphrase: "") } == .emptyPassphrase)
        #expect(try keystore.folder.names.isEmpty)
        try keystore.create()
        #expect(keystoreError { () throws(SoftwareKMSError) in try keystore.open(passphrase: "") } == .emptyPassphrase)
    }

    @Test func createNeverOverwrites() throws {
        let keystore = try Keystore()
        try keystore.create()
        let before = try keystore.bytes()
        let error = keystoreError { () throws(SoftwareKMSError) in try keystore.create() }
        #expect(error == .alreadyExists(path: keystore.path))
        #expect(try keystore.bytes() == before)
    }

    @Test func missingKeystoreIsNamed() throws {
        let keystore = try Keystore()
        let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
        #expect(error == .notFound(path: keystore.path))
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o620, 0o602, 0o601])
    func permissionsForOthersAreRefused(_ mode: Int) throws {
        let keystore = try Keystore()
        try keystore.create()
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: keystore.path)
        let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
        #expect(error == .insecurePermissions(path: keystore.path, mode: UInt32(mode)))
        #expect(error?.description.contains("chmod 600 \(keystore.path)") == true)
    }

    @Test func newKeystoreIsForItsOwnerAlone() async throws {
        let keystore = try Keystore()
        let kms = try keystore.create()
        try await kms.createKey(TrustedKMSConformance.freshName())
        let attributes = try FileManager.default.attributesOfItem(atPath: keystore.path)
        #expect(attributes[.posixPermissions] as? Int == 0o600)
    }

    @Test func onlyRegularFilesAreOpened() throws {
        let keystore = try Keystore()
        try keystore.create()
        let link = keystore.folder.file("link")
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: keystore.path)
        for path in [link, keystore.folder.path, "/dev/zero"] {
            let error = keystoreError { () throws(SoftwareKMSError) in
                _ = try SoftwareKMS(opening: path, passphrase: try Keystore.secret("x"))
            }
            #expect(error == .notRegularFile(path: path))
        }
    }

    @Test func everyTruncationIsNoticed() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let bytes = try keystore.bytes()
        // Without the last newline and brace it is the same document or none.
        for length in stride(from: 0, to: bytes.count - 2, by: 61) {
            try keystore.replace(with: bytes.prefix(length))
            let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
            guard case .damaged(keystore.path, _) = error else {
                Issue.record("\(length) bytes: \(String(describing: error))")
                continue
            }
        }
    }

    /// Alters each field of the file by itself, to a value of the same form.
    @Test(arguments: Damage.allCases)
    func everyDamagedFieldIsNoticed(_ damage: Damage) async throws {
        let keystore = try await Keystore.withTwoKeys()
        let original = try #require(JSONSerialization.jsonObject(with: keystore.bytes()) as? [String: Any])
        let altered = try damage.apply(to: original)
        try keystore.replace(with: JSONSerialization.data(withJSONObject: altered))
        let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
        switch damage.expected {
        case .damaged:
            guard case .damaged = error else { throw ConformanceFailure("\(String(describing: error))") }
        case .wrongPassphrase:
            #expect(error == .wrongPassphrase(path: keystore.path))
        case .unknownFormat:
            guard case .unknownFormat = error else { throw ConformanceFailure("\(String(describing: error))") }
        case .unacceptableCost:
            guard case .unacceptableCost = error else { throw ConformanceFailure("\(String(describing: error))") }
        }
        let text = try #require(error).description
        #expect(!text.isEmpty && !text.contains(Keystore.passphrase))
    }

    /// A hostile file: it must be refused before anything is derived or allocated.
    @Test(arguments: [1 << 30, 1 << 20, 1 << 14, 1, 0, -1, 100_000, Int.max])
    func scryptCostIsBounded(_ rounds: Int) async throws {
        let keystore = try await Keystore.withTwoKeys()
        var document = try #require(JSONSerialization.jsonObject(with: keystore.bytes()) as? [String: Any])
        var passphrase = try #require(document["passphrase"] as? [String: Any])
        passphrase["n"] = rounds
        document["passphrase"] = passphrase
        try keystore.replace(with: JSONSerialization.data(withJSONObject: document))
        let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
        guard case .unacceptableCost = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(keystoreError { () throws(SoftwareKMSError) in _ = try ScryptCost(rounds: rounds) } != nil)
    }

    @Test func anyBytesAreRefusedByName() throws {
        let keystore = try Keystore()
        var files: [Data] = [
            Data(), Data("null".utf8), Data("{}".utf8), Data("[]".utf8), Data("{\"format\":1}".utf8),
            Data("{\"format\":\"hkms-software-keystore-1\"}".utf8), Data(repeating: 0x5B, count: 100_000),
            Data(repeating: 0, count: 9 << 20),
        ]
        for length in [1, 100, 5000] { files.append(Data((0..<length).map { _ in UInt8.random(in: 0...255) })) }
        for bytes in files {
            try keystore.replace(with: bytes)
            let error = keystoreError { () throws(SoftwareKMSError) in try keystore.open() }
            switch error {
            case .damaged, .unknownFormat, .tooLarge: break
            default: Issue.record("\(bytes.count) bytes: \(String(describing: error))")
            }
        }
    }

    // MARK: Writing

    @Test func leftoverTemporaryFileIsIgnored() async throws {
        let keystore = try await Keystore.withTwoKeys()
        try Data("half a keysto".utf8).write(to: URL(fileURLWithPath: keystore.path + ".tmp"))
        let kms = try keystore.open()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        _ = try await keystore.open().describeKey(key)
        #expect(try keystore.folder.names == ["keystore", "keystore.lock"])
    }

    @Test func failedWriteLeavesTheOldKeystore() async throws {
        let keystore = try await Keystore.withTwoKeys()
        let kms = try keystore.open()
        let before = try keystore.bytes()
        // A folder in the place of the temporary file cannot be replaced, whoever runs the test.
        try FileManager.default.createDirectory(atPath: keystore.path + ".tmp", withIntermediateDirectories: false)
        let key = TrustedKMSConformance.freshName()
        let error = await failure { try await kms.createKey(key) }
        guard case .unavailable = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(try keystore.bytes() == before)
        let missing = await failure { _ = try await kms.describeKey(key) }
        #expect(missing == .keyNotFound(key))
    }

    /// Two open keystores stand for two processes: the lock binds open files, not processes.
    @Test func writersTakeTurnsAndSeeEachOther() async throws {
        let keystore = try Keystore()
        let one = try keystore.create()
        let two = try keystore.open()
        let shared = TrustedKMSConformance.freshName()
        try await one.createKey(shared)
        let names = (0..<24).map { _ in TrustedKMSConformance.freshName() }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for (index, name) in names.enumerated() {
                group.addTask {
                    let kms = index % 2 == 0 ? one : two
                    try await kms.createKey(name)
                    try await kms.rotateKey(shared)
                }
            }
            try await group.waitForAll()
        }
        for kms in [one, two, try keystore.open()] {
            let description = try await kms.describeKey(shared)
            #expect(description.latestVersion == 1 + names.count)
            for name in names { _ = try await kms.describeKey(name) }
        }
        try await one.destroyKey(shared)
        let error = await failure { _ = try await two.describeKey(shared) }
        #expect(error == .keyNotFound(shared))
    }

    @Test func vanishedOrAlteredKeystoreIsUnavailable() async throws {
        let keystore = try Keystore()
        let kms = try keystore.create()
        try await kms.checkHealth()
        let bytes = try keystore.bytes()
        try FileManager.default.removeItem(atPath: keystore.path)
        for file in [nil, Data("{}".utf8)] {
            if let file { try keystore.replace(with: file) }
            let error = await failure { try await kms.checkHealth() }
            guard case .unavailable(let reason) = error else {
                throw ConformanceFailure("\(String(describing: error))")
            }
            #expect(reason.contains(keystore.path))
        }
        try keystore.replace(with: bytes)
        try await kms.checkHealth()
    }

    @Test func masterKeysAreNotInTheFile() async throws {
        let keystore = try Keystore()
        let kms = try keystore.create()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let text = String(decoding: try keystore.bytes(), as: UTF8.self)
        #expect(text.contains(key.value))
        #expect(!text.contains(Keystore.passphrase))
        // 12 + 32 + 16 bytes of box are 80 digits; 32 bytes alone would be 44.
        #expect(text.contains(try Regex("\"wrapped\" : \"[A-Za-z0-9+/]{80}\"")))
    }
}

/// One alteration of a keystore file.
enum Damage: String, CaseIterable, Sendable {
    case format, developmentOnly, authenticator, kdf, rounds, blockSize, parallelism, salt, shortSalt, check
    case name, swappedNames, minimumVersion, impossibleMinimum, versionNumber, wrapped, swappedVersions, swappedKeys
    case droppedVersion, droppedKey, doubledKey, noVersions, missingField

    enum Expected { case damaged, wrongPassphrase, unknownFormat, unacceptableCost }

    var expected: Expected {
        switch self {
        case .format: .unknownFormat
        case .kdf, .blockSize: .unacceptableCost
        // One cannot tell these from a wrong passphrase, and the error says so.
        case .rounds, .parallelism, .salt, .check: .wrongPassphrase
        default: .damaged
        }
    }

    func apply(to original: [String: Any]) throws -> [String: Any] {
        var document = original
        var passphrase = try #require(document["passphrase"] as? [String: Any])
        var keys = try #require(document["keys"] as? [[String: Any]])
        var versions = try keys.map { try #require($0["versions"] as? [[String: Any]]) }
        switch self {
        case .format: document["format"] = "hkms-software-keystore-2"
        case .developmentOnly: document["developmentOnly"] = !(try #require(document["developmentOnly"] as? Bool))
        case .authenticator: document["authenticator"] = try Self.flipped(document["authenticator"])
        case .kdf: passphrase["kdf"] = "pbkdf2"
        case .rounds: passphrase["n"] = 1 << 16
        case .blockSize: passphrase["r"] = 16
        case .parallelism: passphrase["p"] = 2
        case .salt: passphrase["salt"] = try Self.flipped(passphrase["salt"])
        case .shortSalt: passphrase["salt"] = "AAAA"
        case .check: passphrase["check"] = try Self.flipped(passphrase["check"])
        case .name: keys[0]["name"] = "third"
        case .swappedNames: (keys[0]["name"], keys[1]["name"]) = (keys[1]["name"], keys[0]["name"])
        case .minimumVersion: keys[0]["minimumVersion"] = 2
        case .impossibleMinimum: keys[0]["minimumVersion"] = 3
        case .versionNumber: versions[0][1]["version"] = 3
        case .wrapped: versions[0][0]["wrapped"] = try Self.flipped(versions[0][0]["wrapped"])
        case .swappedVersions:
            (versions[0][0]["wrapped"], versions[0][1]["wrapped"]) = (
                versions[0][1]["wrapped"], versions[0][0]["wrapped"]
            )
        case .swappedKeys: versions.swapAt(0, 1)
        case .droppedVersion: versions[0].removeLast()
        case .droppedKey:
            keys.removeLast()
            versions.removeLast()
        case .doubledKey:
            keys.append(keys[0])
            versions.append(versions[0])
        case .noVersions: versions[0] = []
        case .missingField: keys[0]["minimumVersion"] = nil
        }
        for index in keys.indices { keys[index]["versions"] = versions[index] }
        document["keys"] = keys
        document["passphrase"] = passphrase
        return document
    }

    /// One bit of a base64 field.
    private static func flipped(_ field: Any?) throws -> String {
        let text = try #require(field as? String)
        var bytes = try #require(Data(base64Encoded: text))
        bytes[bytes.startIndex + bytes.count / 2] ^= 0x10
        return bytes.base64EncodedString()
    }
}
