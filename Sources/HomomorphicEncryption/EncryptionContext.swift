import RLWE
import RealModule
import Synchronization

/// What parameters need computed once: transforms of each prime, bases of each level, the constants
/// of key switching. Immutable and shared.
public final class EncryptionContext: Sendable {
    public let parameters: EncryptionParameters
    /// pd of derivation suite 1.
    public let parameterDigest: [UInt8]

    private let ciphertextBases: [RNSBasis]
    private let keyBases: [RNSBasis]
    let specialModuli: [NTTModulus]
    private let switchers = PerLevel<KeySwitcher>()
    private let rescalings = PerLevel<[UInt64]>()
    private let reconstructions = PerLevel<CRTReconstruction>()
    private let plaintextBases: Mutex<RNSBasis?> = Mutex(nil)
    private let messageScalings = PerLevel<BFVMessageScaling>()
    private let multipliers = PerLevel<BFVMultiplier>()
    private let auxiliaryModuli: Mutex<[NTTModulus]> = Mutex([])

    /// - Throws: ``HEError/invalidParameters(reason:)``.
    public init(_ parameters: EncryptionParameters) throws(HEError) {
        self.parameters = parameters
        parameterDigest = parameters.digest
        func moduli(_ primes: [UInt64]) throws(HEError) -> [NTTModulus] {
            var made: [NTTModulus] = []
            for prime in primes {
                do throws(RLWEError) {
                    made.append(try NTTModulus(value: prime, degree: parameters.degree))
                } catch { throw .invalidParameters(reason: error.description) }
            }
            return made
        }
        let q = try moduli(parameters.q)
        let p = try moduli(parameters.p)
        specialModuli = p
        ciphertextBases = (1...q.count).map { RNSBasis(Array(q.prefix($0))) }
        keyBases = (1...q.count).map { RNSBasis(Array(q.prefix($0)) + p) }
    }

    private static let cache = Mutex<[EncryptionParameters: EncryptionContext]>([:])

    /// The context from a process-wide table of the few that are in use.
    public static func shared(_ parameters: EncryptionParameters) throws(HEError) -> EncryptionContext {
        if let known = cache.withLock({ $0[parameters] }) { return known }
        let made = try EncryptionContext(parameters)
        return cache.withLock { table in
            if let known = table[parameters] { return known }
            if table.count >= 16 { table.removeAll() }
            table[parameters] = made
            return made
        }
    }

    public var degree: Int { parameters.degree }
    /// Level of a fresh ciphertext: the number of primes q.
    public var maximumLevel: Int { parameters.q.count }

    /// - Throws: ``HEError/invalidLevel(_:maximum:)``.
    public func requireLevel(_ level: Int) throws(HEError) {
        guard (1...maximumLevel).contains(level) else { throw .invalidLevel(level, maximum: maximumLevel) }
    }

    /// q_0 ..< q_level; the level must be valid.
    public func ciphertextBasis(level: Int) -> RNSBasis { ciphertextBases[level - 1] }

    /// q_0 ..< q_level, then all p: the rows of an evaluation key.
    public func keyBasis(level: Int) -> RNSBasis { keyBases[level - 1] }

    /// log2 of q_0 * ... * q_(level-1).
    public func modulusBits(level: Int) -> Double { EncryptionParameters.log2(parameters.q.prefix(level)) }

    /// Primes of digit `index` at a level, as indices into q.
    public func digitRange(_ index: Int, level: Int) -> Range<Int> {
        index * parameters.alpha..<min((index + 1) * parameters.alpha, level)
    }

    func keySwitcher(level: Int) throws(HEError) -> KeySwitcher {
        try switchers.at(level) { () throws(HEError) in try KeySwitcher(context: self, level: level) }
    }

    /// The inverse of the last prime of a level above 1, modulo each of those before it.
    func rescaling(level: Int) -> [UInt64] {
        rescalings.at(level) {
            let moduli = ciphertextBasis(level: level).moduli
            return moduli.dropLast().map { $0.inverse(moduli[level - 1].value % $0.value) }
        }
    }

    /// What brings residues of a level back to numbers; the level must be valid.
    func reconstruction(level: Int) -> CRTReconstruction {
        reconstructions.at(level) { CRTReconstruction(ciphertextBasis(level: level)) }
    }

