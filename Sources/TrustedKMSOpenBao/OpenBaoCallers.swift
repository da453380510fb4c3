import KeyManagement

/// Logs callers in by their own JWTs.
///
/// A token is used for its caller alone. One that is good for a single request is kept nowhere; another is kept, bounded
/// in number, until its requests or its time are spent. Names of keys are kept as long: a name opens nothing.
actor OpenBaoCallers {
    struct Lease: Sendable {
        let token: OpenBaoToken
        let entity: String?
        /// Whether it was obtained for this call.
        let isFresh: Bool
    }

    private struct Entry {
        let token: OpenBaoToken
        let entity: String?
        var uses: Int?
        let end: ContinuousClock.Instant
    }

    private struct Name {
        let key: KMSKeyName
        let end: ContinuousClock.Instant
    }

    let delegation: OpenBaoDelegation
    private let transport: OpenBaoTransport
    /// By digest of the credential.
    private var entries: [[UInt8]: Entry] = [:]
    private var names: [[UInt8]: Name] = [:]
    private var isShutDown = false

    private static let maximumEntries = 1024
    /// A token that does not expire is asked for anew all the same.
    private static let longestLifetime = Duration.seconds(300)

    init(_ delegation: OpenBaoDelegation, transport: OpenBaoTransport) {
        self.delegation = delegation
        self.transport = transport
    }

    func shutdown() {
        isShutDown = true
        entries = [:]
        names = [:]
    }

    /// A token for one request.
    /// - Parameter time: how long the login may be begun again.
    func lease(for credential: KMSCredential, time: Duration) async throws(KMSError) -> Lease {
        guard !isShutDown else { throw .unavailable(reason: "the OpenBao client is shut down") }
        if var entry = entries[credential.digest] {
            if entry.end > .now, entry.uses.map({ $0 > 0 }) ?? true {
                entry.uses = entry.uses.map { $0 - 1 }
                entries[credential.digest] = entry.uses == 0 ? nil : entry
                return Lease(token: entry.token, entity: entry.entity, isFresh: false)
            }
            entries[credential.digest] = nil
        }
        let body = credential.withUnsafeBytes { OpenBaoLogin.body(("role", delegation.role), "jwt", $0) }
        defer { body.wipe() }
        let obtained = ContinuousClock.now
        let answer = try await OpenBaoLogin(kind: .caller, mount: delegation.mount).perform(
            body, transport, time: time)
        let lifetime = min(answer.lifetime ?? Self.longestLifetime, Self.longestLifetime)
        if answer.uses.map({ $0 > 1 }) ?? true, !isShutDown {
            if entries.count >= Self.maximumEntries { makeRoom() }
            entries[credential.digest] = Entry(
                token: answer.token, entity: answer.entity, uses: answer.uses.map { $0 - 1 }, end: obtained + lifetime)
        }
        return Lease(token: answer.token, entity: answer.entity, isFresh: true)
    }

    /// After the server answered 403 to it.
    func forget(_ lease: Lease, of credential: KMSCredential) {
        guard let entry = entries[credential.digest], entry.token.equals(lease.token) else { return }
        entries[credential.digest] = nil
    }

    func name(of credential: KMSCredential) -> KMSKeyName? {
        guard let name = names[credential.digest], name.end > .now else { return nil }
        return name.key
    }

    func remember(_ key: KMSKeyName, of credential: KMSCredential) {
        guard !isShutDown else { return }
        if names.count >= Self.maximumEntries {
            names = names.filter { $0.value.end > .now }
            if names.count >= Self.maximumEntries { names = [:] }
        }
        names[credential.digest] = Name(key: key, end: .now + Self.longestLifetime)
    }

    /// `<prefix><id of the entity>`
    func key(of lease: Lease) throws(KMSError) -> KMSKeyName {
        guard let entity = lease.entity, let key = KMSKeyName(delegation.keyPrefix + entity) else {
            throw .invalidResponse(
                reason: "the login at auth/\(delegation.mount) gives no entity; "
                    + "its role needs user_claim, and tokens of the type service")
        }
        return key
    }

    /// Drops what has expired, or else what expires next.
    private func makeRoom() {
        entries = entries.filter { $0.value.end > .now }
        guard entries.count >= Self.maximumEntries,
            let oldest = entries.min(by: { $0.value.end < $1.value.end })
        else { return }
        entries[oldest.key] = nil
    }
}
