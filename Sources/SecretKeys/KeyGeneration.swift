import HomomorphicEncryption
import RLWE
import SecretMemory

/// Public and evaluation keys from a seed, byte for byte the same on every machine (derivation suite 1,
/// 7 to 11).
extension Seed {
    /// pk: b = -(a s + e) over all primes q.
    public borrowing func publicKey(_ secret: borrowing SecretKey, generation: UInt32 = 0) throws -> PublicKey {
        let context = secret.context
        let ctx = try DerivationContext(
            kind: .publicKey, generation: generation, level: context.maximumLevel,
            parameterDigest: context.parameterDigest
        ).encoded(skTag: secret.tag)
        let rho = try derive("HKMS1/public", ctx).withUnsafeBytes { Array($0) }
        let basis = context.ciphertextBasis(level: context.maximumLevel)
        let a = RowsInTheMaking(basis)
        let b = try maskedRows(
            secret, basis: basis, digits: 1, objectContext: ctx, rho: rho, rowLabel: { UInt32($0) },
            keeping: a, targetDigit: { _ in nil }
        ) { _, _, _ in 0 }
        return PublicKey(context: context, b: b[0], a: a.polynomial, rho: rho, generation: generation)
    }

    /// A relinearization or Galois key.
    /// - Throws: ``HEError`` for an id that these parameters do not have or that is below 128-bit security.
    public borrowing func evaluationKey(_ id: EvaluationKeyID, _ secret: borrowing SecretKey) throws -> EvaluationKey {
        let context = secret.context
        try id.validate(for: context)
        let kind: DerivationContext.Kind
        switch id.kind {
        case .relinearization: kind = .relinearization
        case .galois: kind = .galois
        case .switching:
            throw HEError.invalidParameters(reason: "a switching key needs its source secret: use switchingKey")
        }
        let ctx = try derivationContext(kind, id, context).encoded(skTag: secret.tag)
        let automorphism =
            id.kind == .galois
            ? GaloisAutomorphism.shared(element: Int(id.galois), degree: context.degree) : nil
        return try keySwitchingKey(id, secret, objectContext: ctx) { modulus, s, target in
            if let automorphism {
                automorphism.permute(target, s)
            } else {
                modulus.multiply(target, s, s)
            }
        }
    }

    /// Several keys, each bit for bit that of ``evaluationKey(_:_:)``, made by the threads that are idle.
    /// - Returns: one an id, in their order.
    /// - Throws: the same.
    public borrowing func evaluationKeys(
        _ ids: [EvaluationKeyID], _ secret: borrowing SecretKey
    ) throws -> [EvaluationKey] {
        try evaluationKeys(ids, secret) { $0 }
    }

    /// What `body` makes of each of several keys, on the thread that has made the key: where not all are kept as they
    /// are, no more of them are in memory than threads work.
    public borrowing func evaluationKeys<Made>(
        _ ids: [EvaluationKeyID], _ secret: borrowing SecretKey, _ body: (EvaluationKey) throws -> Made
    ) throws -> [Made] {
        try Parallelism.map(below: ids.count) { try body(evaluationKey(ids[$0], secret)) }
    }

    /// A key that switches from `source`'s secret to `secret`; this seed is `secret`'s. Of the source's
    /// parameters only N must be the same: its s is reduced modulo the primes of `secret`.
    public borrowing func switchingKey(
        _ id: EvaluationKeyID, from source: borrowing SecretKey, to secret: borrowing SecretKey
    ) throws -> EvaluationKey {
        let context = secret.context
        try id.validate(for: context)
        guard id.kind == .switching else {
            throw HEError.invalidParameters(reason: "the id is not that of a switching key")
        }
        guard source.context.degree == context.degree else { throw HEError.parameterMismatch }
        let ctx = try derivationContext(.switching, id, context).encoded(skTag: secret.tag, source: source.tag)
        return try keySwitchingKey(id, secret, objectContext: ctx) { modulus, _, target in
            source.expand(modulus, into: target)
        }
    }

    private borrowing func derivationContext(
        _ kind: DerivationContext.Kind, _ id: EvaluationKeyID, _ context: EncryptionContext
    ) -> DerivationContext {
        DerivationContext(
            kind: kind, generation: id.generation, galois: id.galois, level: id.level,
            digits: context.parameters.digitCount(level: id.level), parameterDigest: context.parameterDigest)
    }

