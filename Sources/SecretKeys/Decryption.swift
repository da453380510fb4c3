import HomomorphicEncryption
import RLWE
import SecretMemory

extension SecretKey {
    /// The raw decryption, c_0 + c_1 s (+ c_2 s^2): the message with the ciphertext's noise.
    ///
    /// The result together with the ciphertext gives away s (Li and Micciancio, 2021), so it goes to nobody from whom
    /// the key is to be kept, decoded and rounded neither. What leaves goes by ``release(_:count:policy:)``, unless
    /// the key set's policy is raw and marks it so. Whether this ciphertext may be decrypted at all is for the caller
    /// to have settled.
    public borrowing func decryptRaw(_ ciphertext: Ciphertext) throws -> CKKSPlaintext {
        try context.require(.ckks)
        return try CKKSPlaintext(polynomial: phase(ciphertext), scale: ciphertext.scale)
    }

    /// round(t/Q (c_0 + c_1 s (+ c_2 s^2))) modulo t: the message of a ``Scheme/bfv`` ciphertext, exactly, as long as
    /// its noise is within what ``BFVNoiseBound`` allows; else any other message, without notice.
    ///
    /// Whether a decryption fails tells of s, as does the noise, which goes no further than this. Whether this
    /// ciphertext may be decrypted at all is for the caller to have settled.
    public borrowing func decryptBFV(_ ciphertext: Ciphertext) throws -> BFVPlaintext {
        try context.require(.bfv)
        let phase = try phase(ciphertext)
        return try context.messageScaling(level: phase.rowCount).message(of: phase)
    }

    /// c_0 + c_1 s (+ c_2 s^2), in the NTT domain; zeroed when it dies. It is as secret as s.
    package borrowing func phase(_ ciphertext: Ciphertext) throws -> RNSPolynomial {
        guard ciphertext.context.parameterDigest == context.parameterDigest else { throw HEError.parameterMismatch }
        let basis = context.ciphertextBasis(level: ciphertext.level)
        let degree = context.degree
        let polynomials = ciphertext.polynomials
        var message = RNSPolynomial(uninitialized: basis, form: .evaluation)
        message.markConfidential()
        try packed.withUnsafeBytes { packed in
            try message.withMutableRows { rows in
                try Parallelism.forEach(below: basis.count) { row in
                    defer { SecretMemory.wipeDeadStack() }
                    let (modulus, out) = (basis.moduli[row], rows + row * degree)
                    var scratch = try SecretBytes(count: (polynomials.count - 1) * degree * 8)
                    scratch.withUnsafeMutableWords { s in
                        modulus.transformTernary(s, packed.bytes)
                        // Horner: (c_2 s + c_1) s + c_0. What is no message yet gives s away and is not in `out`.
                        let inner = s + degree
                        polynomials[0].withRow(row) { c0 in
                            polynomials[1].withRow(row) { c1 in
                                guard polynomials.count == 3 else {
                                    modulus.multiplyPlus(out, c1, s, c0)
                                    return
                                }
                                polynomials[2].withRow(row) { modulus.multiplyPlus(inner, $0, s, c1) }
                                modulus.multiplyPlus(out, inner, s, c0)
                            }
                        }
                    }
                }
            }
        }
        return message
    }

    /// Encrypts under the secret key: c_0 = -(a s + e) + m, c_1 = a, with a and e from fresh bytes of the
    /// system's generator, never from a seed. Less noise than under the public key.
    public borrowing func encrypt(_ plaintext: CKKSPlaintext) throws -> Ciphertext {
        try context.require(plaintext)
        let (seeded, a) = try encrypt(plaintext.polynomial, scale: plaintext.scale)
        return try Ciphertext(context: context, polynomials: [seeded.c0, a], scale: seeded.scale)
    }

    /// The same in half the bytes: a comes from 32 fresh bytes, which go along instead of it.
    public borrowing func encryptSeeded(_ plaintext: CKKSPlaintext) throws -> SeededCiphertext {
        try context.require(plaintext)
        return try encrypt(plaintext.polynomial, scale: plaintext.scale).seeded
    }

    /// The same with m = round(Q/t plaintext).
    /// - Parameter level: the ciphertext's; the highest by default.
    /// - Throws: ``HEError`` for another plaintext, a level that is none, or one whose modulus is so short that
    ///   decryption would fail with a probability of 2^-128 or more.
    public borrowing func encrypt(_ plaintext: BFVPlaintext, level: Int? = nil) throws -> Ciphertext {
        let level = level ?? context.maximumLevel
        try context.requireLevel(level)
        try context.require(plaintext)
        try BFVNoiseBound.secretKeyEncryption(context, level: level).requireDecryptable()
        let (seeded, a) = try encrypt(context.messageScaling(level: level).scaled(plaintext), scale: 1)
        return try Ciphertext(context: context, polynomials: [seeded.c0, a], scale: 1)
    }

    /// - Parameter message: in the NTT domain, over the primes of its level.
    private borrowing func encrypt(
        _ message: RNSPolynomial, scale: Double
    ) throws -> (seeded: SeededCiphertext, a: RNSPolynomial) {
        let basis = context.ciphertextBasis(level: message.rowCount)
        let rho = try SecretBytes(randomCount: 32).withUnsafeBytes { Array($0) }
        let a = try UniformHalf.expand(rho: rho, digit: 0, basis: basis) { UInt32($0) }
        let errorKey = try SecretBytes(randomCount: 32)
        let noise = try Samplers.noise(degree: context.degree, key: errorKey, x: 0, y: 0)
        var sRow = try SecretBytes(count: context.degree * 8)
        var eRow = try SecretBytes(count: context.degree * 8)
        var c0 = RNSPolynomial(uninitialized: basis, form: .evaluation)
        defer { SecretMemory.wipeDeadStack() }
        for (row, modulus) in basis.moduli.enumerated() {
            sRow.withUnsafeMutableWords { s in
                expand(modulus, into: s)
                eRow.withUnsafeMutableWords { scratch in
                    noise.withUnsafeBytes { noise in
                        a.withRow(row) { a in
                            c0.withMutableRow(row) {
                                modulus.mask($0, a, s, noise: noise.signedBytes, scratch: scratch)
                            }
                        }
                    }
                }
            }
        }
        c0 += message
        return (try SeededCiphertext(context: context, c0: c0, rho: rho, scale: scale), a)
    }
}
