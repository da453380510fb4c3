import KeyManagement

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// One version of a key: an object of the token.
struct KeyVersion: Sendable {
    let id: KeyVersionID
    let object: PKCS11Session.Object
    let attributes: ObjectAttributes
}

/// A key as the token has it now: all objects of one label, of which each is a version.
///
/// Nothing of it is remembered between calls, so that a rotation, a minimum or a destruction by another process counts
/// at once.
struct TokenKey: Sendable {
    let name: KMSKeyName
    let purpose: KMSKeyPurpose
    /// By number, and where two programs made one number at once by what is random; never empty.
    let versions: [KeyVersion]

    private static let read: [Attribute] = [
        .objectClass, .keyType, .id, .valueLength, .sensitive, .extractable, .isPrivate, .local, .alwaysSensitive,
        .neverExtractable, .encrypt, .decrypt, .wrap, .unwrap, .derive, .sign, .curve,
    ]

    /// - Returns: nil where the token is there and has no key of this name.
    init?(_ name: KMSKeyName, in session: PKCS11Session) throws(PKCS11Failure) {
        self.name = name
        var (versions, purposes) = try Self.objects(name, in: session)
        if purposes.isEmpty {
            // An empty token is what some modules make of one that is gone, and of a login that ended. Another thread
            // may have logged in since: what is still empty then is so.
            try Self.requireLogin(session)
            (versions, purposes) = try Self.objects(name, in: session)
        }
        guard let purpose = purposes.first else {
            try Self.requireLogin(session)
            return nil
        }
        guard purposes.count == 1 else {
            throw .kms(
                .keyUnusable(name, reason: "the label is ambiguous: a secret and a private key have it, rename one"))
        }
        versions.sort { $0.id < $1.id }
        guard zip(versions, versions.dropFirst()).allSatisfy({ $0.id != $1.id }) else {
            throw .kms(
                .keyUnusable(
                    name, reason: "the label is ambiguous: two of its objects have the same CKA_ID, rename one"))
        }
        self.purpose = purpose
        self.versions = versions
    }

    private static func requireLogin(_ session: PKCS11Session) throws(PKCS11Failure) {
        try session.checkToken()
        guard try session.isLoggedIn() else { throw .call("C_GetSessionInfo", Cryptoki.userNotLoggedIn) }
    }

    private static func objects(
        _ name: KMSKeyName, in session: PKCS11Session
    ) throws(PKCS11Failure) -> ([KeyVersion], Set<KMSKeyPurpose>) {
        var versions: [KeyVersion] = []
        var purposes: Set<KMSKeyPurpose> = []
        let all = try session.find(template(name)).map { object throws(PKCS11Failure) in
            (object: object, attributes: try session.attributes(read, of: object))
        }
        // Whoever reaches the token can plant objects that are not private without its PIN: beside those that are, they
        // do not count. Alone they are refused, by what is wrong with them.
        let hasPrivate = all.contains { isKey($0.attributes) && $0.attributes.bool(.isPrivate) == true }
        for (object, attributes) in all {
            guard !hasPrivate || attributes.bool(.isPrivate) == true else { continue }
            switch attributes.number(.objectClass) {
            case Cryptoki.secretKey: purposes.insert(.sealing)
            case Cryptoki.privateKey: purposes.insert(.signing)
            // Public halves, certificates and data do no harm.
            default: continue
            }
            guard let id = KeyVersionID(attributes.bytes(.id) ?? []) else {
                throw .kms(
                    .keyUnusable(
                        name,
                        reason: "an object of this label has no version in its CKA_ID: set it to the version's "
                            + "number in 4 bytes (pkcs11-tool --id 00000001), or give it another label"))
            }
            versions.append(KeyVersion(id: id, object: object, attributes: attributes))
        }
        return (versions, purposes)
    }

    private static func isKey(_ attributes: ObjectAttributes) -> Bool {
        [Cryptoki.secretKey, Cryptoki.privateKey].contains(attributes.number(.objectClass))
    }

    private static func template(_ name: KMSKeyName) -> ObjectTemplate {
        var template = ObjectTemplate()
        template.set(.token, true)
        template.set(.label, Array(name.value.utf8))
        return template
    }

