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
    /// A wrapping token and the secret ID that it gave.
    private var unwrapped: (wrapping: OpenBaoToken, secretID: OpenBaoToken)?

    /// The credential whose login was refused, and until when it is not shown again.
    private var refused: (secret: OpenBaoToken, count: Int, error: KMSError, end: ContinuousClock.Instant)?

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
        unwrapped = nil
        refused = nil
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
        case .appRole, .jwt:
            // A token that is still good was refused by policy: logging in again would only make more tokens.
            let answer = try await transport.send(.GET, "auth/token/lookup-self", token: refused.token)
            if answer.status == 200 { return nil }
            if answer.status == 429 { throw .throttled(retryAfterSeconds: answer.retryAfterSeconds) }
            if answer.isNotServed { throw answer.unavailable("the look-up of the own token") }
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
        let task = Task { () -> Result<OpenBaoLease, KMSError> in
            // Whoever waits for this task finds the new lease in its place.
            defer { self.acquisition = nil }
            do throws(KMSError) {
                let fresh = try await self.obtain(generation: generation)
                self.install(fresh)
                return .success(fresh)
            } catch {
                return .failure(error)
            }
        }
        acquisition = task
        return try await task.value.get()
    }

    private func install(_ fresh: OpenBaoLease) {
        guard !isShutDown else { return }
        lease = fresh
        maintain()
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
            guard logsIn else { return nil }
            _ = try await acquire()
            return nil
        } catch {
            return old.isUsable(at: .now) ? .now + Self.retryPause : nil
        }
    }

    private var logsIn: Bool {
        switch authentication {
        case .token, .tokenFile: false
        case .appRole, .jwt: true
        }
    }

    /// - Returns: nil where the server does not renew it, or where the role's maximum lifetime is near,
    ///   so that renewing gives less each time.
    private func renewed(_ old: OpenBaoLease) async throws(KMSError) -> OpenBaoLease? {
        let answer = try await transport.send(
            .POST, "auth/token/renew-self", body: .empty, token: old.token)
        guard answer.status == 200 else {
            if answer.isNotServed || answer.status == 429 { throw .unavailable(reason: "the token was not renewed") }
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
        if logsIn, let lifetime, let before = old.lifetime, lifetime * 2 < before {
            return nil
        }
        return OpenBaoLease(
            token: old.token, generation: old.generation, lifetime: lifetime, renewable: renewable, obtained: .now)
    }

    // MARK: Obtaining

    private func obtain(generation: Int) async throws(KMSError) -> OpenBaoLease {
        switch authentication {
        case .token(let token):
            return try await Self.inspect(token, transport, generation: generation)
        case .tokenFile(let path):
            return try await Self.inspect(try Self.token(in: path), transport, generation: generation)
        case .appRole(let roleID, let file, let mount, let wrapped):
            let secretID =
                wrapped
                ? try await unwrappedSecretID(file: file, mount: mount)
                : try Self.token(in: file, "a secret ID")
            return try await logIn(
                OpenBaoLogin(kind: .appRole(file: file), mount: mount), ("role_id", roleID), "secret_id", secretID,
                generation: generation)
        case .jwt(let role, let file, let mount):
            return try await logIn(
                OpenBaoLogin(kind: .workload(file: file), mount: mount), ("role", role), "jwt",
                try Self.token(in: file, "a JWT"), generation: generation)
        }
    }

    /// Kept from the first login on, so that the file may go. Another wrapping token in it gives another secret ID.
    private func unwrappedSecretID(file: String, mount: String) async throws(KMSError) -> OpenBaoToken {
        let wrapping: OpenBaoToken
        do throws(KMSError) {
            wrapping = try Self.token(in: file, "a wrapping token")
        } catch {
            guard let unwrapped else { throw error }
            return unwrapped.secretID
        }
        if let unwrapped, unwrapped.wrapping.equals(wrapping) { return unwrapped.secretID }
        let secretID = try await OpenBaoWrapping.secretID(wrapping, of: file, roleMount: mount, transport)
        if !isShutDown { unwrapped = (wrapping, secretID) }
        return secretID
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

    private static func token(in path: String, _ what: String = "a token") throws(KMSError) -> OpenBaoToken {
        let bytes = try read(path)
        guard let token = OpenBaoToken(taking: bytes) else {
            throw .denied(reason: "\(path) does not hold \(what): visible ASCII, without quote and backslash")
        }
        return token
    }

    /// Learns the token's lifetime, where its policy lets it ask.
    private static func inspect(
        _ token: OpenBaoToken, _ transport: OpenBaoTransport, generation: Int
    ) async throws(KMSError) -> OpenBaoLease {
        let answer = try await transport.send(.GET, "auth/token/lookup-self", token: token)
        if answer.isNotServed { throw answer.unavailable("the look-up of the own token") }
        if answer.status == 429 { throw .throttled(retryAfterSeconds: answer.retryAfterSeconds) }
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

    /// A credential that was refused is not shown at every request: of AppRole, five wrong secret IDs in a quarter of an
    /// hour lock the role ID, and every gateway that has it (user lockout). Another content of the file counts at once.
    private func logIn(
        _ login: OpenBaoLogin, _ name: (StaticString, String), _ member: StaticString, _ secret: OpenBaoToken,
        generation: Int
    ) async throws(KMSError) -> OpenBaoLease {
        if let refused, refused.end > .now, refused.secret.equals(secret) { throw refused.error }
        let body = secret.withUnsafeBytes { OpenBaoLogin.body(name, member, $0) }
        defer { body.wipe() }
        let obtained = ContinuousClock.now
        let answer: LoginAnswer
        do throws(KMSError) {
            answer = try await login.perform(body, transport)
        } catch {
            guard case .denied(let reason) = error, !isShutDown else { throw error }
            let before = refused.map { $0.secret.equals(secret) ? $0.count : 0 } ?? 0
            let pause = Self.pause(after: before + 1, of: login.kind)
            let denied = KMSError.denied(
                reason: "\(reason); asked again after \(pause.components.seconds) s, or at once where the file changes")
            refused = (secret, before + 1, denied, .now + pause)
            throw denied
        }
        refused = nil
        return OpenBaoLease(
            token: answer.token, generation: generation, lifetime: answer.lifetime, renewable: answer.renewable,
            obtained: obtained)
    }

    private static func pause(after refusals: Int, of kind: OpenBaoLogin.Kind) -> Duration {
        switch kind {
        // Three in the quarter of an hour for which the server counts, then longer than that.
        case .appRole: refusals < 3 ? .seconds(60 * refusals) : .seconds(16 * 60)
        case .workload, .caller: .seconds(min(60, 2 << min(refusals, 5)))
        }
    }
}
