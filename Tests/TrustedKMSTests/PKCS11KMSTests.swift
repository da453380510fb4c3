import CPKCS11
import Foundation
import KeyManagement
import SecretMemory
import Testing
import TrustedKMSPKCS11

/// Beside conformance: tokens, PINs and keys that are not as they should be, and other programs at the same token.
@Suite(.serialized) struct PKCS11KMSTests {
    private static let context = SealingContext.forTests(["pkcs11", "tests"])

    // MARK: Module and token

    @Test func missingModuleIsNamed() async throws {
        let error = try await refusal("pkcs11:token=hkms?module-path=/nowhere/module.so")
        guard case .unavailable(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(reason.contains("/nowhere/module.so"))
        #expect(reason.contains("module-path"))
    }

    @Test func otherFilesAreNoModules() async throws {
        let folder = try TemporaryFolder()
        let text = try folder.write("not a library", to: "module.so")
        let libraries = try FileManager.default.contentsOfDirectory(atPath: "/lib/x86_64-linux-gnu")
            .filter { $0.hasPrefix("libm.so") }
        let library = try #require(libraries.first)
        for path in [text, folder.path, "/lib/x86_64-linux-gnu/\(library)"] {
            let error = try await refusal("pkcs11:token=hkms?module-path=\(path)")
            guard case .unavailable(let reason) = error else {
                throw ConformanceFailure("\(path): \(String(describing: error))")
            }
            #expect(reason.contains(path) || reason.contains("libm.so"))
        }
    }

    @Test func aModuleThatAnybodyCanWriteIsNotLoaded() async throws {
        let folder = try TemporaryFolder()
        let path = folder.file("module.so")
        let module = URL(fileURLWithPath: try PKCS11TestToken.softHSM.module).resolvingSymlinksInPath()
        try FileManager.default.copyItem(atPath: module.path, toPath: path)
        try FileManager.default.setAttributes([.posixPermissions: 0o666], ofItemAtPath: path)
        let error = try await refusal("pkcs11:token=hkms?module-path=\(path)")
        #expect(error?.description.contains("chmod o-w") == true)
    }

    @Test func missingTokenIsNamed() async throws {
        let token = try PKCS11TestToken.softHSM
        let error = try await refusal("pkcs11:token=no%20such;serial=42?module-path=\(token.module)")
        guard case .unavailable(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(reason.contains("token=no such;serial=42"))
    }

    /// What tells tokens apart is compared, all of it.
    @Test func everyAttributeOfTheURICounts() async throws {
        let token = try PKCS11TestToken.softHSM
        let good = "pkcs11:token=\(token.label);model=SoftHSM%20v2;manufacturer=SoftHSM%20project"
        try await token.connect(uri: "\(good)?module-path=\(token.module)").shutdown()
        for wrong in ["model=SoftHSM", "manufacturer=softhsm%20project", "serial=0", "slot-id=7"] {
            let uri = "pkcs11:token=\(token.label);\(wrong)?module-path=\(token.module)"
            let error = try await refusal(uri)
            guard case .unavailable = error else { throw ConformanceFailure("\(wrong): \(String(describing: error))") }
        }
    }

    @Test func ambiguousTokenIsRefused() async throws {
        let first = try OwnToken()
        let second = try OwnToken(label: first.token.label)
        let error = await failure { _ = try await first.token.connect() }
        guard case .unavailable(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(reason.contains("2 tokens"))
        try second.remove()
        try await first.token.connect().shutdown()
        try first.remove()
    }

    @Test(.enabled(if: PKCS11TestToken.isRoot, PKCS11TestToken.needsRoot))
    func absentMechanismIsNamed() async throws {
        let token = try PKCS11TestToken.openCryptoki
        for mechanism in [PKCS11MechanismChoice.gcm, .keyWrapPad] {
            let error = await failure { _ = try await token.connect(mechanism) }
            guard case .notSupported(let operation) = error else {
                throw ConformanceFailure("\(String(describing: error))")
            }
            #expect(operation.contains(mechanism.rawValue))
        }
    }

    private func refusal(_ uri: String) async throws -> KMSError? {
        let uri = try PKCS11URI(uri)
        return await failure {
            let kms = try await PKCS11KMS.connect(
                PKCS11Configuration(uri: uri), pin: try SecretBytes(copying: "1234".utf8))
            await kms.shutdown()
        }
    }

    // MARK: PIN

    @Test func wrongPINIsDenied() async throws {
        let token = try PKCS11TestToken.softHSM
        for pin in ["not-this-one", "x", ""] {
            let error = await failure { _ = try await token.connect(pin: Array(pin.utf8)) }
            guard case .denied(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
            #expect(reason.contains("PIN"))
            #expect(!reason.contains("not-this-one"))
        }
        // Nothing is left of it.
        try await token.connect().shutdown()
    }

    /// A PIN that is wrong when an adapter at work has to log in again is tried once: this token locks at the third.
    @Test(.enabled(if: PKCS11TestToken.isRoot, PKCS11TestToken.needsRoot))
    func wrongPINIsNotTriedAgain() async throws {
        let token = try PKCS11TestToken.openCryptoki
        let officer = try TokenOfficer()
        let kms = try await token.connect()
        try officer.setPIN("13572468")
        try token.administer { $0.closeAllSessions() }
        for _ in 0..<8 {
            let error = await failure { try await kms.checkHealth() }
            guard case .denied(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
            #expect(reason.contains("CKR_PIN_INCORRECT"))
        }
        await kms.shutdown()
        #expect(try officer.accepts("13572468"))
        try officer.setPIN(token)
        try await token.connect().shutdown()
    }

    /// The last try before a token locks is not spent.
    @Test(.enabled(if: PKCS11TestToken.isRoot, PKCS11TestToken.needsRoot))
    func lastTryIsNotRisked() async throws {
        let token = try PKCS11TestToken.openCryptoki
        let officer = try TokenOfficer()
        var reasons: [String] = []
        for _ in 0..<6 {
            let error = await failure { _ = try await token.connect(pin: Array("99999999".utf8)) }
            guard case .denied(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
            reasons.append(reason)
        }
        #expect(reasons[0].contains("CKR_PIN_INCORRECT"))
        #expect(reasons[5].contains("by hand"))
        #expect(try officer.accepts(String(decoding: token.pin, as: UTF8.self)))
        try await token.connect().shutdown()
    }

    @Test(.enabled(if: PKCS11TestToken.isRoot, PKCS11TestToken.needsRoot))
    func lockedTokenIsNamed() async throws {
        let token = try PKCS11TestToken.openCryptoki
        let officer = try TokenOfficer()
        for _ in 0..<4 { #expect(try !officer.accepts("99999999")) }
        let error = await failure { _ = try await token.connect() }
        guard case .denied(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(reason.contains("security officer"))
        try officer.setPIN(token)
        try await token.connect().shutdown()
    }

    // MARK: Losses

    /// Sessions, login and the whole token: the adapter finds its way back without a restart.
    @Test func lostTokenIsNamedAndFoundAgain() async throws {
        let own = try OwnToken()
        let kms = try await own.token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        try own.hide()
        for operation in 0..<4 {
            let error = await failure {
                switch operation {
                case 0: _ = try await kms.open(blob, under: key, context: Self.context, as: .service)
                // Not a key that is missing, or one would be made anew.
                case 1: try await kms.requireKey(key)
                case 2: try await kms.rotateKey(key)
                default: try await kms.checkHealth()
                }
            }
            guard case .unavailable = error else {
                throw ConformanceFailure("\(operation): \(String(describing: error))")
            }
        }
        try own.show()
        // The module is initialized anew once in a second.
        try await Task.sleep(for: .milliseconds(1100))
        let opened = try await kms.open(blob, under: key, context: Self.context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        #expect(try await kms.describeKey(key).latestVersion == 1)
        await kms.shutdown()
        try own.remove()
    }

    /// A token that was made anew under the same label has no keys, and says so.
    @Test func tokenMadeAnewIsAnotherToken() async throws {
        let own = try OwnToken()
        let kms = try await own.token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        try own.makeAnew()
        let error = await failure { _ = try await kms.open(blob, under: key, context: Self.context, as: .service) }
        #expect(error == .keyNotFound(key))
        try await kms.createKey(key)
        let second = await failure { _ = try await kms.open(blob, under: key, context: Self.context, as: .service) }
        #expect(second == .cannotOpen)
        await kms.shutdown()
        try own.remove()
    }

    @Test func loggedOutByOthersIsLoggedInAgain() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        for _ in 0..<3 {
            try token.administer { $0.logOut() }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<16 {
                    group.addTask { _ = try await kms.describeKey(key) }
                }
                try await group.waitForAll()
            }
        }
        await kms.shutdown()
    }

    /// By the count of opencryptoki; SoftHSM2 does not tell.
    @Test(.enabled(if: PKCS11TestToken.isRoot, PKCS11TestToken.needsRoot))
    func sessionsAreBoundedAndClosed() async throws {
        let token = try PKCS11TestToken.openCryptoki
        let watcher = try await token.connect(sessions: 1)
        let kms = try await token.connect(sessions: 3)
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for task in 0..<64 {
                group.addTask {
                    let secret = try SecretBytes(randomCount: 32)
                    _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
                    if task % 16 == 0 { try await kms.rotateKey(key) }
                }
            }
            try await group.waitForAll()
        }
        // The watcher's, and the administrator's that counts.
        let (open, others) = (try token.administer { try $0.sessionCount }, 2 as UInt)
        #expect((1 + others...3 + others).contains(open), "\(open) sessions")
        await kms.shutdown()
        let left = try token.administer { try $0.sessionCount }
        #expect(left <= others)
        let afterwards = await failure { try await kms.checkHealth() }
        #expect(afterwards == .unavailable(reason: "the PKCS#11 adapter is shut down"))
        try await watcher.checkHealth()
        await watcher.shutdown()
    }

    /// A rotation is one version, whichever of its answers was lost, and what has the name is not destroyed.
    @Test(arguments: [AlteredAnswers.Call.generateKey, .setAttribute], [0x30 as UInt, 0x32, 0xB3, 0x101, 0x82])
    func lostAnswerOfARotationIsNotAskedForAgain(_ call: AlteredAnswers.Call, _ code: UInt) async throws {
        let own = try OwnToken()
        let kms = try await own.token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let answers = try AlteredAnswers(own.token, [call: code])
        let error = await failure { try await kms.rotateKey(key) }
        answers.restore()
        #expect(answers.count(.generateKey) == 1)
        #expect(answers.count(.setAttribute) == (call == .setAttribute ? 1 : 0))
        // Without its answer nobody knows the new object, which stays what it is; with its name it is a version.
        if call == .setAttribute {
            #expect(error == nil)
        } else {
            guard case .unavailable = error else { throw ConformanceFailure("\(String(describing: error))") }
        }
        #expect(try await kms.describeKey(key).latestVersion == (call == .setAttribute ? 2 : 1))
        #expect(try own.token.administer { try $0.objects("hkms-unfinished").count } == (call == .setAttribute ? 0 : 1))
        await kms.shutdown()
        try own.remove()
    }

    /// A module may have no better word for a wrong PIN, and tokens lock after a few.
    @Test(arguments: [0x05 as UInt, 0x06, 0x30, 0x54])
    func oddAnswerToALoginIsNotAskedForAgain(_ code: UInt) async throws {
        let own = try OwnToken()
        let kms = try await own.token.connect()
        try own.token.administer { $0.closeAllSessions() }
        let answers = try AlteredAnswers(own.token, [.logIn: code])
        for _ in 0..<8 {
            let error = await failure { try await kms.checkHealth() }
            #expect(error != nil)
        }
        answers.restore()
        #expect(answers.count(.logIn) == 1)
        await kms.shutdown()
        try await own.token.connect().shutdown()
        try own.remove()
    }

    /// What would never open is not given out as sealed.
    @Test func appendedIVIsRefused() async throws {
        let own = try OwnToken()
        let kms = try await own.token.connect(.gcm)
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        for appended in [1, 16] {
            let answers = try AlteredAnswers(own.token, appended: appended)
            for operation in 0..<2 {
                let error = await failure {
                    if operation == 0 {
                        _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
                    } else {
                        _ = try await kms.generateDataKey(under: key, context: Self.context, as: .service)
                    }
                }
                guard case .invalidResponse(let reason) = error else {
                    throw ConformanceFailure("\(String(describing: error))")
                }
                #expect(reason.contains("keyWrapPad"))
            }
            answers.restore()
        }
        _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        await kms.shutdown()
        try own.remove()
    }

    /// Who asked is answered in time; the thread, and nobody else, waits for the module.
    @Test func hungCallIsGivenUp() async throws {
        let own = try OwnToken()
        let kms = try await own.token.connect(.gcm, timeLimit: .seconds(2))
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        let hangs = DispatchSemaphore(value: 0)
        let answers = try AlteredAnswers(own.token, hangs: hangs)
        defer {
            // Whatever fails below, or the next test would wait for this one's call.
            hangs.signal()
            answers.restore()
        }
        let error = await failure {
            _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        }
        guard case .unavailable(let reason) = error else { throw ConformanceFailure("\(String(describing: error))") }
        #expect(reason.contains("did not answer within 2 s"))
        try await kms.checkHealth()
        // Sessions that are lost beside it are not all opened anew while it lasts; nobody waits for ever.
        try own.token.administer { $0.closeAllSessions() }
        for _ in 0..<2 {
            switch await failure({ try await kms.checkHealth() }) {
            case nil, .unavailable: break
            case .some(let error): throw ConformanceFailure("\(error)")
            }
        }
        hangs.signal()
        answers.restore()
        var last: KMSError?
        for _ in 0..<50 {
            last = await failure { _ = try await kms.describeKey(key) }
            if last == nil { break }
            try await Task.sleep(for: .milliseconds(200))
        }
        #expect(last == nil)
        await kms.shutdown()
        try own.remove()
    }

    /// A module that others use is not finalized under them.
    @Test func callsAfterAShutdownEndNothing() async throws {
        let own = try OwnToken()
        let other = try await own.token.connect()
        let kms = try await own.token.connect()
        let answers = try AlteredAnswers(own.token)
        await kms.shutdown()
        for _ in 0..<3 {
            let error = await failure { try await kms.checkHealth() }
            #expect(error == .unavailable(reason: "the PKCS#11 adapter is shut down"))
        }
        try await other.checkHealth()
        #expect(answers.count(.finalize) == 0)
        answers.restore()
        await other.shutdown()
        try own.remove()
    }

    /// Who reaches the token without its PIN can put public objects there, and stop no key by them.
    @Test func plantedObjectDoesNotCount() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let flags = TokenAdministrator.fit.merging([0x002: false]) { $1 }
        try token.administer { administrator in
            for id in [[0x7F, 0xFF, 0xFF, 0xFF], [1]] as [[UInt8]] {
                try administrator.generateKey(key.value, id: id, flags: flags)
            }
        }
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        #expect(blob.keyVersion == 1)
        try await kms.rotateKey(key)
        #expect(try await kms.describeKey(key).latestVersion == 2)
        let opened = try await kms.open(blob, under: key, context: Self.context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        try await kms.destroyKey(key)
        try token.administer { administrator in
            for object in try administrator.objects(key.value) { administrator.destroy(object) }
        }
        await kms.shutdown()
    }

    // MARK: Keys that are not used

    /// An attribute of a key that could leave the token, did not come into being there, or is no AES-256 key.
    @Test(arguments: [
        ("CKA_EXTRACTABLE", [0x162 as UInt: true], 32 as UInt), ("CKA_SENSITIVE", [0x103: false], 32),
        ("CKA_PRIVATE", [0x002: false], 32), ("32 bytes", [:], 16), ("CKA_WRAP", [0x106: true], 32),
        ("CKA_UNWRAP", [0x107: true], 32), ("CKA_DERIVE", [0x10C: true], 32),
    ])
    func unfitKeyIsRefused(_ name: String, _ flags: [UInt: Bool], _ bytes: UInt) async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try token.administer {
            try $0.generateKey(
                key.value, id: [0, 0, 0, 1], bytes: bytes, flags: TokenAdministrator.fit.merging(flags) { $1 })
        }
        for operation in 0..<2 {
            let error = await failure {
                switch operation {
                case 0:
                    let secret = try SecretBytes(randomCount: 32)
                    _ = try await kms.seal(secret, under: key, context: Self.context, as: .service)
                default: _ = try await kms.describeKey(key)
                }
            }
            guard case .keyUnusable(key, let reason) = error else {
                throw ConformanceFailure("\(String(describing: error))")
            }
            #expect(reason.contains(name))
        }
        try await kms.destroyKey(key)
        await kms.shutdown()
    }

    /// A key that an administrator made, by the number of its version alone.
    @Test func keyOfAnAdministratorIsUsed() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try token.administer { try $0.generateKey(key.value, id: [0, 0, 0, 1], flags: TokenAdministrator.fit) }
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        #expect(blob.keyVersion == 1)
        try await kms.rotateKey(key)
        let opened = try await kms.open(blob, under: key, context: Self.context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        try await kms.destroyKey(key)
        await kms.shutdown()
    }

    @Test func ambiguousLabelIsRefused() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        for ids in [[[0, 0, 0, 1], [0, 0, 0, 1]], [[1]], [[]], [[0, 0, 0, 0]]] as [[[UInt8]]] {
            let key = TrustedKMSConformance.freshName()
            try token.administer { administrator in
                for id in ids { try administrator.generateKey(key.value, id: id, flags: TokenAdministrator.fit) }
            }
            let error = await failure { _ = try await kms.describeKey(key) }
            guard case .keyUnusable(key, _) = error else {
                throw ConformanceFailure("\(ids): \(String(describing: error))")
            }
            try token.administer { administrator in
                for object in try administrator.objects(key.value) { administrator.destroy(object) }
            }
        }
        await kms.shutdown()
    }

    /// Two programs that made version 1 at once: each opens what it sealed, and both seal with the same one now.
    @Test func twoCreatorsAtOnceLoseNothing() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        let early = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        for other in [UInt8(0), 0xFF] {
            try token.administer {
                let id = [0, 0, 0, 1] + [UInt8](repeating: other, count: 8)
                try $0.generateKey(key.value, id: id, flags: TokenAdministrator.fit)
            }
        }
        let opened = try await kms.open(early, under: key, context: Self.context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        let late = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        #expect(late.keyVersion == 1)
        #expect(Array(late.bytes[6..<18]) == [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0])
        #expect(try await kms.describeKey(key).latestVersion == 1)
        try await kms.destroyKey(key)
        await kms.shutdown()
    }

    /// The token itself refuses a version below the minimum, whoever asks.
    @Test func minimumIsTheTokensOwn() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect(.gcm)
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        try await kms.rotateKey(key)
        try await kms.rotateKey(key)
        try await kms.setMinimumVersion(3, of: key)
        let allowed = try token.administer { administrator in
            try administrator.objects(key.value).map { object in
                (
                    try administrator.bytes(0x102, of: object)[3],
                    try administrator.bytes(TokenAdministrator.decrypt, of: object) == [1]
                )
            }
        }
        #expect(allowed.sorted { $0.0 < $1.0 }.map(\.1) == [false, false, true])
        let error = await failure { try await kms.setMinimumVersion(2, of: key) }
        guard case .keyUnusable(key, let reason) = error else {
            throw ConformanceFailure("\(String(describing: error))")
        }
        #expect(reason.contains("its minimum version is 3"))
        #expect(try await kms.describeKey(key).minimumVersion == 3)
        try await kms.destroyVersions(below: 2, of: key)
        #expect(try token.administer { try $0.objects(key.value).count } == 2)
        #expect(try await kms.describeKey(key).minimumVersion == 3)
        try await kms.destroyKey(key)
        #expect(try token.administer { try $0.objects(key.value).count } == 0)
        await kms.shutdown()
    }

    /// Whatever a lower version was made for, the token opens nothing with it; and raising allows nothing.
    @Test func minimumShutsEveryUse() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect(.gcm)
        let key = TrustedKMSConformance.freshName()
        let uses = [TokenAdministrator.decrypt, TokenAdministrator.unwrap]
        try token.administer { administrator in
            for (version, isOpen) in [(1 as UInt8, [false, true]), (2, [true, true]), (3, [false, false])] {
                let flags = TokenAdministrator.fit.merging(zip(uses, isOpen)) { $1 }
                try administrator.generateKey(key.value, id: [0, 0, 0, version], flags: flags)
            }
            try administrator.generateKey(key.value, id: [0, 0, 0, 4], flags: TokenAdministrator.fit)
        }
        #expect(try await kms.describeKey(key).minimumVersion == 1)
        try await kms.setMinimumVersion(3, of: key)
        let isOpen = try token.administer { administrator in
            try administrator.objects(key.value).map { object in
                let version = try administrator.bytes(0x102, of: object)[3]
                return (version, try uses.map { try administrator.bytes($0, of: object) == [1] })
            }
        }
        let expected = [[false, false], [false, false], [false, false], [true, false]]
        #expect(isOpen.sorted { $0.0 < $1.0 }.map(\.1) == expected)
        #expect(try await kms.describeKey(key).minimumVersion == 4)
        try await kms.destroyKey(key)
        await kms.shutdown()
    }

    /// Every object of a key that signs goes with it.
    @Test func destroyedSigningKeyLeavesNothing() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key, purpose: .signing)
        try await kms.rotateKey(key)
        #expect(try token.administer { try $0.objects(key.value).count } == 4)
        try await kms.destroyVersions(below: 2, of: key)
        #expect(try token.administer { try $0.objects(key.value).count } == 2)
        try await kms.destroyKey(key)
        #expect(try token.administer { try $0.objects(key.value).count } == 0)
        await kms.shutdown()
    }

