import KeyManagement
import SecretMemory

/// Any PKCS#11 module as trusted KMS: an HSM in the server or on the network, or a software token.
///
/// Keys are AES-256 and Ed25519 keys that were made inside the token and cannot leave it. `CKA_LABEL` is the key's
/// name and `CKA_ID` begins with the version. docs/kms/pkcs11.md has the set-up, and what the user needs to be allowed.
///
/// The minimum version is in the keys themselves: versions below it are forbidden to decrypt and to unwrap
/// (`CKA_DECRYPT`, `CKA_UNWRAP`). So it holds for every process, it needs no second object that could get lost, and
/// the token itself enforces it.
public final class PKCS11KMS: TrustedKMS {
    public let provider = "pkcs11"
    public let capabilities: KMSCapabilities

    /// What seals: never ``PKCS11MechanismChoice/auto``.
    public var mechanism: PKCS11MechanismChoice { sealing.mechanism.choice }

    private let pool: SessionPool
    private let sealing: TokenSealing

    private init(pool: SessionPool, sealing: TokenSealing, mechanisms: [UInt: UInt], tokenFlags: UInt) {
        self.pool = pool
        self.sealing = sealing
        let signs =
            mechanisms[Cryptoki.eddsa].map { $0 & Cryptoki.signs != 0 } == true
            && mechanisms[Cryptoki.edwardsKeyPairGeneration].map { $0 & Cryptoki.generatesPairs != 0 } == true
        let isCBC = sealing.mechanism == .cbc
        capabilities = KMSCapabilities(
            contextBinding: sealing.mechanism == .gcm ? .associatedData : .none,
            sealing: isCBC ? .dataKeys : .secrets, nativeRewrap: false,
            random: tokenFlags & Cryptoki.hasGenerator != 0, sign: signs, destroysVersions: true,
            maximumPlaintextBytes: isCBC ? 32 : PKCS11Blob.maximumPlaintextBytes, attestation: .attributes,
            developmentOnly: false)
    }

    /// Loads the module, finds the token and logs in. End with ``shutdown()``.
    /// - Throws: where module, token or PIN are not usable; a wrong PIN is ``KMSError/denied(reason:)``.
    public static func connect(
        _ configuration: PKCS11Configuration, pin: consuming SecretBytes
    ) async throws(KMSError) -> PKCS11KMS {
        guard pin.count > 0 else { throw .denied(reason: "the PIN is empty: put the user PIN into the file") }
        // Loading blocks as well, but only once in a process.
        let module = try PKCS11Module.open(configuration.uri.modulePath)
        let pool = SessionPool(configuration, module: module, pin: pin)
        do throws(KMSError) {
            let (mechanisms, flags) = try await pool.run { session throws(PKCS11Failure) in
                (try session.mechanisms(), try session.tokenFlags())
            }
            guard let sealing = TokenSealing(configuration.mechanism, mechanisms: mechanisms) else {
                throw .notSupported(
                    operation: "AES by the mechanism \(configuration.mechanism.rawValue); "
                        + "pkcs11-tool --list-mechanisms shows what the token has")
            }
            return PKCS11KMS(pool: pool, sealing: sealing, mechanisms: mechanisms, tokenFlags: flags)
        } catch {
            await pool.shutdown()
            throw error
        }
    }

    /// Closes the sessions; the last user of a module logs out and finalizes it.
    public func shutdown() async { await pool.shutdown() }

    // MARK: Sealing

