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
                    var scratch = try SecretBytes(count: 2 * degree * 8)
                    scratch.withUnsafeMutableWords { s in
                        modulus.transformTernary(s, packed.bytes)
                        // Horner: ((c_2 s) + c_1) s + c_0. What is no message yet gives s away.
                        let sum = s + degree
                        polynomials[polynomials.count - 1].withRow(row) { sum.update(from: $0, count: degree) }
                        for polynomial in polynomials.dropLast().reversed() {
                            polynomial.withRow(row) { modulus.multiplyPlus(sum, sum, s, $0) }
                        }
                        out.update(from: sum, count: degree)
                    }
                }
            }
        }
        return CKKSPlaintext(polynomial: message, scale: ciphertext.scale)
    }

    /// ``decryptRaw(_:)`` by its earlier name.
    public borrowing func decrypt(_ ciphertext: Ciphertext) throws -> CKKSPlaintext { try decryptRaw(ciphertext) }

    /// Encrypts under the secret key: c_0 = -(a s + e) + m, c_1 = a, with a and e from fresh bytes of the
    /// system's generator, never from a seed. Less noise than under the public key.
    public borrowing func encrypt(_ plaintext: CKKSPlaintext) throws -> Ciphertext {
        try context.require(plaintext)
        let basis = context.ciphertextBasis(level: plaintext.level)
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
        c0 += plaintext.polynomial
        return try Ciphertext(context: context, polynomials: [c0, a], scale: plaintext.scale)
    }
}
