import KeyManagement
import SecretMemory

/// One login at an auth method.
struct OpenBaoLogin: Sendable {
    /// Who logs in, in the words of an error.
    enum Kind: Sendable {
        /// By AppRole; `file` is where the secret ID or its wrapping token came from.
        case appRole(file: String)
        /// The gateway as a workload, by the JWT in `file`.
        case workload(file: String)
        /// A caller by a JWT of its own.
        case caller
    }

    let kind: Kind
    let mount: String

    /// - Parameter secret: visible ASCII without quote and backslash, as the members' names are.
    static func body(
        _ first: (name: StaticString, value: String), _ second: StaticString, _ secret: UnsafeRawBufferPointer
    ) -> OpenBaoRequestBody {
        var body = OpenBaoRequestBody(capacity: first.value.utf8.count + secret.count + 64)
        body.addString(first.name) { $0.writeString(first.value) }
        body.addString(second) { _ = $0.writeBytes(secret) }
        body.close()
        return body
    }

    /// Logs in; `body` is the caller's to wipe.
    func perform(
        _ body: OpenBaoRequestBody, _ transport: OpenBaoTransport, time: Duration? = nil
    ) async throws(KMSError) -> LoginAnswer {
        let answer = try await transport.send(.POST, "auth/\(mount)/login", body: body, time: time)
        if answer.isNotServed { throw answer.unavailable(name) }
        switch answer.status {
        case 200: break
        case 400, 403, 404: throw .denied(reason: refusal(answer))
        case 429: throw .throttled(retryAfterSeconds: answer.retryAfterSeconds)
        default: throw .invalidResponse(reason: "OpenBao answered \(answer.status) to \(name)")
        }
        let login: LoginAnswer?
        do throws(SecretMemoryError) {
            login = try answer.body.withUnsafeBytes { body throws(SecretMemoryError) in try LoginAnswer(body) }
        } catch {
            throw .memory(error)
        }
        guard let login else { throw .invalidResponse(reason: "the answer to \(name) holds no token") }
        return login
    }

    private var name: String {
        switch kind {
        case .appRole: "the AppRole login at auth/\(mount)"
        case .workload: "the JWT login at auth/\(mount)"
        case .caller: "the caller's login at auth/\(mount)"
        }
    }

    private func refusal(_ answer: borrowing OpenBaoAnswer) -> String {
        // Without a token OpenBao does not tell a missing mount from a forbidden one.
        if answer.status == 403 || answer.body.contains("no handler for route") {
            let locked =
                if case .appRole = kind, answer.status == 403 {
                    ". Or the role ID is locked after refused logins (user lockout), and free again some minutes after "
                        + "the last one"
                } else { "" }
            return "\(name) was refused: nothing is mounted there that logs in, or not in this namespace; "
                + "see `bao auth list`\(locked)"
        }
        switch kind {
        case .appRole(let file): return "\(name) was refused; check the role ID, \(file) and the mount"
        case .workload(let file): return "\(name) was refused: \(jwtRefusal(answer.body)) (the JWT of \(file))"
        case .caller:
            return "\(name) was refused, and nobody else's credential is tried: \(jwtRefusal(answer.body))"
        }
    }

    /// Texts of the server are compared and never shown: one may repeat claims.
    private func jwtRefusal(_ answer: borrowing SecretBuffer) -> String {
        let reasons = [
            ("expired", "the JWT has expired; get a new one"),
            ("audience", "the JWT is meant for another audience than the role's bound_audiences"),
            ("issuer", "the JWT is of another issuer than the bound_issuer of auth/\(mount)/config"),
            ("(nbf)", "the JWT is not valid yet; check the clocks"),
            ("signature", "the JWT's signature is of no key that auth/\(mount)/config knows"),
            ("could not be found", "the mount has no such role; see `bao list auth/\(mount)/role`"),
            ("claim", "the JWT's claims are not those that the role binds"),
        ]
        for (text, reason) in reasons where answer.contains(text) { return reason }
        return "check the JWT's issuer, audience, signature and age, and the role"
    }
}
