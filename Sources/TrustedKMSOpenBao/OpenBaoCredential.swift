import KeyManagement
import NIOCore
import SecretMemory

/// A token and how long it is good for.
struct OpenBaoLease: Sendable {
    let token: OpenBaoToken
    /// Counts the tokens that this credential has had.
    let generation: Int
    /// Nil where the token does not expire, or its lifetime is not told.
    let lifetime: Duration?
    let renewable: Bool
    let obtained: ContinuousClock.Instant

    /// Well before the end, so that a server that is away for a while costs nothing.
    var renewal: ContinuousClock.Instant? { lifetime.map { obtained + $0 * 2 / 3 } }

    func isUsable(at now: ContinuousClock.Instant) -> Bool {
        guard let lifetime else { return true }
        return now < obtained + lifetime
    }
}

/// Keeps one token good: logs in when it is first needed, renews before it expires, and replaces
/// one that the server refuses.
actor OpenBaoCredential {
    private let transport: OpenBaoTransport
    private let authentication: OpenBaoAuthentication
    private var lease: OpenBaoLease?
    private var acquisition: Task<Result<OpenBaoLease, KMSError>, Never>?
    private var maintenance: Task<Void, Never>?
    private var isShutDown = false

    private static let retryPause = Duration.seconds(2)

    init(_ authentication: OpenBaoAuthentication, transport: OpenBaoTransport) {
        self.authentication = authentication
        self.transport = transport
    }

    deinit { maintenance?.cancel() }

    func shutdown() {
        isShutDown = true
        maintenance?.cancel()
        lease = nil
    }

    /// A lease that has not expired.
    func current() async throws(KMSError) -> OpenBaoLease {
        if let lease, lease.isUsable(at: .now) { return lease }
        return try await acquire()
    }

    /// After the server answered 403 to `refused`: another token to try once, or nil where there is none.
    func replacement(for refused: OpenBaoLease) async throws(KMSError) -> OpenBaoLease? {
        if let lease, lease.generation != refused.generation { return lease }
        switch authentication {
        case .token:
            return nil
        case .tokenFile(let path):
            let token = try Self.token(in: path)
            return token.equals(refused.token) ? nil : try await acquire()
        case .appRole:
            // A token that is still good was refused by policy: logging in again would only make more tokens.
            let answer = try await transport.send(.GET, "auth/token/lookup-self", token: refused.token)
            if answer.status == 200 { return nil }
            // Somebody else may have logged in meanwhile.
            if let lease, lease.generation != refused.generation { return lease }
            return try await acquire()
        }
    }

    /// One acquisition at a time, whoever asks.
    private func acquire() async throws(KMSError) -> OpenBaoLease {
        guard !isShutDown else { throw .unavailable(reason: "the OpenBao client is shut down") }
        if let acquisition { return try await acquisition.value.get() }
        let generation = (lease?.generation ?? 0) + 1
        let task = Task { [transport, authentication] () -> Result<OpenBaoLease, KMSError> in
            do throws(KMSError) {
                return .success(try await Self.obtain(authentication, transport, generation: generation))
            } catch {
                return .failure(error)
            }
        }
        acquisition = task
        let result = await task.value
        acquisition = nil
        let fresh = try result.get()
        if !isShutDown {
            lease = fresh
            maintain()
        }
        return fresh
    }

    // MARK: Renewal

    private func maintain() {
        maintenance?.cancel()
        guard let first = lease?.renewal else { return }
        maintenance = Task { [weak self] in
            var next: ContinuousClock.Instant? = first
            while let instant = next {
                do {
                    try await Task.sleep(until: instant, clock: .continuous)
                } catch {
                    return
                }
                next = await self?.renew()
            }
        }
    }

    /// - Returns: when to come again; nil for never, or because a new lease has its own maintenance.
    private func renew() async -> ContinuousClock.Instant? {
        guard let old = lease, !isShutDown else { return nil }
        do throws(KMSError) {
            if old.renewable, let renewed = try await renewed(old) {
                guard lease?.generation == old.generation else { return nil }
                lease = renewed
                return renewed.renewal
            }
            // Neither a token from outside nor its file has more to give than it had.
            guard case .appRole = authentication else { return nil }
            _ = try await acquire()
            return nil
        } catch {
            return old.isUsable(at: .now) ? .now + Self.retryPause : nil
        }
    }

    /// - Returns: nil where the server does not renew it, or where AppRole's maximum lifetime is near,
    ///   so that renewing gives less each time.
    private func renewed(_ old: OpenBaoLease) async throws(KMSError) -> OpenBaoLease? {
        let answer = try await transport.send(
            .POST, "auth/token/renew-self", body: .empty, token: old.token)
        guard answer.status == 200 else {
            if answer.status >= 500 { throw .unavailable(reason: "the token was not renewed") }
            return nil
        }
        let fields = answer.body.withUnsafeBytes { body -> (Int, Bool)? in
            guard let seconds = try? SecretJSON.integer("auth", "lease_duration", in: body), seconds >= 0,
                let renewable = try? SecretJSON.boolean("auth", "renewable", in: body)
            else { return nil }
            return (seconds, renewable)
        }
        guard let (seconds, renewable) = fields else {
            throw .invalidResponse(reason: "the answer to a token renewal is not understood")
        }
        let lifetime = seconds == 0 ? nil : Duration.seconds(seconds)
        if case .appRole = authentication, let lifetime, let before = old.lifetime, lifetime * 2 < before {
            return nil
        }
        return OpenBaoLease(
            token: old.token, generation: old.generation, lifetime: lifetime, renewable: renewable, obtained: .now)
    }

    // MARK: Obtaining

    private static func obtain(
        _ authentication: OpenBaoAuthentication, _ transport: OpenBaoTransport, generation: Int
    ) async throws(KMSError) -> OpenBaoLease {
        switch authentication {
        case .token(let token):
            return try await inspect(token, transport, generation: generation)
        case .tokenFile(let path):
            return try await inspect(try Self.token(in: path), transport, generation: generation)
        case .appRole(let roleID, let secretIDFile, let mount):
            return try await logIn(
                roleID: roleID, secretIDFile: secretIDFile, mount: mount, transport, generation: generation)
        }
    }

    private static func read(_ path: String) throws(KMSError) -> SecretBytes {
        do throws(SecretFileError) {
            // Agents and container platforms choose the mode of what they mount.
            return try SecretFile.read(path, ownerOnly: false)
        } catch {
            if case .memory(let error) = error { throw .memory(error) }
            throw .denied(reason: error.description)
        }
    }

    private static func token(in path: String) throws(KMSError) -> OpenBaoToken {
        let bytes = try read(path)
        guard let token = OpenBaoToken(taking: bytes) else {
            throw .denied(reason: "\(path) does not hold a token: visible ASCII, without quote and backslash")
        }
        return token
    }

    /// Learns the token's lifetime, where its policy lets it ask.
    private static func inspect(
        _ token: OpenBaoToken, _ transport: OpenBaoTransport, generation: Int
    ) async throws(KMSError) -> OpenBaoLease {
        let answer = try await transport.send(.GET, "auth/token/lookup-self", token: token)
        if answer.status >= 500 { throw .unavailable(reason: "OpenBao answered \(answer.status)") }
        var lifetime: Duration?
        var renewable = false
        if answer.status == 200 {
            // This answer repeats the token.
            answer.body.withUnsafeBytes { body in
                let seconds = (try? SecretJSON.integer("data", "ttl", in: body)) ?? 0
                lifetime = seconds > 0 ? .seconds(seconds) : nil
                renewable = (try? SecretJSON.boolean("data", "renewable", in: body)) ?? false
            }
        }
        return OpenBaoLease(
            token: token, generation: generation, lifetime: lifetime, renewable: renewable, obtained: .now)
    }

    private static func logIn(
        roleID: String, secretIDFile: String, mount: String, _ transport: OpenBaoTransport, generation: Int
    ) async throws(KMSError) -> OpenBaoLease {
        let secretID = try read(secretIDFile)
        let isFit = secretID.withUnsafeBytes { !$0.isEmpty && $0.allSatisfy(OpenBaoToken.isAllowed) }
        guard isFit else {
            throw .denied(
                reason: "\(secretIDFile) does not hold a secret ID: visible ASCII, without quote and backslash")
        }
        var body = OpenBaoRequestBody(capacity: roleID.utf8.count + secretID.count + 64)
        body.addString("role_id") { $0.writeString(roleID) }
        body.addString("secret_id") { buffer in
            secretID.withUnsafeBytes { _ = buffer.writeBytes($0) }
        }
        body.close()
        defer { body.wipe() }
        let obtained = ContinuousClock.now
        let answer = try await transport.send(.POST, "auth/\(mount)/login", body: body)
        switch answer.status {
        case 200: break
        case 400, 403, 404:
            throw .denied(
                reason:
                    "the AppRole login at auth/\(mount) was refused; check the role ID, \(secretIDFile) and the mount")
        case 429: throw .throttled(retryAfterSeconds: answer.retryAfterSeconds)
        case 500...: throw .unavailable(reason: "OpenBao answered \(answer.status) to the AppRole login")
        default: throw .invalidResponse(reason: "OpenBao answered \(answer.status) to the AppRole login")
        }
        let token: OpenBaoToken?
        let seconds: Int?
        let renewable: Bool?
        do {
            token = try answer.body.withUnsafeBytes { body in
                guard let text = try SecretJSON.string("auth", "client_token", in: body) else { return nil }
                return OpenBaoToken(taking: try SecretBytes(copying: text))
            }
            (seconds, renewable) = try answer.body.withUnsafeBytes { body in
                (
                    try SecretJSON.integer("auth", "lease_duration", in: body),
                    try SecretJSON.boolean("auth", "renewable", in: body)
                )
            }
        } catch let error as SecretMemoryError {
            throw .memory(error)
        } catch {
            throw .invalidResponse(reason: "the answer to the AppRole login is not understood")
        }
        guard let token, let seconds, seconds >= 0, let renewable else {
            throw .invalidResponse(reason: "the answer to the AppRole login holds no token")
        }
        return OpenBaoLease(
            token: token, generation: generation, lifetime: seconds == 0 ? nil : .seconds(seconds),
            renewable: renewable, obtained: obtained)
    }
}
