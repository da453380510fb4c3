import KeyManagement
import SecretMemory

/// Keys and their versions, and signatures.
extension OpenBaoKMS {
    public func createKey(_ name: KMSKeyName, purpose: KMSKeyPurpose) async throws(KMSError) {
        // Transit, too, leaves an existing key as it is.
        _ = try await call(.POST, "\(mount)/keys/\(name)", body: try Self.creation(name, purpose), "create key", name)
    }

    private static func creation(_ name: KMSKeyName, _ purpose: KMSKeyPurpose) throws(KMSError) -> OpenBaoRequestBody {
        guard isTransitName(name) else {
            throw .notSupported(operation: "a key name that starts or ends with '-' or '.': \(name)")
        }
        var body = OpenBaoRequestBody(capacity: 256)
        body.addString("type") { $0.writeString(purpose == .sealing ? sealingType : signingType) }
        body.add("derived", literal: purpose == .sealing ? "true" : "false")
        body.add("exportable", literal: "false")
        body.add("allow_plaintext_backup", literal: "false")
        body.close()
        return body
    }

    public func rotateKey(_ name: KMSKeyName) async throws(KMSError) {
        _ = try await call(.POST, "\(mount)/keys/\(name)/rotate", body: .empty, "rotate key", name, .unsent)
    }

    public func destroyKey(_ name: KMSKeyName) async throws(KMSError) {
        checkedKeys.withLock { _ = $0.remove(name) }
        try await configure(name, [("deletion_allowed", "true")])
        do throws(KMSError) {
            _ = try await call(.DELETE, "\(mount)/keys/\(name)", body: nil, "delete key", name)
        } catch {
            // It was there a moment ago: deleted by an attempt whose answer was lost, or by somebody else.
            if case .keyNotFound = error { return }
            throw error
        }
    }

    public func describeKey(_ name: KMSKeyName) async throws(KMSError) -> KMSKeyDescription {
        let key = try await readKey(name)
        return KMSKeyDescription(
            name: name, purpose: key.type == Self.signingType ? .signing : .sealing, type: key.type,
            latestVersion: key.latestVersion, minimumVersion: max(1, key.minimumVersion),
            earliestVersion: max(1, key.minimumAvailable ?? 1),
            state: key.softDeleted == true ? .pendingDeletion : .enabled, publicKey: key.publicKey)
    }

    private func readKey(_ name: KMSKeyName, as caller: KMSCaller = .service) async throws(KMSError)
        -> TransitAnswer.Key
    {
        let answer = try await call(.GET, "\(mount)/keys/\(name)", body: nil, "read key", name, as: caller)
        guard let key = TransitAnswer.key(answer.plainBytes) else { throw Self.malformed("read key") }
        return key
    }

    /// Before the first sealing: `encrypt` makes a key of any name that is missing, and takes a context
    /// without a word where the key ignores it.
    func checkKey(_ name: KMSKeyName, as caller: KMSCaller) async throws(KMSError) {
        if checkedKeys.withLock({ $0.contains(name) }) { return }
        // A principal may make the key, of these attributes alone, and is told of the one that is there; the policy that
        // demands them lets nobody read it.
        if case .principal = caller {
            let answer = try await call(
                .POST, "\(mount)/keys/\(name)", body: try Self.creation(name, .sealing), "create key", name,
                as: caller)
            if let key = TransitAnswer.key(answer.plainBytes) { return try check(key, name) }
        }
        try check(try await readKey(name, as: caller), name)
    }

    private func check(_ key: TransitAnswer.Key, _ name: KMSKeyName) throws(KMSError) {
        guard key.type == Self.sealingType, key.derived == true, key.convergentEncryption != true else {
            throw .keyUnusable(
                name,
                reason: "it must be of type \(Self.sealingType) with derived=true, without convergent_encryption")
        }
        // None of the three can be taken back.
        guard key.exportable != true, key.allowsPlaintextBackup != true, key.isImported != true else {
            throw .keyUnusable(
                name,
                reason: "it can leave the KMS, or came from outside: use one that is neither exportable, nor imported, "
                    + "nor has allow_plaintext_backup")
        }
        guard key.softDeleted != true else { throw Self.softDeleted(name) }
        checkedKeys.withLock {
            // One for each principal where callers log in.
            if $0.count >= Self.maximumCheckedKeys { $0 = [] }
            $0.insert(name)
        }
    }

