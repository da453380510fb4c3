import RLWE
import SecretMemory

extension PublicKey {
    /// Encrypts: c_0 = b u + e_0 + m, c_1 = a u + e_1, with u uniform ternary and e_i centered binomial
    /// of variance 10.5, all from 32 fresh bytes of the system's generator, never from a seed.
    ///
    /// The level is the plaintext's.
    public func encrypt(_ plaintext: CKKSPlaintext) throws -> Ciphertext {
        try context.require(plaintext)
        return try encrypt(plaintext.polynomial, scale: plaintext.scale)
    }

    /// The same with m = round(Q/t plaintext).
    /// - Parameter level: the ciphertext's; the highest by default.
    /// - Throws: ``HEError`` for another plaintext, a level that is none, or one whose modulus is so short that
    ///   decryption would fail with a probability of 2^-128 or more.
    public func encrypt(_ plaintext: BFVPlaintext, level: Int? = nil) throws -> Ciphertext {
        let level = level ?? context.maximumLevel
        try context.requireLevel(level)
        try context.require(plaintext)
        try BFVNoiseBound.publicKeyEncryption(context, level: level).requireDecryptable()
        return try encrypt(context.messageScaling(level: level).scaled(plaintext), scale: 1)
    }

    /// - Parameter message: in the NTT domain, over the primes of its level.
    private func encrypt(_ message: RNSPolynomial, scale: Double) throws -> Ciphertext {
        let basis = context.ciphertextBasis(level: message.rowCount)
        let degree = context.degree
        let randomness = try SecretBytes(randomCount: 32)
        let u = try Samplers.ternary(degree: degree, key: randomness, x: 0, y: 0)
        let e0 = try Samplers.noise(degree: degree, key: randomness, x: 1, y: 0)
        let e1 = try Samplers.noise(degree: degree, key: randomness, x: 2, y: 0)
        var c0 = RNSPolynomial(uninitialized: basis, form: .evaluation)
        var c1 = RNSPolynomial(uninitialized: basis, form: .evaluation)
        // The secrets as addresses, which closures may hold; the values outlive the calls.
        try u.withUnsafeBytes { ternary in
            try e0.withUnsafeBytes { e0 in
                try e1.withUnsafeBytes { e1 in
                    try c0.withMutableRows { c0 in
                        try c1.withMutableRows { c1 in
                            try Parallelism.forEach(below: basis.count) { row in
                                defer { SecretMemory.wipeDeadStack() }
                                let modulus = basis.moduli[row]
                                let (out0, out1) = (c0 + row * degree, c1 + row * degree)
                                var scratch = try SecretBytes(count: 2 * degree * 8)
                                scratch.withUnsafeMutableWords { u in
                                    let scratch = u + degree
                                    modulus.transformTernary(u, ternary.bytes)
                                    message.withRow(row) { message in
                                        b.withRow(row) {
                                            modulus.encrypt(
                                                out0, $0, u, noise: e0.signedBytes, message: message, scratch: scratch)
                                        }
                                    }
                                    a.withRow(row) {
                                        modulus.encrypt(
                                            out1, $0, u, noise: e1.signedBytes, message: nil, scratch: scratch)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return try Ciphertext(context: context, polynomials: [c0, c1], scale: scale)
    }
}

extension SecretBytes {
    /// The bytes as 64-bit words; the memory is page-aligned.
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
