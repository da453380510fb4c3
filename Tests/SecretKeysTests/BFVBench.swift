import HomomorphicEncryption
import RLWE
import SecretKeys
import SecretMemory
import TestSupport
import Testing

/// One BFV key set of a fixed seed, slots as plain integers beside it, and what only a test may measure.
struct BFVBench {
    let context: EncryptionContext
    let encoder: BFVEncoder
    let evaluator: BFVEvaluator
    let publicKey: PublicKey
    let keys: EvaluationKeySet
    private let seedBytes: [UInt8]

    init(_ name: String, rotations: [Int] = [], columns: Bool = false) throws {
        let preset = try #require(BFVParameterPreset.named(name))
        try self.init(preset.parameters, rotations: rotations, columns: columns)
    }

    init(_ parameters: EncryptionParameters, rotations: [Int] = [], columns: Bool = false, level: Int? = nil) throws {
        context = try EncryptionContext(parameters)
        encoder = try BFVEncoder(context)
        evaluator = try BFVEvaluator(context)
        seedBytes = (0..<32).map { UInt8($0 * 5 & 0xFF) }
        let seed = try Scheme1.seed(seedBytes)
        let secret = try seed.secretKey(context)
        publicKey = try seed.publicKey(secret)
        let level = level ?? context.maximumLevel
        var keys = [try seed.evaluationKey(EvaluationKeyID(kind: .relinearization, level: level), secret)]
        var elements = rotations.map { GaloisAutomorphism.element(rotatingBy: $0, degree: parameters.degree) }
        if columns { elements.append(2 * parameters.degree - 1) }
        for element in Set(elements).sorted() {
            keys.append(
                try seed.evaluationKey(EvaluationKeyID(kind: .galois, galois: UInt32(element), level: level), secret))
        }
        self.keys = EvaluationKeySet(keys)
    }

    /// N = 2^11 and primes of these lengths, the last of them special: not secure, but quick.
    static func small(_ bits: [Int], t: UInt64 = 65537) throws -> EncryptionParameters {
        var primes: [UInt64] = []
        for bits in bits {
            primes += Primes.nttPrimes(bits: bits, degree: 1 << 11, count: 1, excluding: Set(primes + [t]))
        }
        return try EncryptionParameters(
            scheme: .bfv, logN: 11, q: primes.dropLast(), p: primes.suffix(1), alpha: 1, t: t,
            security: .insecureForTestsOnly)
    }

    var t: Int64 { Int64(encoder.modulus) }

    func encrypt(_ values: [Int64], level: Int? = nil) throws -> Ciphertext {
        try publicKey.encrypt(encoder.encode(values), level: level)
    }

    func encryptSymmetric(_ values: [Int64], level: Int? = nil) throws -> Ciphertext {
        try Scheme1.seed(seedBytes).secretKey(context).encrypt(encoder.encode(values), level: level)
    }

    func decrypt(_ ciphertext: Ciphertext) throws -> [Int64] {
        try encoder.decode(Scheme1.seed(seedBytes).secretKey(context).decryptBFV(ciphertext))
    }

    /// log2 of the largest coefficient of the phase less round(Q/t m).
    func noiseBits(_ ciphertext: Ciphertext, of values: [Int64]) throws -> Double {
        let secret = try Scheme1.seed(seedBytes).secretKey(context)
        let message = try context.messageScaling(level: ciphertext.level).scaled(encoder.encode(values))
        let noise = try ExactPolynomial(lifting: secret.phase(ciphertext) - message)
        return .log2(noise.doubles.reduce(1) { max($0, $1.magnitude) })
    }

    // MARK: Slots

    func random(_ seed: UInt64) -> [Int64] {
        var random = SeededGenerator(seed)
        return (0..<encoder.slotCount).map { _ in Int64.random(in: encoder.signedRange, using: &random) }
    }

    /// The signed number modulo t, by the language's own division.
    func reduced(_ value: Int64) -> Int64 {
        let residue = (value % t + t) % t
        return residue > t / 2 ? residue - t : residue
    }

    func sum(_ x: [Int64], _ y: [Int64]) -> [Int64] { zip(x, y).map { reduced($0 + $1) } }
    func difference(_ x: [Int64], _ y: [Int64]) -> [Int64] { zip(x, y).map { reduced($0 - $1) } }
    func product(_ x: [Int64], _ y: [Int64]) -> [Int64] {
        zip(x, y).map { x, y in
            let (high, low) = x.magnitude.multipliedFullWidth(by: y.magnitude)
            let residue = Int64(UInt64(t).dividingFullWidth((high, low)).remainder)
            return reduced((x < 0) == (y < 0) ? residue : -residue)
        }
    }

    func rotated(_ x: [Int64], by steps: Int) -> [Int64] {
        let columns = encoder.columnCount
        return x.indices.map { x[$0 / columns * columns + ($0 % columns + steps % columns + columns) % columns] }
    }

    func swapped(_ x: [Int64]) -> [Int64] {
        Array(x[encoder.columnCount...] + x[..<encoder.columnCount])
    }
}