    /// t as the one prime of a basis, so that plaintexts are polynomials like all others.
    /// - Throws: ``HEError/plaintextModulusDoesNotBatch(t:degree:example:)``,
    ///   ``HEError/invalidParameters(reason:)`` for CKKS parameters.
    package func plaintextBasis() throws(HEError) -> RNSBasis {
        try require(.bfv)
        if let known = plaintextBases.withLock({ $0 }) { return known }
        let modulus: NTTModulus
        do throws(RLWEError) { modulus = try NTTModulus(value: parameters.t, degree: degree) } catch {
            switch error {
            case .outOfMemory: throw .invalidParameters(reason: error.description)
            case .notAnNTTPrime:
                throw .plaintextModulusDoesNotBatch(
                    t: parameters.t, degree: degree, example: BFVEncoder.batchingModulus(degree: degree))
            }
        }
        return plaintextBases.withLock { known in
            let kept = known ?? RNSBasis([modulus])
            known = kept
            return kept
        }
    }

    /// BFV's messages into residues of a level and back.
    package func messageScaling(level: Int) throws(HEError) -> BFVMessageScaling {
        try messageScalings.at(level) { () throws(HEError) in
            BFVMessageScaling(plaintextBasis: try plaintextBasis(), ciphertextBasis: ciphertextBasis(level: level))
        }
    }

    /// BFV's products at a level.
    func multiplier(level: Int) throws(HEError) -> BFVMultiplier {
        try multipliers.at(level) { () throws(HEError) in try BFVMultiplier(context: self, level: level) }
    }

    /// The first of the primes that BFV's products go through, as many as have a product of more than `bits` bits; all
    /// levels share them. They have 50 bits, the most that the vector kernels take.
    func auxiliaryModuli(bits: Double) throws(HEError) -> [NTTModulus] {
        // Each has 49 bits at least.
        let primes = Primes.nttPrimes(
            bits: 50, degree: degree, count: Int(bits / 49) + 1,
            excluding: Set(parameters.q + parameters.p + [parameters.t]))
        let count = primes.indices.first { EncryptionParameters.log2(primes[...$0]) > bits }.map { $0 + 1 }
        guard let count else {
            throw .invalidParameters(reason: "there are not enough primes for products modulo these q")
        }
        return try auxiliaryModuli.withLock { known throws(HEError) in
            for prime in primes[..<count].dropFirst(known.count) {
                do throws(RLWEError) { known.append(try NTTModulus(value: prime, degree: degree)) } catch {
                    throw .invalidParameters(reason: error.description)
                }
            }
            return Array(known.prefix(count))
        }
    }

    /// - Throws: ``HEError/invalidParameters(reason:)`` for another scheme's parameters.
    package func require(_ scheme: Scheme) throws(HEError) {
        guard parameters.scheme == scheme else {
            throw .invalidParameters(
                reason: scheme == .ckks
                    ? "these are BFV parameters; this needs CKKS ones"
                    : "these are CKKS parameters; this needs BFV ones")
        }
    }

    /// - Throws: ``HEError/parameterMismatch``.
    func require(_ other: EncryptionContext) throws(HEError) {
        guard self === other || parameterDigest == other.parameterDigest else { throw .parameterMismatch }
    }

    /// Whether a plaintext, which anybody may put together, is one of these parameters.
    /// - Throws: ``HEError/invalidLevel(_:maximum:)``, ``HEError/parameterMismatch``, ``HEError/invalidScale(_:)``,
    ///   ``HEError/invalidParameters(reason:)`` for BFV parameters.
    package func require(_ plaintext: CKKSPlaintext) throws(HEError) {
        try require(.ckks)
        try requireLevel(plaintext.level)
        guard plaintext.polynomial.form == .evaluation,
            plaintext.polynomial.basis.isCompatible(with: ciphertextBasis(level: plaintext.level))
        else { throw .parameterMismatch }
        guard plaintext.scale.isFinite, plaintext.scale >= 1 else { throw .invalidScale(plaintext.scale) }
    }

    /// Whether a BFV plaintext is one of these parameters.
    /// - Throws: ``HEError/parameterMismatch``, and what ``plaintextBasis()`` throws.
    package func require(_ plaintext: BFVPlaintext) throws(HEError) {
        guard plaintext.polynomial.form == .coefficient,
            plaintext.polynomial.basis.isCompatible(with: try plaintextBasis())
        else { throw .parameterMismatch }
    }
}

/// What a level needs computed once, made when it is first asked for.
private final class PerLevel<Value: Sendable>: Sendable {
    private let values = BriefLock<[Int: Value]>([:])

    func at<Failure: Error>(_ level: Int, _ make: () throws(Failure) -> Value) throws(Failure) -> Value {
        if let known = values.withLock({ $0[level] }) { return known }
        let made = try make()
        // Of two threads that made one, both take the first.
        return values.withLock { table in
            let kept = table[level] ?? made
            table[level] = kept
            return kept
        }
    }
}
