import RLWE
import SecretMemory

extension PublicKey {
    /// Encrypts: c_0 = b u + e_0 + m, c_1 = a u + e_1, with u uniform ternary and e_i centered binomial
    /// of variance 10.5, all from 32 fresh bytes of the system's generator, never from a seed.
    ///
    /// The level is the plaintext's.
    public func encrypt(_ plaintext: CKKSPlaintext) throws -> Ciphertext {
        try context.require(plaintext)
        let basis = context.ciphertextBasis(level: plaintext.level)
        let degree = context.degree
        let randomness = try SecretBytes(randomCount: 32)
        let u = try Samplers.ternary(degree: degree, key: randomness, x: 0, y: 0)
        let e0 = try Samplers.noise(degree: degree, key: randomness, x: 1, y: 0)
        let e1 = try Samplers.noise(degree: degree, key: randomness, x: 2, y: 0)
        var uRow = try SecretBytes(count: degree * 8)
        var eRow = try SecretBytes(count: degree * 8)
        var c0 = RNSPolynomial(uninitialized: basis, form: .evaluation)
        var c1 = RNSPolynomial(uninitialized: basis, form: .evaluation)
        for (row, modulus) in basis.moduli.enumerated() {
            uRow.withUnsafeMutableWords { words in
                u.withUnsafeBytes { modulus.expandTernary(words, $0.bytes) }
                modulus.transform(words)
            }
            func combine(_ key: RNSPolynomial, _ error: borrowing SecretBytes, into out: inout RNSPolynomial) {
                eRow.withUnsafeMutableWords { words in
                    error.withUnsafeBytes { modulus.expandSmall(words, $0.signedBytes) }
                    modulus.transform(words)
                    uRow.withUnsafeWords { u in
                        key.withRow(row) { k in
                            out.withMutableRow(row) { out in
                                modulus.multiply(out, k, u)
                                modulus.add(out, out, words)
                            }
                        }
                    }
                }
            }
            combine(b, e0, into: &c0)
            combine(a, e1, into: &c1)
        }
        c0 += plaintext.polynomial
        return try Ciphertext(context: context, polynomials: [c0, c1], scale: plaintext.scale)
    }
}

extension SecretBytes {
    /// The bytes as 64-bit words; the memory is page-aligned.
    package borrowing func withUnsafeWords<Result>(
        _ body: (UnsafePointer<UInt64>) throws -> Result
    ) rethrows -> Result {
        try withUnsafeBytes { try body($0.baseAddress!.assumingMemoryBound(to: UInt64.self)) }
    }

    package mutating func withUnsafeMutableWords<Result>(
        _ body: (UnsafeMutablePointer<UInt64>) throws -> Result
    ) rethrows -> Result {
        try withUnsafeMutableBytes { try body($0.baseAddress!.assumingMemoryBound(to: UInt64.self)) }
    }
}

extension UnsafeRawBufferPointer {
    package var bytes: UnsafePointer<UInt8> { baseAddress!.assumingMemoryBound(to: UInt8.self) }
    package var signedBytes: UnsafePointer<Int8> { baseAddress!.assumingMemoryBound(to: Int8.self) }
}