    // MARK: Other programs

    /// What another process does to the keys counts at the next call.
    @Test func otherProcessesCount() async throws {
        let token = try PKCS11TestToken.softHSM
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        try token.tool([
            "--keygen", "--key-type", "AES:32", "--label", key.value, "--id", "00000002", "--sensitive", "--private",
        ])
        // OpenSC's tool leaves the uses to the module, and SoftHSM2 allows all.
        let early = await failure { _ = try await kms.describeKey(key) }
        guard case .keyUnusable(key, let reason) = early else {
            throw ConformanceFailure("\(String(describing: early))")
        }
        #expect(reason.contains("one use"))
        try token.administer { administrator in
            let made = try administrator.objects(key.value).first { object in
                try administrator.bytes(0x102, of: object) == [0, 0, 0, 2]
            }
            for use in [TokenAdministrator.wrap, TokenAdministrator.unwrap] {
                try administrator.set(use, [0], of: try #require(made))
            }
        }
        #expect(try await kms.describeKey(key).latestVersion == 2)
        let rewrapped = try await CompletedKMS(kms).rewrap(blob, under: key, context: Self.context, as: .service)
        #expect(rewrapped.keyVersion == 2)
        try token.tool(["--delete-object", "--type", "secrkey", "--label", key.value, "--id", "00000002"])
        let error = await failure {
            _ = try await kms.open(rewrapped, under: key, context: Self.context, as: .service)
        }
        #expect(error == .cannotOpen)
        let opened = try await kms.open(blob, under: key, context: Self.context, as: .service)
        let isSame = opened.equals(secret)
        #expect(isSame)
        try await kms.destroyKey(key)
        await kms.shutdown()
    }

    /// Blobs and keys of one mechanism are not used by another, and the error says which it was and which it is.
    @Test(arguments: [
        (PKCS11MechanismChoice.gcm, PKCS11MechanismChoice.keyWrapPad, "gcm or cbc"), (.keyWrapPad, .gcm, "keyWrapPad"),
    ])
    func otherMechanismIsNamed(
        _ made: PKCS11MechanismChoice, _ used: PKCS11MechanismChoice, _ word: String
    ) async throws {
        let token = try PKCS11TestToken.softHSM
        let key = TrustedKMSConformance.freshName()
        let kms = try await token.connect(made)
        try await kms.createKey(key)
        let secret = try SecretBytes(randomCount: 32)
        let blob = try await kms.seal(secret, under: key, context: Self.context, as: .service)
        await kms.shutdown()
        let other = try await token.connect(used)
        func expect(_ texts: String..., call: () async throws -> Void) async throws {
            let error = await failure { try await call() }
            guard case .keyUnusable(key, let reason) = error, !reason.contains("disabled") else {
                throw ConformanceFailure("\(String(describing: error))")
            }
            for text in texts { #expect(reason.contains(text), "\(reason)") }
        }
        let opens = "mechanism was \(made.rawValue), and \(used.rawValue) is used"
        try await expect(opens) { _ = try await other.open(blob, under: key, context: Self.context, as: .service) }
        // As CompletedKMS stores what a token of AES-CBC alone has sealed.
        let cbc =
            [1] + [UInt8](repeating: 7, count: 32) + Array("HKP1".utf8) + [5, 4, 0, 0, 0, 1]
            + [UInt8](repeating: 9, count: 48)
        try await expect("mechanism was cbc, and \(used.rawValue) is used") {
            let blob = KMSSealedBlob(bytes: cbc, keyVersion: 1)
            _ = try await other.open(blob, under: key, context: Self.context, as: .service)
        }
        let keys = "made for kms.pkcs11.mechanism \(word), and \(used.rawValue) is used"
        try await expect(keys) { _ = try await other.seal(secret, under: key, context: Self.context, as: .service) }
        try await expect(keys) { _ = try await other.describeKey(key) }
        try await other.destroyKey(key)
        await other.shutdown()
    }

    /// docs/kms/pkcs11.md, as it is written: the token is made by its commands and used by its URI.
    @Test func theManualsSetUpWorks() async throws {
        let token = try ManualToken()
        defer { token.forget() }
        let kms = try await token.connect()
        let key = TrustedKMSConformance.freshName()
        try await kms.createKey(key)
        #expect(try await kms.describeKey(key).state == .enabled)
        await kms.shutdown()
    }
}
