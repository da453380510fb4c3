import CPKCS11
import KeyManagement
import SecretMemory

extension PKCS11Blob.Mechanism {
    /// The `CKM_` code.
    var type: UInt {
        switch self {
        case .gcm: Cryptoki.aesGCM
        case .keyWrapKWP: Cryptoki.aesKeyWrapKWP
        case .keyWrapPad: Cryptoki.aesKeyWrapPad
        case .keyWrap: Cryptoki.aesKeyWrap
        case .cbc: Cryptoki.aesCBC
        }
    }

    var wraps: Bool {
        switch self {
        case .gcm, .cbc: false
        case .keyWrapKWP, .keyWrapPad, .keyWrap: true
        }
    }

    /// The word of the configuration.
    var choice: PKCS11MechanismChoice {
        switch self {
        case .gcm: .gcm
        case .keyWrapKWP, .keyWrapPad, .keyWrap: .keyWrapPad
        case .cbc: .cbc
        }
    }
}

extension TokenSealing {
    static let gcmIVBytes = 12
    static let gcmTagBytes = 16
    static let cbcIVBytes = 16

    /// IV || ciphertext || tag.
    static func gcm(
        _ secret: borrowing SecretBytes, _ associated: [UInt8], _ key: PKCS11Session.Object, _ session: PKCS11Session
    ) throws(PKCS11Failure) -> [UInt8] {
        var iv = try random(gcmIVBytes)
        let sealed = try secret.withUnsafeBytes { secret throws(PKCS11Failure) in
            try withGCMParameters(&iv, associated) { parameters throws(PKCS11Failure) in
                try session.encrypt(
                    secret, Cryptoki.aesGCM, parameter: parameters, key: key, expected: secret.count + gcmTagBytes)
            }
        }
        // An IV of its own that a module appends, or a tag that it leaves out, would be noticed when the secret is
        // needed.
        guard sealed.count == secret.count + gcmTagBytes else {
            throw .kms(
                .invalidResponse(
                    reason: "the token's ciphertext has \(sealed.count) bytes for \(secret.count) and a tag of "
                        + "\(gcmTagBytes): where it appends an IV of its own (FIPS mode of some), set "
                        + "kms.pkcs11.mechanism: keyWrapPad"))
        }
        // Read back: a module that insists on an IV of its own has written it over ours.
        return iv + sealed
    }

    /// IV || blocks.
    static func cbc(
        _ secret: borrowing SecretBytes, _ key: PKCS11Session.Object, _ session: PKCS11Session
    ) throws(PKCS11Failure) -> [UInt8] {
        var iv = try random(cbcIVBytes)
        let sealed = try secret.withUnsafeBytes { secret throws(PKCS11Failure) in
            try withBytes(&iv) { iv throws(PKCS11Failure) in
                try session.encrypt(secret, Cryptoki.aesCBC, parameter: iv, key: key, expected: secret.count)
            }
        }
        return iv + sealed
    }

    static func withGCMParameters<Result: ~Copyable>(
        _ iv: inout [UInt8], _ associated: [UInt8],
        _ body: (UnsafeMutableRawBufferPointer) throws(PKCS11Failure) -> Result
    ) throws(PKCS11Failure) -> Result {
        try withBytes(&iv) { iv throws(PKCS11Failure) in
            var associated = associated
            return try withBytes(&associated) { associated throws(PKCS11Failure) in
                var parameters = hkms_p11_gcm_parameters(
                    iv: iv.bindMemory(to: UInt8.self).baseAddress, iv_length: UInt(iv.count),
                    iv_bits: UInt(iv.count * 8), aad: associated.bindMemory(to: UInt8.self).baseAddress,
                    aad_length: UInt(associated.count), tag_bits: UInt(gcmTagBytes * 8))
                return try withUnsafeMutablePointer(to: &parameters) { parameters throws(PKCS11Failure) in
                    try body(
                        UnsafeMutableRawBufferPointer(
                            start: parameters, count: MemoryLayout<hkms_p11_gcm_parameters>.size))
                }
            }
        }
    }

    static func withBytes<Result: ~Copyable>(
        _ bytes: inout [UInt8], _ body: (UnsafeMutableRawBufferPointer) throws(PKCS11Failure) -> Result
    ) throws(PKCS11Failure) -> Result {
        // Not the array's own accessor, which returns no secrets.
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 8)
        buffer.copyBytes(from: bytes)
        defer {
            bytes = Array(buffer)
            buffer.deallocate()
        }
        return try body(buffer)
    }

    /// Public random bytes of the operating system's generator.
    static func random(_ count: Int) throws(PKCS11Failure) -> [UInt8] {
        let bytes = try memory { () throws(SecretMemoryError) in try SecretBytes(randomCount: count) }
        return bytes.withUnsafeBytes { Array($0) }
    }

    static func memory<Result: ~Copyable>(
        _ body: () throws(SecretMemoryError) -> Result
    ) throws(PKCS11Failure) -> Result {
        do throws(SecretMemoryError) { return try body() } catch { throw .kms(.memory(error)) }
    }
}