    var latestNumber: Int { versions.last?.id.number ?? 0 }

    /// The one that seals or signs.
    func latest() throws(PKCS11Failure) -> KeyVersion {
        let number = latestNumber
        guard let latest = versions.first(where: { $0.id.number == number }) else { throw .kms(.keyNotFound(name)) }
        return latest
    }

    // MARK: Minimum and state, which are in the attributes

    /// Shut is a version that the token lets nobody open with, by decrypting or by unwrapping.
    func minimum() -> Int {
        let open = versions.first { version in
            [Attribute.decrypt, .unwrap].contains { version.attributes.bool($0) == true }
        }
        return (open ?? versions.first)?.id.number ?? 1
    }

    func isDisabled(_ use: Attribute...) throws(PKCS11Failure) -> Bool {
        let latest = try latest()
        return !use.allSatisfy { latest.attributes.bool($0) == true }
    }

    // MARK: What a key must be

    /// Refuses a key that could leave the token, or did not come into being there.
    func check(_ version: KeyVersion) throws(PKCS11Failure) {
        let attributes = version.attributes
        let flags: [(Attribute, Bool)] = [
            (.isPrivate, true), (.sensitive, true), (.extractable, false), (.local, true), (.alwaysSensitive, true),
            (.neverExtractable, true),
        ]
        if let (flag, wanted) = flags.first(where: { attributes.bool($0.0) != $0.1 }) {
            throw .kms(
                .keyUnusable(
                    name,
                    reason: "\(flag.name) of version \(version.id.number) is not \(wanted): only a key that was made "
                        + "inside the token and cannot leave it is used, make another"))
        }
        switch purpose {
        case .sealing:
            guard attributes.number(.keyType) == Cryptoki.aes, attributes.number(.valueLength) == 32 else {
                throw .kms(.keyUnusable(name, reason: "version \(version.id.number) is no AES key of 32 bytes"))
            }
            try checkUses(version)
        case .signing:
            guard attributes.number(.keyType) == Cryptoki.edwards,
                [Self.ed25519, Self.edwards25519].contains(attributes.bytes(.curve))
            else {
                throw .kms(.keyUnusable(name, reason: "version \(version.id.number) is no Ed25519 key"))
            }
        }
    }

    /// What wraps must not decrypt, or what it wrapped could be had in the clear, nor encrypt what it then unwraps; and
    /// what derives gives other keys away.
    private func checkUses(_ version: KeyVersion) throws(PKCS11Failure) {
        func has(_ uses: Attribute...) -> Attribute? { uses.first { version.attributes.bool($0) == true } }
        if let cipher = has(.encrypt, .decrypt), let wrapping = has(.wrap, .unwrap) {
            throw .kms(
                .keyUnusable(
                    name,
                    reason: "\(cipher.name) and \(wrapping.name) of version \(version.id.number) are both true: a key "
                        + "has one use, set those of the other to false"))
        }
        if has(.derive) != nil {
            throw .kms(
                .keyUnusable(
                    name,
                    reason: "CKA_DERIVE of version \(version.id.number) is true: a key has one use, set it to false"))
        }
    }

    // MARK: Making and destroying

    /// The label of a key on its way. A token may show an object before all its attributes are set; the label that
    /// makes it a version comes last. What a crash leaves under this one, an administrator may destroy.
    private static let unfinished = Array("hkms-unfinished".utf8)

    /// The object identifier 1.3.101.112 in DER.
    private static let ed25519: [UInt8] = [0x06, 0x03, 0x2B, 0x65, 0x70]
    /// The curve's other name in version 3, a PrintableString; SoftHSM2 gives it back for private halves.
    private static let edwards25519: [UInt8] = [0x13, 0x0C] + Array("edwards25519".utf8)

