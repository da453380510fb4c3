import FoundationEssentials
import KeyManagement
import NIOCore
import NIOHTTP1
import SecretMemory
import Synchronization

/// OpenBao or HashiCorp Vault as trusted KMS, through the Transit secrets engine.
///
/// Every key is `aes256-gcm96` with key derivation: the context derives the key that seals, and so a
/// blob opens under its own context alone. Transit's associated data is not used, because its rewrap
/// takes none.
///
/// The least policy for a gateway that uses the key `NAME` (the built-in `default` policy, for
/// looking up and renewing the own token, comes on top):
///
/// ```
/// path "transit/encrypt/NAME"           { capabilities = ["update"] }
/// path "transit/decrypt/NAME"           { capabilities = ["update"] }
/// path "transit/rewrap/NAME"            { capabilities = ["update"] }
/// path "transit/datakey/plaintext/NAME" { capabilities = ["update"] }
/// path "transit/keys/NAME"              { capabilities = ["read"] }
/// path "transit/random/*"               { capabilities = ["update"] }
/// ```
///
/// Without `create` on `encrypt`, a mistyped name cannot make a key; `disable_upsert` on
/// `transit/config/keys` is the same for all callers. The adapter checks besides, once for each key.
public final class OpenBaoKMS: TrustedKMS {
    private let transport: OpenBaoTransport
    private let credential: OpenBaoCredential
    let mount: String
    /// Keys that were seen to exist and to be fit for sealing.
    private let checkedKeys = Mutex<Set<KMSKeyName>>([])

    public let provider = "openbao"

    public let capabilities = KMSCapabilities(
        contextBinding: .derivedKey, nativeRewrap: true, random: true, sign: false,
        maximumPlaintextBytes: 4096, developmentOnly: false)

    static let keyType = "aes256-gcm96"

    /// Connects at the first call, not here. End with ``shutdown()``.
    public init(_ configuration: OpenBaoConfiguration) throws(OpenBaoConfigurationError) {
        transport = try OpenBaoTransport(configuration)
        credential = OpenBaoCredential(configuration.authentication, transport: transport)
        mount = configuration.mount
    }

    /// Closes the connections and forgets the token. Calls after this fail as unavailable.
    public func shutdown() async {
        await credential.shutdown()
        await transport.shutdown()
    }

    // MARK: Sealing