    private static let maximumCheckedKeys = 10_000

    static func softDeleted(_ name: KMSKeyName) -> KMSError {
        .keyUnusable(name, reason: "it is soft-deleted; an administrator can restore it")
    }

    // MARK: Versions

    public func setMinimumVersion(_ version: Int, of name: KMSKeyName) async throws(KMSError) {
        // Transit takes 0 for 1.
        guard version >= 1 else { throw .keyUnusable(name, reason: "it has no version \(version)") }
        let key = try await readKey(name)
        var settings: [(StaticString, String)] = [("min_decryption_version", String(version))]
        // Once set, it may not lie below.
        if let encryption = key.minimumEncryption, encryption > 0, encryption < version {
            settings.append(("min_encryption_version", String(version)))
        }
        try await configure(name, settings)
    }

    /// Three requests: read, `min_encryption_version` where trimming needs it, trim.
    public func destroyVersions(below version: Int, of name: KMSKeyName) async throws(KMSError) {
        guard version >= 1 else { throw .keyUnusable(name, reason: "it has no version \(version)") }
        let key = try await readKey(name)
        let minimum = max(1, key.minimumVersion)
        guard version <= minimum else {
            throw .keyUnusable(name, reason: "its minimum version is \(minimum): raise that first")
        }
        guard version > max(1, key.minimumAvailable ?? 0) else { return }
        if (key.minimumEncryption ?? 0) < minimum {
            try await configure(name, [("min_encryption_version", String(minimum))])
        }
        var body = OpenBaoRequestBody(capacity: 64)
        body.add("min_available_version", literal: String(version))
        body.close()
        _ = try await call(.POST, "\(mount)/keys/\(name)/trim", body: body, "trim key", name)
    }

    private func configure(_ name: KMSKeyName, _ settings: [(name: StaticString, literal: String)])
        async throws(KMSError)
    {
        var body = OpenBaoRequestBody(capacity: 128)
        for setting in settings { body.add(setting.name, literal: setting.literal) }
        body.close()
        _ = try await call(.POST, "\(mount)/keys/\(name)/config", body: body, "configure key", name)
    }

    // MARK: Signatures

    private static let maximumMessageBytes = 1 << 20

    public func sign(_ message: [UInt8], with key: KMSKeyName) async throws(KMSError) -> [UInt8] {
        guard message.count <= Self.maximumMessageBytes else {
            throw .notSupported(operation: "signing \(message.count) bytes")
        }
        var body = OpenBaoRequestBody(capacity: SecretBase64.encodedCount(message.count) + 64)
        body.addString("input") { buffer in message.withUnsafeBytes { SecretBase64.write($0, to: &buffer) } }
        body.close()
        let answer = try await call(.POST, "\(mount)/sign/\(key)", body: body, "sign", key)
        guard let signature = TransitAnswer.signature(answer.plainBytes) else { throw Self.malformed("sign") }
        return signature
    }

    // MARK: Principals

    /// Two requests for a principal's first credential, login and creation; one for further ones, none for one that came
    /// a moment ago.
    public func principalKey(of caller: KMSCaller) async throws(KMSError) -> KMSKeyName {
        guard case .principal(let credential) = caller else {
            throw .notSupported(operation: "a key of the service's own")
        }
        guard let callers else { throw Self.withoutDelegation }
        if let name = await callers.name(of: credential) { return name }
        let attempts = transport.attempts(.always)
        let lease = try await callers.lease(for: credential, time: attempts.timeLeft)
        let name = try await callers.key(of: lease)
        if !checkedKeys.withLock({ $0.contains(name) }) {
            let answer = try await callerCall(
                .POST, "\(mount)/keys/\(name)", try Self.creation(name, .sealing), "create key", name, credential,
                lease,
                attempts)
            // Vault answers without the key, which is then read before the first sealing.
            if let key = TransitAnswer.key(answer.plainBytes) { try check(key, name) }
        }
        await callers.remember(name, of: credential)
        return name
    }
}