    static func make(
        _ number: Int, of name: KMSKeyName, purpose: KMSKeyPurpose, usage: (seal: Attribute, open: Attribute),
        in session: PKCS11Session
    ) throws(PKCS11Failure) {
        guard number <= Int(Int32.max) else { throw .kms(.keyUnusable(name, reason: "it has had too many versions")) }
        let id = KeyVersionID(number: number, random: try TokenSealing.random(8))
        var common = ObjectTemplate()
        common.set(.token, true)
        common.set(.label, unfinished)
        common.set(.id, id.bytes)
        var secret = common
        secret.set(.isPrivate, true)
        secret.set(.sensitive, true)
        secret.set(.extractable, false)
        switch purpose {
        case .sealing:
            secret.set(.objectClass, Cryptoki.secretKey)
            secret.set(.keyType, Cryptoki.aes)
            secret.set(.valueLength, 32)
            for use in [Attribute.encrypt, .decrypt, .wrap, .unwrap, .derive] {
                secret.set(use, use == usage.seal || use == usage.open)
            }
            let template = secret
            try finish(name, in: session) { () throws(PKCS11Failure) in
                [try session.generateKey(Cryptoki.aesKeyGeneration, template)]
            }
        case .signing:
            common.set(.objectClass, Cryptoki.publicKey)
            common.set(.keyType, Cryptoki.edwards)
            common.set(.curve, Self.ed25519)
            common.set(.verify, true)
            secret.set(.objectClass, Cryptoki.privateKey)
            secret.set(.keyType, Cryptoki.edwards)
            secret.set(.sign, true)
            let (half, template) = (common, secret)
            try finish(name, in: session) { () throws(PKCS11Failure) in
                try session.generateKeyPair(Cryptoki.edwardsKeyPairGeneration, public: half, private: template)
            }
        }
    }

    /// What is made here is a version as soon as it has its name, though the answer may be lost: then others may
    /// have sealed with it already. So nothing is done twice, and nothing destroyed that has the name.
    /// - Parameter make: the secret half is the last of its objects, and the one that counts.
    private static func finish(
        _ name: KMSKeyName, in session: PKCS11Session,
        _ make: () throws(PKCS11Failure) -> [PKCS11Session.Object]
    ) throws(PKCS11Failure) {
        let label = Array(name.value.utf8)
        var made: [PKCS11Session.Object] = []
        do throws(PKCS11Failure) {
            made = try again(make)
            for object in made { try again { () throws(PKCS11Failure) in try session.set(.label, label, of: object) } }
        } catch {
            guard let last = made.last, let now = try? session.attributes([.label], of: last).bytes(.label) else {
                throw error.once
            }
            if now == label { return }
            if now == unfinished, (try? session.destroy(last)) != nil {
                for half in made.dropLast() { try? session.destroy(half) }
            }
            throw error.once
        }
    }

    /// What has not its name yet is no version, and may be made more than once; the same name may be set so. SoftHSM2
    /// fails, by one code or another, for no other reason than that another thread reads its files at that moment.
    private static func again<Success>(
        _ body: () throws(PKCS11Failure) -> Success
    ) throws(PKCS11Failure) -> Success {
        for pause in [1, 5, 20, 50] as [UInt32] {
            do throws(PKCS11Failure) { return try body() } catch {
                guard !error.isLoss, !error.isStale else { throw error }
            }
            usleep(pause * 1000)
        }
        return try body()
    }

    /// The object first, then a public half that goes with it.
    func destroy(_ version: KeyVersion, in session: PKCS11Session) throws(PKCS11Failure) {
        try session.destroy(version.object)
        for half in try Self.publicHalves(name, version.id, in: session) { try session.destroy(half) }
    }

    /// The public half of a version of an Ed25519 key, 32 bytes.
    func publicKey(_ version: KeyVersion, in session: PKCS11Session) throws(PKCS11Failure) -> [UInt8]? {
        guard let half = try Self.publicHalves(name, version.id, in: session).first,
            let point = try session.attributes([.point], of: half).bytes(.point)
        else { return nil }
        // An OCTET STRING around the point, or since version 3 the point itself.
        if point.count == 34, point.starts(with: [0x04, 0x20]) { return Array(point.dropFirst(2)) }
        return point.count == 32 ? point : nil
    }

    private static func publicHalves(
        _ name: KMSKeyName, _ id: KeyVersionID, in session: PKCS11Session
    ) throws(PKCS11Failure) -> [PKCS11Session.Object] {
        var template = template(name)
        template.set(.objectClass, Cryptoki.publicKey)
        template.set(.id, id.bytes)
        return try session.find(template)
    }
}
