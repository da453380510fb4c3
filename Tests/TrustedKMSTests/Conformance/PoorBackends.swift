import Crypto
import CryptoExtras
import Foundation
import KeyManagement
import SecretMemory
import Synchronization
import TrustedKMSSoftware

/// A keystore that ignores the context and does not rewrap: ``CompletedKMS`` must supply both.
struct WithoutContext: ForwardingKMS {
    let inner: any TrustedKMS
    private static let sameForAll = SealingContext.forTests(["whatever the caller says"])

    var capabilities: KMSCapabilities {
        var capabilities = inner.capabilities
        capabilities.contextBinding = .none
        capabilities.nativeRewrap = false
        capabilities.random = false
        return capabilities
    }

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        try await inner.seal(secret, under: key, context: Self.sameForAll, as: caller)
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        try await inner.open(sealed, under: key, context: Self.sameForAll, as: caller)
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        throw .notSupported(operation: "data keys")
    }

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        throw .notSupported(operation: "rewrap")
    }

    func random(count: Int) async throws(KMSError) -> SecretBytes { throw .notSupported(operation: "random") }
}

/// AES-CBC without padding and without any check, as tokens have it that have nothing better: whatever 32 bytes come
/// out are the answer. Version (1 byte) || IV (16 bytes) || ciphertext (32 bytes).
final class WithoutIntegrity: TrustedKMS {
    private struct Key {
        var versions: [Int: SymmetricKey]
        var latest = 1
        var minimum = 1
    }

    private let keys = Mutex<[KMSKeyName: Key]>([:])
    let provider = "without-integrity"
    let capabilities = KMSCapabilities(
        contextBinding: .none, sealing: .dataKeys, nativeRewrap: false, random: false, sign: false,
        destroysVersions: true, maximumPlaintextBytes: 32, developmentOnly: true)

    // MARK: Sealing

    func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        guard secret.count == 32 else { throw .notSupported(operation: "sealing \(secret.count) bytes") }
        let entry = try entry(key)
        guard let master = entry.versions[entry.latest], let version = UInt8(exactly: entry.latest) else {
            throw .keyUnusable(key, reason: "it has no version \(entry.latest)")
        }
        let iv = AES._CBC.IV()
        let sealed = secret.withUnsafeBytes { try? AES._CBC.encrypt($0, using: master, iv: iv, noPadding: true) }
        guard let sealed else { throw .unavailable(reason: "AES-CBC failed") }
        return KMSSealedBlob(bytes: [version] + iv + sealed, keyVersion: entry.latest)
    }

    func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let entry = try entry(key)
        guard sealed.bytes.count == 49, let iv = try? AES._CBC.IV(ivBytes: sealed.bytes[1..<17]),
            (1...entry.latest).contains(Int(sealed.bytes[0]))
        else { throw .cannotOpen }
        let version = Int(sealed.bytes[0])
        guard version >= entry.minimum, let master = entry.versions[version] else {
            throw .keyUnusable(key, reason: "version \(version) is below its minimum")
        }
        guard let opened = try? AES._CBC.decrypt(sealed.bytes[17...], using: master, iv: iv, noPadding: true)
        else { throw .cannotOpen }
        do throws(SecretMemoryError) { return try SecretBytes(copying: opened) } catch { throw .memory(error) }
    }

    func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        throw .notSupported(operation: "data keys")
    }

    func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        throw .notSupported(operation: "rewrap")
    }

    func random(count: Int) async throws(KMSError) -> SecretBytes { throw .notSupported(operation: "random") }

    func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        throw .notSupported(operation: "sign")
    }

    // MARK: Keys

    func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        guard purpose == .sealing else { throw .notSupported(operation: "keys that sign") }
        keys.withLock { if $0[name] == nil { $0[name] = Key(versions: [1: SymmetricKey(size: .bits256)]) } }
    }

    func rotateKey(_ name: KMSKeyName) async throws(KMSError) {
        try change(name) {
            $0.latest += 1
            $0.versions[$0.latest] = SymmetricKey(size: .bits256)
        }
    }

    func destroyKey(_ name: KMSKeyName) async throws(KMSError) {
        _ = try entry(name)
        keys.withLock { $0[name] = nil }
    }

    func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        guard (1...(try entry(name)).latest).contains(version) else {
            throw .keyUnusable(name, reason: "it has no version \(version)")
        }
        try change(name) { $0.minimum = version }
    }

    func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        guard version <= (try entry(name)).minimum else {
            throw .keyUnusable(name, reason: "\(version) is above its minimum")
        }
        try change(name) { key in
            for old in key.versions.keys where old < version { key.versions[old] = nil }
        }
    }

    func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        let entry = try entry(name)
        return KMSKeyDescription(
            name: name, type: "aes256-cbc", latestVersion: entry.latest, minimumVersion: entry.minimum,
            earliestVersion: entry.versions.keys.min() ?? 1)
    }

    func checkHealth() async throws(KMSError) {}

    private func entry(_ name: KMSKeyName) throws(KMSError) -> Key {
        guard let key = keys.withLock({ $0[name] }) else { throw .keyNotFound(name) }
        return key
    }

    private func change(_ name: KMSKeyName, _ edit: (inout Key) -> Void) throws(KMSError) {
        _ = try entry(name)
        keys.withLock { keys in
            if var key = keys[name] {
                edit(&key)
                keys[name] = key
            }
        }
    }
}

// MARK: - Subjects

/// A backend in this process, with nothing around it.
struct PoorSubject: ConformanceSubject {
    private let connection: @Sendable () async throws -> any TrustedKMS

    static func withoutContext() throws -> PoorSubject {
        let keystore = try SoftwareSubject()
        return PoorSubject { WithoutContext(inner: KeepingKMS(try await keystore.connect(), keystore)) }
    }

    static func withoutIntegrity() -> PoorSubject {
        let token = WithoutIntegrity()
        return PoorSubject { token }
    }

    func connect() async throws -> any TrustedKMS { try await connection() }

    var credentials: [[UInt8]] { [] }
    var keySwitch: Power<KeySwitch> { .inProcess }
    var scheduledDeletion: Power<ScheduledDeletion> { .inProcess }
    var otherPrincipal: Power<@Sendable (KMSKeyName) async throws -> any TrustedKMS> { .inProcess }
    var expiringCredential: Power<@Sendable () async throws -> ExpiringConnection> { .inProcess }
    var revocableCredential: Power<@Sendable () async throws -> RevocableConnection> { .inProcess }
    var replaceableCredential: Power<@Sendable () async throws -> RevocableConnection> { .inProcess }
    var network: Power<NetworkPath> { .inProcess }
    var unknownAuthority: Power<@Sendable () async throws -> any TrustedKMS> { .inProcess }
    var throttling: Power<@Sendable () async throws -> ThrottledConnection> { .inProcess }
}

extension Power {
    fileprivate static var inProcess: Power {
        .hasNot(reason: "A backend of the test's own process, for what `CompletedKMS` supplies and nothing else.")
    }
}