    /// b_j = -(a_j s + e_j) + P g_j target. `target` writes the target's row from s's.
    private borrowing func keySwitchingKey(
        _ id: EvaluationKeyID, _ secret: borrowing SecretKey, objectContext: borrowing SecretBytes,
        target writeTarget: (NTTModulus, UnsafePointer<UInt64>, UnsafeMutablePointer<UInt64>) -> Void
    ) throws -> EvaluationKey {
        let context = secret.context
        let rho = try derive("HKMS1/public", objectContext).withUnsafeBytes { Array($0) }
        let digits = context.parameters.digitCount(level: id.level)
        let b = try maskedRows(
            secret, basis: context.keyBasis(level: id.level), digits: digits, objectContext: objectContext, rho: rho,
            rowLabel: { EvaluationKey.rowLabel($0, level: id.level, context: context) },
            // g_j is 1 modulo the primes of digit j and 0 modulo the other q; P is 0 modulo each p: every row
            // below the level takes P * target in exactly one digit.
            targetDigit: { $0 < id.level ? $0 / context.parameters.alpha : nil }
        ) { modulus, s, scratch in
            writeTarget(modulus, s, scratch)
            return modulus.product(of: context.parameters.p)
        }
        return EvaluationKey(made: context, id: id, rho: rho, b: b)
    }

    /// The rows b_j = -(a_j s + e_j) of each digit, plus the target in one of them.
    /// - Parameters:
    ///   - uniform: takes the rows of a, where there is one digit; they are not kept otherwise.
    ///   - targetDigit: which digit of a row takes the target.
    ///   - target: writes the target's row from s's and returns what it is multiplied by.
    ///
    /// Each row of s is expanded once, for all digits. Everything that depends on s or e lives in locked memory until
    /// it is masked.
    private borrowing func maskedRows(
        _ secret: borrowing SecretKey, basis: RNSBasis, digits: Int, objectContext: borrowing SecretBytes,
        rho: [UInt8], rowLabel: (Int) -> UInt32, keeping uniform: RowsInTheMaking? = nil,
        targetDigit: (_ row: Int) -> Int?,
        target: (NTTModulus, _ s: UnsafePointer<UInt64>, _ scratch: UnsafeMutablePointer<UInt64>) -> UInt64
    ) throws -> [RNSPolynomial] {
        let degree = basis.degree
        let errorKey = try derive("HKMS1/error", objectContext)
        var errors = try SecretBytes(count: degree * digits)
        try errors.withUnsafeMutableBytes { errors in
            try Parallelism.forEachPart(of: digits) { part in
                defer { SecretMemory.wipeDeadStack() }
                for digit in part {
                    try Samplers.noise(
                        into: UnsafeMutableRawBufferPointer(rebasing: errors[digit * degree..<(digit + 1) * degree]),
                        key: errorKey, x: UInt32(digit), y: 0)
                }
            }
        }
        let b = (0..<digits).map { _ in RowsInTheMaking(basis) }
        // The secrets as addresses, which closures may hold; the values outlive the calls.
        try errors.withUnsafeBytes { errors in
            try secret.packed.withUnsafeBytes { packed in
                try Parallelism.forEach(below: basis.count) { row in
                    defer { SecretMemory.wipeDeadStack() }
                    let modulus = basis.moduli[row]
                    var expanded = try SecretBytes(count: degree * 8)
                    try expanded.withUnsafeMutableWords { s in
                        modulus.transformTernary(s, packed.bytes)
                        try Parallelism.forEachPart(of: digits) { part in
                            // Of other threads; this one's is wiped with its row.
                            defer { if part.count < digits { SecretMemory.wipeDeadStack() } }
                            var scratch = try SecretBytes(count: degree * 8)
                            try scratch.withUnsafeMutableWords { words in
                                // a in one place for all digits, where the cache has it.
                                try RowPool.withScratch(words: degree) { spare in
                                    for digit in part {
                                        let (outA, outB) = (uniform?.row(row) ?? spare, b[digit].row(row))
                                        try Samplers.uniformRow(
                                            outA, modulus: modulus, publicSeed: rho, digit: UInt32(digit),
                                            row: rowLabel(row))
                                        // a s without its noise gives s away, a being public: the two are added in
                                        // registers.
                                        modulus.mask(
                                            outB, outA, s, noise: errors.signedBytes + digit * degree, scratch: words)
                                        guard digit == targetDigit(row) else { continue }
                                        let factor = target(modulus, s, words)
                                        modulus.multiplyAdd(outB, words, scalar: factor)
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        return b.map(\.polynomial)
    }
}

/// A polynomial in the NTT domain whose rows are written by several threads.
private final class RowsInTheMaking {
    private(set) var polynomial: RNSPolynomial
    private let rows: UnsafeMutablePointer<UInt64>

    init(_ basis: RNSBasis) {
        polynomial = RNSPolynomial(uninitialized: basis, form: .evaluation)
        rows = polynomial.withMutableRows { $0 }
    }

    func row(_ index: Int) -> UnsafeMutablePointer<UInt64> { rows + index * polynomial.degree }
}
