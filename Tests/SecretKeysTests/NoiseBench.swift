import ComplexModule
import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import Testing

/// One key set of a fixed seed with what only a test may know: s, and the errors in its public objects.
final class NoiseBench {
    let context: EncryptionContext
    let encoder: CKKSEncoder
    let evaluator: CKKSEvaluator
    let scale: Double
    let publicKey: PublicKey
    /// s, coefficient by coefficient.
    let secretCoefficients: [Int64]
    /// |s(zeta_i)|^2, slot by slot.
    let secretPower: [Double]
    /// |e(zeta_i)|^2 of the public key's error.
    let publicErrorPower: [Double]
    private let seed: Seed
    private let secret: SecretKey

    convenience init(_ preset: ParameterPreset) throws {
        try self.init(preset.parameters, scaleBits: preset.scaleBits)
    }

    init(_ parameters: EncryptionParameters, scaleBits: Int, seed number: UInt8 = 7) throws {
        context = try EncryptionContext.shared(parameters)
        encoder = try CKKSEncoder(context)
        evaluator = CKKSEvaluator(context)
        scale = Double(sign: .plus, exponent: scaleBits, significand: 1)
        seed = try Scheme1.seed((0..<32).map { $0 &* number })
        secret = try seed.secretKey(context)
        publicKey = try seed.publicKey(secret)
        // (0, 1) decrypts to s, and the public key itself to -e.
        let basis = context.ciphertextBasis(level: 1)
        let zero = RNSPolynomial(basis: basis, form: .evaluation)
        var one = zero
        one.withMutableRow(0) { $0.update(repeating: 1, count: basis.degree) }
        let s = try secret.decryptRaw(Ciphertext(context: context, polynomials: [zero, one], scale: 1))
        let e = try secret.decryptRaw(
            Ciphertext(context: context, polynomials: [publicKey.b.prefix(basis), publicKey.a.prefix(basis)], scale: 1))
        secretCoefficients = ExactPolynomial(lifting: s.polynomial).doubles.map { Int64($0) }
        secretPower = try encoder.decodeComplex(s).map(\.lengthSquared)
        publicErrorPower = try encoder.decodeComplex(e).map(\.lengthSquared)
    }

    var degree: Int { context.degree }
    var parameters: EncryptionParameters { context.parameters }

    // MARK: Keys

    func key(_ kind: EvaluationKeyKind, element: Int = 0, level: Int? = nil) throws -> EvaluationKey {
        try seed.evaluationKey(
            EvaluationKeyID(kind: kind, galois: UInt32(element), level: level ?? context.maximumLevel), secret)
    }

    func element(_ steps: Int) -> Int {
        GaloisAutomorphism.element(rotatingBy: steps, degree: degree)
    }

    /// A relinearization key, keys for some rotations, and one for conjugation.
    func keys(rotations: [Int]) throws -> [EvaluationKey] {
        try [key(.relinearization), key(.galois, element: 2 * degree - 1)]
            + rotations.map { try key(.galois, element: element($0)) }
    }

    /// A key that leads from another bench's secret to this one's.
    func switchingKey(from other: NoiseBench, level: Int) throws -> EvaluationKey {
        try seed.switchingKey(EvaluationKeyID(kind: .switching, level: level), from: other.secret, to: secret)
    }

    /// The error of each digit of a key: -(b + a s) modulo a special prime, where the target has the factor
    /// P and so is gone.
    func errors(of key: EvaluationKey) throws -> [[Int64]] {
        let row = key.id.level
        return try zip(key.b, key.a).map { b, a in
            let modulus = b.basis.moduli[row]
            var words = [UInt64](repeating: 0, count: degree)
            modulus.reduce(&words, signed: secretCoefficients)
            words.withUnsafeMutableBufferPointer { words in
                guard let out = words.baseAddress else { return }
                modulus.transform(out)
                a.withRow(row) { modulus.multiply(out, out, $0) }
                b.withRow(row) { modulus.add(out, out, $0) }
                modulus.inverseTransform(out)
            }
            return words.map { -($0 > modulus.value / 2 ? Int64($0) - Int64(modulus.value) : Int64($0)) }
        }
    }

    // MARK: Encryption and measurement

    func plaintext(_ values: [Complex<Double>], scale: Double? = nil, level: Int? = nil) throws
        -> CKKSPlaintext
    {
        try encoder.encode(complex: values, scale: scale ?? self.scale, level: level)
    }

    func encryptSymmetric(_ plaintext: CKKSPlaintext) throws -> Ciphertext {
        try secret.encrypt(plaintext)
    }

    /// c_0 + c_1 s (+ c_2 s^2) modulo every prime, in the NTT domain.
    func phase(_ ciphertext: Ciphertext) throws -> RNSPolynomial {
        try secret.decryptRaw(ciphertext).polynomial
    }

    func decode(_ ciphertext: Ciphertext) throws -> [Complex<Double>] {
        try encoder.decodeComplex(secret.decryptRaw(ciphertext))
    }

    /// The slots of a polynomial in the NTT domain, unscaled.
    func slots(_ polynomial: RNSPolynomial) throws -> [Complex<Double>] {
        try encoder.decodeComplex(CKKSPlaintext(polynomial: polynomial, scale: 1))
    }

    /// The slots of small integer coefficients.
    func slots(_ coefficients: [Int64]) throws -> [Complex<Double>] {
        var polynomial = RNSPolynomial(basis: context.ciphertextBasis(level: 1), form: .coefficient)
        let modulus = polynomial.basis.moduli[0]
        polynomial.withMutableRow(0) { modulus.reduce($0, signed: coefficients) }
        polynomial.transform()
        return try slots(polynomial)
    }

    // MARK: Mean square of a slot's error, for this key

    func freshPublicPower() -> [Double] {
        let n = Double(degree)
        return zip(secretPower, publicErrorPower).map {
            n * NoiseModel.errorVariance * (1 + $0) + n * NoiseModel.secretVariance * $1
        }
    }

    func rescalingPower() -> [Double] {
        secretPower.map { Double(degree) * NoiseModel.roundingVariance * (1 + $0) }
    }

    /// - Parameter errorPower: |e_j(zeta_i)|^2 of the key, digit by digit.
    func keySwitchingPower(_ errorPower: [[Double]], level: Int) -> [Double] {
        var power = rescalingPower().map { $0 * Double(parameters.p.count) }
        for (digit, variance) in NoiseModel.switchedDigits(parameters, level: level).enumerated() {
            for slot in power.indices {
                power[slot] += errorPower[digit][slot] * Double(degree) * variance
            }
        }
        return power
    }

    func errorPower(of key: EvaluationKey) throws -> [[Double]] {
        try errors(of: key).map { try slots($0).map(\.lengthSquared) }
    }
}

/// How a measured error stands to its bound.
struct NoiseMeasurement {
    /// log2(bound / largest error): negative where the bound is broken.
    let slack: Double

    /// Coefficients against one deviation for all.
    init(coefficients: [Double], variance: Double) {
        let bound = NoiseModel.coefficientFactor(degree: coefficients.count) * variance.squareRoot()
        slack = .log2(bound / coefficients.reduce(0) { max($0, $1.magnitude) })
    }

    /// Slots, each against its own deviation.
    init(slots: [Complex<Double>], power: [Double]) {
        let bound = NoiseModel.slotFactor(degree: 2 * slots.count)
        slack = .log2(bound / zip(slots, power).reduce(0) { max($0, $1.0.length / $1.1.squareRoot()) })
    }
}