    public func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let isFit = capabilities.sealing == .dataKeys ? secret.count == 32 : isSealable(secret.count)
        guard isFit else { throw .notSupported(operation: "sealing \(secret.count) bytes") }
        let shared = SharedSecret(try Self.memory { () throws(SecretMemoryError) in try secret.copy() })
        return try await pool.run { [sealing] session throws(PKCS11Failure) in
            let version = try Self.latest(key, sealing, session)
            return try sealing.seal(shared.secret, context: context.bytes, with: version, in: session).sealed
        }
    }

    private func isSealable(_ count: Int) -> Bool { (1...capabilities.maximumPlaintextBytes).contains(count) }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let shared = try await pool.run { [sealing] session throws(PKCS11Failure) in
            let tokenKey = try Self.key(key, .sealing, session)
            let (blob, version) = try Self.version(of: sealed, in: tokenKey, sealing)
            return SharedSecret(try sealing.open(blob, context: context.bytes, with: version, in: session))
        }
        return try shared.copy()
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        let hasGenerator = capabilities.random
        let (sealed, shared) = try await pool.run { [sealing] session throws(PKCS11Failure) in
            let version = try Self.latest(key, sealing, session)
            var plaintext = try TokenSealing.memory { () throws(SecretMemoryError) in try SecretBytes(randomCount: 32) }
            if hasGenerator {
                // Random where one of the two generators is.
                let theirs = try session.random(plaintext.count)
                plaintext.withUnsafeMutableBytes { plaintext in
                    theirs.withUnsafeBytes { for index in plaintext.indices { plaintext[index] ^= $0[index] } }
                }
            }
            let blob = try sealing.seal(plaintext, context: context.bytes, with: version, in: session)
            return (blob.sealed, SharedSecret(plaintext))
        }
        return KMSDataKey(plaintext: try shared.copy(), sealed: sealed)
    }

    public func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        throw .notSupported(operation: "rewrapping without showing the plaintext")
    }

    private static func key(
        _ name: KMSKeyName, _ purpose: KMSKeyPurpose, _ session: PKCS11Session
    ) throws(PKCS11Failure) -> TokenKey {
        guard let key = try TokenKey(name, in: session) else { throw .kms(.keyNotFound(name)) }
        guard key.purpose == purpose else {
            throw .kms(.keyUnusable(name, reason: "it is a key of the purpose \(key.purpose.rawValue)"))
        }
        return key
    }

    /// The version that seals, of a key that may.
    private static func latest(
        _ name: KMSKeyName, _ sealing: TokenSealing, _ session: PKCS11Session
    ) throws(PKCS11Failure) -> KeyVersion {
        let key = try key(name, .sealing, session)
        let latest = try key.latest()
        try checkKind(key, sealing)
        try checkEnabled(key, sealing.usage.seal, sealing.usage.open)
        try key.check(latest)
        return latest
    }

    /// Tells a key that was made for another mechanism from one that is disabled: it has the uses of the other, both.
    private static func checkKind(_ key: TokenKey, _ sealing: TokenSealing) throws(PKCS11Failure) {
        let ciphers: [Attribute] = [.encrypt, .decrypt]
        let wrapping: [Attribute] = [.wrap, .unwrap]
        let (own, other) = sealing.mechanism.wraps ? (wrapping, ciphers) : (ciphers, wrapping)
        let attributes = try key.latest().attributes
        guard !own.contains(where: { attributes.bool($0) == true }),
            other.allSatisfy({ attributes.bool($0) == true })
        else { return }
        throw .kms(
            .keyUnusable(
                key.name,
                reason: "its latest version was made for kms.pkcs11.mechanism "
                    + (sealing.mechanism.wraps ? "gcm or cbc" : "keyWrapPad")
                    + ", and \(sealing.mechanism.choice.rawValue) is used: configure the mechanism that it was made "
                    + "for, or another key"))
    }

    private static func checkEnabled(_ key: TokenKey, _ uses: Attribute...) throws(PKCS11Failure) {
        for use in uses where try key.isDisabled(use) {
            throw .kms(
                .keyUnusable(key.name, reason: "it is disabled: \(use.name) of its latest version is not true"))
        }
    }

    private static func version(
        of sealed: KMSSealedBlob, in key: TokenKey, _ sealing: TokenSealing
    ) throws(PKCS11Failure) -> (PKCS11Blob, KeyVersion) {
        guard let blob = PKCS11Blob(parsing: sealed.bytes) else {
            if PKCS11Blob.isOfCBC(sealed.bytes) { throw otherMechanism(.cbc, key, sealing) }
            throw .kms(.cannotOpen)
        }
        // What CompletedKMS put inside differs between the choices.
        guard sealing.opens.contains(blob.mechanism) else { throw otherMechanism(blob.mechanism, key, sealing) }
        try checkKind(key, sealing)
        try checkEnabled(key, sealing.usage.seal, sealing.usage.open)
        let number = blob.version.number
        guard let version = key.versions.first(where: { $0.id == blob.version }) else {
            guard number < key.latestNumber, !key.versions.contains(where: { $0.id.number == number }) else {
                throw .kms(.cannotOpen)
            }
            throw .kms(.keyUnusable(key.name, reason: "its version \(number) was destroyed"))
        }
        let minimum = key.minimum()
        guard number >= minimum else {
            throw .kms(
                .keyUnusable(key.name, reason: "sealed under version \(number), the minimum is \(minimum)"))
        }
        try key.check(version)
        guard version.attributes.bool(sealing.usage.open) == true else {
            throw .kms(
                .keyUnusable(key.name, reason: "\(sealing.usage.open.name) of its version \(number) is not true"))
        }
        return (blob, version)
    }

    private static func otherMechanism(
        _ mechanism: PKCS11Blob.Mechanism, _ key: TokenKey, _ sealing: TokenSealing
    ) -> PKCS11Failure {
        .kms(
            .keyUnusable(
                key.name,
                reason: "it was sealed by \(mechanism), where kms.pkcs11.mechanism was \(mechanism.choice.rawValue), "
                    + "and \(sealing.mechanism.choice.rawValue) is used: set the former, with a token that has it"))
    }

    private static func memory<Result: ~Copyable>(
        _ body: () throws(SecretMemoryError) -> Result
    ) throws(KMSError) -> Result {
        do throws(SecretMemoryError) { return try body() } catch { throw .memory(error) }
    }

    // MARK: Generator and signatures

    public func random(count: Int) async throws(KMSError) -> SecretBytes {
        guard capabilities.random, (1...1024).contains(count) else {
            throw .notSupported(operation: "\(count) random bytes")
        }
        let shared = try await pool.run { session throws(PKCS11Failure) in SharedSecret(try session.random(count)) }
        return try shared.copy()
    }

    public func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        guard capabilities.sign else { throw .notSupported(operation: "sign") }
        return try await pool.run { session throws(PKCS11Failure) in
            let tokenKey = try Self.key(key, .signing, session)
            let latest = try tokenKey.latest()
            try Self.checkEnabled(tokenKey, .sign)
            try tokenKey.check(latest)
            let signature = try session.sign(message, Cryptoki.eddsa, key: latest.object)
            guard signature.count == 64 else {
                throw .kms(.invalidResponse(reason: "an Ed25519 signature of \(signature.count) bytes"))
            }
            return signature
        }
    }

    // MARK: Keys

    public func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        guard purpose == .sealing || capabilities.sign else { throw .notSupported(operation: "keys that sign") }
        try await pool.run(administering: true) { [sealing] session throws(PKCS11Failure) in
            if let key = try TokenKey(name, in: session) {
                guard key.purpose == purpose else {
                    throw .kms(
                        .keyUnusable(name, reason: "it exists, and is a key of the purpose \(key.purpose.rawValue)"))
                }
                return
            }
            try TokenKey.make(1, of: name, purpose: purpose, usage: sealing.usage, in: session)
        }
    }

    public func rotateKey(_ name: KMSKeyName) async throws(KMSError) {
        try await change(name) { [sealing] key, session throws(PKCS11Failure) in
            try TokenKey.make(
                key.latestNumber + 1, of: name, purpose: key.purpose, usage: sealing.usage, in: session)
        }
    }

    public func destroyKey(_ name: KMSKeyName) async throws(KMSError) {
        try await change(name) { key, session throws(PKCS11Failure) in
            for version in key.versions { try key.destroy(version, in: session) }
        }
    }

    /// Forbids the token to open with lower versions, by any mechanism. What is shut stays so.
    public func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await change(name) { [sealing] key, session throws(PKCS11Failure) in
            guard key.purpose == .sealing else {
                throw .kms(.notSupported(operation: "minimum versions of keys that sign"))
            }
            guard key.versions.contains(where: { $0.id.number == version }) else {
                throw .kms(
                    .keyUnusable(name, reason: "it has no version \(version); the latest is \(key.latestNumber)"))
            }
            try Self.checkEnabled(key, sealing.usage.seal, sealing.usage.open)
            let minimum = key.minimum()
            guard version >= minimum else {
                throw .kms(
                    .keyUnusable(
                        name,
                        reason: "its minimum version is \(minimum), which is not lowered here: an administrator of the "
                            + "token sets \(sealing.usage.open.name) of lower versions to true"))
            }
            // Upwards: a crash in between leaves a minimum in between.
            for lower in key.versions where lower.id.number < version {
                for use in [Attribute.decrypt, .unwrap] {
                    let isOpen = lower.attributes.bool(use)
                    // What the token does not tell counts where it is the use of the adapter.
                    guard isOpen == true || isOpen == nil && use == sealing.usage.open else { continue }
                    try session.set(use, false, of: lower.object)
                }
            }
        }
    }

    public func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        try await change(name) { key, session throws(PKCS11Failure) in
            let minimum = key.purpose == .sealing ? key.minimum() : key.latestNumber
            guard version <= minimum else {
                throw .kms(.keyUnusable(name, reason: "its minimum version is \(minimum): raise it first"))
            }
            for lower in key.versions where lower.id.number < version { try key.destroy(lower, in: session) }
        }
    }

    private func change(
        _ name: KMSKeyName,
        _ work: @escaping @Sendable (TokenKey, PKCS11Session) throws(PKCS11Failure) -> Void
    ) async throws(KMSError) {
        try await pool.run(administering: true) { session throws(PKCS11Failure) in
            guard let key = try TokenKey(name, in: session) else { throw .kms(.keyNotFound(name)) }
            try work(key, session)
        }
    }

    public func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        try await pool.run { [sealing] session throws(PKCS11Failure) in
            guard let key = try TokenKey(name, in: session) else { throw .kms(.keyNotFound(name)) }
            let latest = try key.latest()
            try key.check(latest)
            switch key.purpose {
            case .sealing:
                try Self.checkKind(key, sealing)
                let isDisabled = try key.isDisabled(sealing.usage.seal, sealing.usage.open)
                return KMSKeyDescription(
                    name: name, type: sealing.keyType, latestVersion: key.latestNumber,
                    minimumVersion: key.minimum(), earliestVersion: key.versions.first?.id.number ?? 1,
                    state: isDisabled ? .disabled : .enabled)
            case .signing:
                return KMSKeyDescription(
                    name: name, purpose: .signing, type: "ed25519", latestVersion: key.latestNumber,
                    minimumVersion: key.versions.first?.id.number ?? 1,
                    state: try key.isDisabled(.sign) ? .disabled : .enabled,
                    publicKey: try key.publicKey(latest, in: session))
            }
        }
    }

    // MARK: Health

    public func checkHealth() async throws(KMSError) {
        try await pool.run { session throws(PKCS11Failure) in
            try session.checkToken()
            guard try session.isLoggedIn() else { throw .call("C_GetSessionInfo", Cryptoki.userNotLoggedIn) }
        }
    }
}
