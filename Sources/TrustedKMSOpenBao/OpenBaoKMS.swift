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
/// docs/kms/openbao.md has the least policies. Without `create` on `encrypt`, a mistyped name cannot make a key;
/// `disable_upsert` on `transit/config/keys` is the same for all callers. The adapter checks besides, once for each key.
public final class OpenBaoKMS: TrustedKMS {
    let transport: OpenBaoTransport
    let credential: OpenBaoCredential
    let callers: OpenBaoCallers?
    let mount: String
    /// Keys that were seen to exist and to be fit for sealing.
    let checkedKeys = Mutex<Set<KMSKeyName>>([])

    public let provider = "openbao"

    public let capabilities: KMSCapabilities

    static let sealingType = "aes256-gcm96"
    static let signingType = "ed25519"

    /// Connects at the first call, not here. End with ``shutdown()``.
    public init(_ configuration: OpenBaoConfiguration) throws(OpenBaoConfigurationError) {
        let transport = try OpenBaoTransport(configuration)
        self.transport = transport
        credential = OpenBaoCredential(configuration.authentication, transport: transport)
        callers = configuration.delegation.map { OpenBaoCallers($0, transport: transport) }
        mount = configuration.mount
        capabilities = KMSCapabilities(
            contextBinding: .derivedKey, nativeRewrap: true, random: true, sign: true, destroysVersions: true,
            maximumPlaintextBytes: 4096,
            authenticates: configuration.delegation == nil ? .service : [.service, .caller], developmentOnly: false)
    }

    /// Closes the connections and forgets all tokens. Calls after this fail as unavailable.
    public func shutdown() async {
        await credential.shutdown()
        await callers?.shutdown()
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
        try await checkKey(key, as: caller)
        var body = OpenBaoRequestBody(
            capacity: SecretBase64.encodedCount(secret.count) + SecretBase64.encodedCount(context.bytes.count) + 64)
        body.addString("plaintext") { buffer in
            secret.withUnsafeBytes { SecretBase64.write($0, to: &buffer) }
        }
        body.add(context)
        body.close()
        defer { body.wipe() }
        let answer = try await call(.POST, "\(mount)/encrypt/\(key)", body: body, "encrypt", key, as: caller)
        guard let ciphertext = TransitAnswer.sealed(answer.plainBytes) else { throw Self.malformed("encrypt") }
        return ciphertext.blob
    }

    public func open(
        _ sealed: KMSSealedBlob, under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> SecretBytes {
        let body = try Self.body(sealed, context)
        let answer = try await call(.POST, "\(mount)/decrypt/\(key)", body: body, "decrypt", key, as: caller)
        let secret = try Self.secret("plaintext", in: answer, "decrypt")
        guard secret.count > 0 else { throw Self.malformed("decrypt") }
        return secret
    }

    public func generateDataKey(
        under key: KMSKeyName, context: SealingContext, as caller: KMSCaller
    ) async throws(KMSError) -> KMSDataKey {
        guard !context.bytes.isEmpty else { throw .notSupported(operation: "sealing without a context") }
        try await checkKey(key, as: caller)
        var body = OpenBaoRequestBody(capacity: SecretBase64.encodedCount(context.bytes.count) + 64)
        body.add(context)
        body.add("bits", literal: "256")
        body.close()
        let answer = try await call(.POST, "\(mount)/datakey/plaintext/\(key)", body: body, "datakey", key, as: caller)
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
        let answer = try await call(.POST, "\(mount)/rewrap/\(key)", body: body, "rewrap", key, as: caller)
        guard let ciphertext = TransitAnswer.sealed(answer.plainBytes) else { throw Self.malformed("rewrap") }
        return ciphertext.blob
    }

    /// Most secrets of one request, and most bytes of their blobs: the answer has the same size, and a limit.
    private static let batch = (count: 128, bytes: 32 * 1024)

    public func rewrap(
        _ items: [KMSRewrapItem], under key: KMSKeyName, as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        var results: [Result<KMSSealedBlob, KMSError>] = []
        while results.count < items.count {
            var batch: [(TransitCiphertext, SealingContext)] = []
            var places: [Int] = []
            var bytes = 0
            var chunk: [Result<KMSSealedBlob, KMSError>] = []
            for item in items[results.count...].prefix(Self.batch.count) {
                // What is no ciphertext is not sent, and has its place in the results.
                if let ciphertext = TransitCiphertext(item.sealed.bytes), !item.context.bytes.isEmpty {
                    guard bytes + item.sealed.bytes.count <= Self.batch.bytes else { break }
                    bytes += item.sealed.bytes.count
                    places.append(chunk.count)
                    batch.append((ciphertext, item.context))
                }
                chunk.append(.failure(.cannotOpen))
            }
            do throws(KMSError) {
                for (place, result) in zip(places, try await rewrap(batch, under: key, as: caller)) {
                    chunk[place] = result
                }
            } catch {
                if results.isEmpty { throw error }
                return results + repeatElement(.failure(error), count: items.count - results.count)
            }
            results += chunk
        }
        return results
    }

    /// One request.
    private func rewrap(
        _ batch: [(ciphertext: TransitCiphertext, context: SealingContext)], under key: KMSKeyName,
        as caller: KMSCaller
    ) async throws(KMSError) -> [Result<KMSSealedBlob, KMSError>] {
        if batch.isEmpty { return [] }
        var body = OpenBaoRequestBody(capacity: 64 + batch.count * 256)
        body.addArray("batch_input", batch) { body, item in
            body.addString("ciphertext") { $0.writeString(item.ciphertext.text) }
            body.add(item.context)
        }
        body.close()
        // Vault answers 400 where all of a batch fail.
        let answer = try await call(
            .POST, "\(mount)/rewrap/\(key)", body: body, "rewrap", key, as: caller, accepting: [400])
        guard let results = TransitAnswer.batch(answer.plainBytes) else {
            if answer.status == 400 { throw Self.failure(answer, "rewrap", key, mount: mount) }
            throw Self.malformed("rewrap")
        }
        guard results.count == batch.count else { throw Self.malformed("rewrap") }
        return results.map { result in
            switch result {
            case .sealed(let ciphertext): .success(ciphertext.blob)
            case .error(let text): .failure(Self.badRequest("rewrap", key) { text.contains($0) })
            }
        }
    }

    // MARK: Generator

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

    // MARK: Health

    /// Asks every server at most once.
    public func checkHealth() async throws(KMSError) {
        let health = try await transport.send(
            .GET, "sys/health?standbyok=true&perfstandbyok=true", inNamespace: false, time: .zero)
        switch health.status {
        case 200: break
        // Not a standby, which answers 200 to this: a rate limit, or whatever stands before the server.
        case 429: throw .throttled(retryAfterSeconds: health.retryAfterSeconds)
        case 501: throw .unavailable(reason: "OpenBao is not initialized")
        case 503: throw .unavailable(reason: "OpenBao is sealed")
        default: throw .unavailable(reason: "OpenBao's health check answers \(health.status)")
        }
        _ = try await call(
            .GET, "auth/token/lookup-self", body: nil, "look up the own token", nil, time: .zero)
    }

    // MARK: Bodies

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
    var plainBytes: Data { body.withUnsafeBytes { Data($0) } }
}

extension OpenBaoRequestBody {
    mutating func add(_ context: SealingContext) {
        addString("context") { buffer in
            context.bytes.withUnsafeBytes { SecretBase64.write($0, to: &buffer) }
        }
    }
}