    public func seal(
        _ secret: borrowing SecretBytes, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        guard (1...capabilities.maximumPlaintextBytes).contains(secret.count) else {
            throw .notSupported(operation: "sealing \(secret.count) bytes")
        }
        guard !context.bytes.isEmpty else { throw .notSupported(operation: "sealing without a context") }
        try await checkKey(key)
        var body = OpenBaoRequestBody(
            capacity: SecretBase64.encodedCount(secret.count) + SecretBase64.encodedCount(context.bytes.count) + 64)
        body.addString("plaintext") { buffer in
            secret.withUnsafeBytes { SecretBase64.write($0, to: &buffer) }
        }
        body.add(context)
        body.close()
        defer { body.wipe() }
        let answer = try await call(.POST, "\(mount)/encrypt/\(key)", body: body, "encrypt", key)
        guard let ciphertext = TransitAnswer.sealed(answer.plainBytes) else { throw Self.malformed("encrypt") }
        return ciphertext.blob
    }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let body = try Self.body(sealed, context)
        let answer = try await call(.POST, "\(mount)/decrypt/\(key)", body: body, "decrypt", key)
        let secret = try Self.secret("plaintext", in: answer, "decrypt")
        guard secret.count > 0 else { throw Self.malformed("decrypt") }
        return secret
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        guard !context.bytes.isEmpty else { throw .notSupported(operation: "sealing without a context") }
        try await checkKey(key)
        var body = OpenBaoRequestBody(capacity: SecretBase64.encodedCount(context.bytes.count) + 64)
        body.add(context)
        body.add("bits", literal: "256")
        body.close()
        let answer = try await call(.POST, "\(mount)/datakey/plaintext/\(key)", body: body, "datakey", key)
        let plaintext = try Self.secret("plaintext", in: answer, "datakey")
        let ciphertext = answer.body.withUnsafeBytes { body in
            (try? SecretJSON.string("data", "ciphertext", in: body)).flatMap { $0 }.flatMap { TransitCiphertext($0) }
        }
        guard plaintext.count == 32, let ciphertext else { throw Self.malformed("datakey") }
        return KMSDataKey(plaintext: plaintext, sealed: ciphertext.blob)
    }

    public func rewrap(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSSealedBlob {
        let body = try Self.body(sealed, context)
        let answer = try await call(.POST, "\(mount)/rewrap/\(key)", body: body, "rewrap", key)
        guard let ciphertext = TransitAnswer.sealed(answer.plainBytes) else { throw Self.malformed("rewrap") }
        return ciphertext.blob
    }

    // MARK: Generator and signatures

    public func random(count: Int) async throws(KMSError) -> SecretBytes {
        guard (1...1024).contains(count) else { throw .notSupported(operation: "\(count) random bytes") }
        var body = OpenBaoRequestBody(capacity: 64)
        body.addString("format") { $0.writeString("base64") }
        body.close()
        let answer = try await call(.POST, "\(mount)/random/\(count)", body: body, "random", nil)
        let bytes = try Self.secret("random_bytes", in: answer, "random")
        guard bytes.count == count else { throw Self.malformed("random") }
        return bytes
    }

    public func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        throw .notSupported(operation: "sign")
    }

    // MARK: Keys

    public func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        guard purpose == .sealing else { throw .notSupported(operation: "keys that sign") }
        guard Self.isTransitName(name) else {
            throw .notSupported(operation: "a key name that starts or ends with '-' or '.': \(name)")
        }
        var body = OpenBaoRequestBody(capacity: 256)
        body.addString("type") { $0.writeString(Self.keyType) }
        body.add("derived", literal: "true")
        body.add("exportable", literal: "false")
        body.add("allow_plaintext_backup", literal: "false")
        body.close()
        // Transit, too, leaves an existing key as it is.
        _ = try await call(.POST, "\(mount)/keys/\(name)", body: body, "create key", name)
    }

    public func rotateKey(_ name: KMSKeyName) async throws(KMSError) {
        _ = try await call(.POST, "\(mount)/keys/\(name)/rotate", body: .empty, "rotate key", name)
    }

    public func destroyKey(_ name: KMSKeyName) async throws(KMSError) {
        checkedKeys.withLock { _ = $0.remove(name) }
        try await configure(name, "deletion_allowed", literal: "true")
        _ = try await call(.DELETE, "\(mount)/keys/\(name)", body: nil, "delete key", name)
    }

    public func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        // Transit takes 0 for 1.
        guard version >= 1 else { throw .keyUnusable(name, reason: "it has no version \(version)") }
        try await configure(name, "min_decryption_version", literal: String(version))
    }

    private func configure(_ name: KMSKeyName, _ setting: StaticString, literal: String) async throws(KMSError) {
        var body = OpenBaoRequestBody(capacity: 128)
        body.add(setting, literal: literal)
        body.close()
        _ = try await call(.POST, "\(mount)/keys/\(name)/config", body: body, "configure key", name)
    }

    public func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        let key = try await readKey(name)
        return KMSKeyDescription(
            name: name, type: key.type, latestVersion: key.latestVersion, minimumVersion: max(1, key.minimumVersion))
    }

    private func readKey(_ name: KMSKeyName) async throws(KMSError) -> TransitAnswer.Key {
        let answer = try await call(.GET, "\(mount)/keys/\(name)", body: nil, "read key", name)
        guard let key = TransitAnswer.key(answer.plainBytes) else { throw Self.malformed("read key") }
        return key
    }

    /// Before the first sealing: `encrypt` makes a key of any name that is missing, and takes a context
    /// without a word where the key ignores it.
    private func checkKey(_ name: KMSKeyName) async throws(KMSError) {
        if checkedKeys.withLock({ $0.contains(name) }) { return }
        let key = try await readKey(name)
        guard key.type == Self.keyType, key.derived == true, key.convergentEncryption != true else {
            throw .keyUnusable(
                name, reason: "it must be of type \(Self.keyType) with derived=true, without convergent_encryption")
        }
        checkedKeys.withLock { _ = $0.insert(name) }
    }

    // MARK: Health

    public func checkHealth() async throws(KMSError) {
        let health = try await transport.send(
            .GET, "sys/health?standbyok=true&perfstandbyok=true", inNamespace: false)
        switch health.status {
        case 200: break
        case 501: throw .unavailable(reason: "OpenBao is not initialized")
        case 503: throw .unavailable(reason: "OpenBao is sealed")
        default: throw .unavailable(reason: "OpenBao's health check answers \(health.status)")
        }
        _ = try await call(.GET, "auth/token/lookup-self", body: nil, "look up the own token", nil)
    }

    // MARK: Calls

    private static let attempts = 5

    /// One authenticated call; its answer is 200 or 204.
    ///
    /// OpenBao's storage transactions are optimistic: of two calls that change one key at once, one fails with
    /// "transaction commit failed" and has changed nothing, so that it is made again.
    func call(
        _ method: HTTPMethod, _ path: String, body: OpenBaoRequestBody?, _ operation: String, _ key: KMSKeyName?
    ) async throws(KMSError) -> OpenBaoAnswer {
        if let key, !Self.isTransitName(key) { throw .keyNotFound(key) }
        let lease = try await credential.current()
        var answer = try await transport.send(method, path, body: body, token: lease.token)
        if answer.status == 403, let other = try await credential.replacement(for: lease) {
            answer = try await transport.send(method, path, body: body, token: other.token)
        }
        for attempt in 1..<Self.attempts where Self.isConflict(answer) {
            let pause = Duration.milliseconds(Int.random(in: 1...(10 << attempt)))
            do { try await Task.sleep(for: pause) } catch { break }
            answer = try await transport.send(method, path, body: body, token: credential.current().token)
        }
        if answer.status == 200 || answer.status == 204 { return answer }
        throw Self.failure(answer, operation, key, mount: mount)
    }

    private static func isConflict(_ answer: borrowing OpenBaoAnswer) -> Bool {
        answer.status == 500 && answer.body.contains("transaction commit failed")
    }

    /// Transit's names start and end with a letter, a digit or `_`.
    private static func isTransitName(_ name: KMSKeyName) -> Bool {
        for end in [name.value.utf8.first, name.value.utf8.last] {
            if end == UInt8(ascii: "-") || end == UInt8(ascii: ".") { return false }
        }
        return true
    }

    private static func body(
        _ sealed: KMSSealedBlob, _ context: SealingContext
    ) throws(KMSError) -> OpenBaoRequestBody {
        // Transit calls an empty context a missing one; nothing was sealed under it.
        guard let ciphertext = TransitCiphertext(sealed.bytes), !context.bytes.isEmpty else { throw .cannotOpen }
        var body = OpenBaoRequestBody(
            capacity: ciphertext.text.utf8.count + SecretBase64.encodedCount(context.bytes.count) + 64)
        body.addString("ciphertext") { $0.writeString(ciphertext.text) }
        body.add(context)
        body.close()
        return body
    }

    /// The base64 member `name` of the answer's `data`.
    private static func secret(
        _ name: String, in answer: borrowing OpenBaoAnswer, _ operation: String
    ) throws(KMSError) -> SecretBytes {
        let secret: SecretBytes?
        do {
            secret = try answer.body.withUnsafeBytes { body in
                guard let text = try SecretJSON.string("data", name, in: body) else { return nil }
                return try SecretBase64.decode(text)
            }
        } catch let error as SecretMemoryError {
            throw .memory(error)
        } catch {
            throw malformed(operation)
        }
        guard let secret else { throw malformed(operation) }
        return secret
    }
}

extension OpenBaoAnswer {
    /// For answers without secrets only.
    fileprivate var plainBytes: Data { body.withUnsafeBytes { Data($0) } }
}

extension OpenBaoRequestBody {
    fileprivate mutating func add(_ context: SealingContext) {
        addString("context") { buffer in
            context.bytes.withUnsafeBytes { SecretBase64.write($0, to: &buffer) }
        }
    }
}
