import Crypto
import KeyManagement
import SecretMemory

/// Sealing and opening by one mechanism of the token.
struct TokenSealing: Sendable {
    let mechanism: PKCS11Blob.Mechanism
    /// What the token opens: the mechanism, and others of its choice.
    let opens: Set<PKCS11Blob.Mechanism>

    /// The first mechanism of the choice that the token has; nil where it has none.
    init?(_ choice: PKCS11MechanismChoice, mechanisms: [UInt: UInt]) {
        let all: [(PKCS11MechanismChoice, PKCS11Blob.Mechanism, flags: UInt)] = [
            (.gcm, .gcm, Cryptoki.encrypts | Cryptoki.decrypts),
            (.keyWrapPad, .keyWrapKWP, Cryptoki.wraps | Cryptoki.unwraps),
            (.keyWrapPad, .keyWrapPad, Cryptoki.wraps | Cryptoki.unwraps),
            (.keyWrapPad, .keyWrap, Cryptoki.wraps | Cryptoki.unwraps),
            (.cbc, .cbc, Cryptoki.encrypts | Cryptoki.decrypts),
        ]
        let possible = all.filter { family, mechanism, flags in
            guard choice == .auto || choice == family, let has = mechanisms[mechanism.type] else { return false }
            return has & flags == flags
        }
        guard let chosen = possible.first else { return nil }
        mechanism = chosen.1
        opens = Set(possible.filter { $0.0 == chosen.0 }.map(\.1))
    }

    /// The attributes that let a key seal and open: an administrator, or a minimum version, takes them away.
    var usage: (seal: Attribute, open: Attribute) { mechanism.wraps ? (.wrap, .unwrap) : (.encrypt, .decrypt) }

    var keyType: String {
        switch mechanism {
        case .gcm: "aes256-gcm"
        case .keyWrapKWP, .keyWrapPad, .keyWrap: "aes256-key-wrap"
        case .cbc: "aes256-cbc"
        }
    }

    func seal(
        _ secret: borrowing SecretBytes, context: [UInt8], with key: KeyVersion, in session: PKCS11Session
    ) throws(PKCS11Failure) -> PKCS11Blob {
        let box: [UInt8]
        switch mechanism {
        case .gcm:
            let associated = PKCS11Blob.header(mechanism, key.id) + SHA256.hash(data: context)
            box = try Self.gcm(secret, associated, key.object, session)
        case .keyWrapKWP, .keyWrapPad, .keyWrap:
            let frame = try Self.memory { () throws(SecretMemoryError) in try WrappingFrame.make(secret, mechanism) }
            // Borrowed through a pointer: the session's call is generic in its errors alone.
            box = try frame.withUnsafeBytes { frame throws(PKCS11Failure) in
                try session.wrap(frame, mechanism.type, key: key.object)
            }
        case .cbc:
            box = try Self.cbc(secret, key.object, session)
        }
        let blob = PKCS11Blob(mechanism, key.id, box: box)
        guard PKCS11Blob(parsing: blob.sealed.bytes) != nil else {
            throw .kms(
                .invalidResponse(
                    reason: "the token's ciphertext has \(box.count) bytes for \(secret.count), which none of "
                        + "\(mechanism) has"))
        }
        return blob
    }

    func open(
        _ blob: PKCS11Blob, context: [UInt8], with key: KeyVersion, in session: PKCS11Session
    ) throws(PKCS11Failure) -> SecretBytes {
        do throws(PKCS11Failure) {
            return try openOnce(blob, context: context, with: key, in: session)
        } catch {
            if error.isNotAuthentic { throw .kms(.cannotOpen) }
            // Some modules say so of a tag that does not match, and of an HSM that is in trouble. One that opens what
            // it just sealed is not in trouble.
            guard error.isUnspecific else { throw error }
            do throws(PKCS11Failure) {
                let probe = try Self.memory { () throws(SecretMemoryError) in try SecretBytes(randomCount: 32) }
                let sealed = try seal(probe, context: context, with: key, in: session)
                let opened = try openOnce(sealed, context: context, with: key, in: session)
                guard opened.equals(probe) else { throw error }
            } catch _ {
                throw error
            }
            throw .kms(.cannotOpen)
        }
    }

    private func openOnce(
        _ blob: PKCS11Blob, context: [UInt8], with key: KeyVersion, in session: PKCS11Session
    ) throws(PKCS11Failure) -> SecretBytes {
        switch blob.mechanism {
        case .gcm:
            let associated = blob.header + SHA256.hash(data: context)
            var iv = Array(blob.box.prefix(Self.gcmIVBytes))
            let ciphertext = blob.box[Self.gcmIVBytes...]
            return try Self.withGCMParameters(&iv, associated) { parameters throws(PKCS11Failure) in
                try session.decrypt(
                    ciphertext, Cryptoki.aesGCM, parameter: parameters, key: key.object,
                    expected: ciphertext.count - Self.gcmTagBytes)
            }
        case .keyWrapKWP, .keyWrapPad, .keyWrap:
            let frame = try session.unwrap(blob.box, blob.mechanism.type, key: key.object)
            let secret = try Self.memory { () throws(SecretMemoryError) in
                try WrappingFrame.read(frame, blob.mechanism)
            }
            guard let secret else { throw .kms(.cannotOpen) }
            return secret
        case .cbc:
            var iv = Array(blob.box.prefix(Self.cbcIVBytes))
            let ciphertext = blob.box[Self.cbcIVBytes...]
            return try Self.withBytes(&iv) { iv throws(PKCS11Failure) in
                try session.decrypt(
                    ciphertext, Cryptoki.aesCBC, parameter: iv, key: key.object, expected: ciphertext.count)
            }
        }
    }
}
