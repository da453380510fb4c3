import RLWE
import Synchronization

/// What an evaluation key switches from. Raw values are the kinds of derivation suite 1.
public enum EvaluationKeyKind: UInt16, Sendable, Hashable, Codable {
    /// s^2
    case relinearization = 3
    /// s(X^g)
    case galois = 4
    /// Another key set's secret.
    case switching = 5
}

/// Names one evaluation key of a key set.
public struct EvaluationKeyID: Sendable, Hashable, Codable {
    public let kind: EvaluationKeyKind
    /// The Galois element g for ``EvaluationKeyKind/galois``, odd, 3..<2N; 0 for the others.
    public let galois: UInt32
    /// The highest ciphertext level that the key serves.
    public let level: Int
    public let generation: UInt32

    public init(kind: EvaluationKeyKind, galois: UInt32 = 0, level: Int, generation: UInt32 = 0) {
        self.kind = kind
        self.galois = galois
        self.level = level
        self.generation = generation
    }

    /// - Throws: ``HEError`` where level or Galois element do not exist in these parameters, or the
    ///   key's own modulus is below 128-bit security.
    public func validate(for context: EncryptionContext) throws(HEError) {
        guard context.parameters.alpha > 0 else {
            throw .invalidParameters(reason: "parameters without special primes have no evaluation keys")
        }
        try context.requireLevel(level)
        switch kind {
        case .galois:
            guard galois & 1 == 1, galois > 1, galois < 2 * UInt32(context.degree) else {
                throw .malformedObject(reason: "a Galois element is odd, above 1 and below 2N")
            }
        case .relinearization, .switching:
            guard galois == 0 else { throw .malformedObject(reason: "only Galois keys have a Galois element") }
        }
        try context.parameters.requireSecurity(
            of: context.parameters.q.prefix(level) + context.parameters.p,
            object: "an evaluation key of level \(level)")
    }
}

/// A key-switching key in the NTT domain: for each digit j, b_j = -(a_j s + e_j) + P g_j target, and a_j.
public struct EvaluationKey: Sendable {
    public let context: EncryptionContext
    public let id: EvaluationKeyID
    /// 32 bytes that the uniform halves are made from.
    public let rho: [UInt8]
    /// One a digit, over q_0 ..< q_level and all p.
    public let b: [RNSPolynomial]
    private let halves: UniformHalves

    /// One a digit, from ``rho``; a key that was just made has them expanded when they are first asked for, because it
    /// is mostly made to be sent away.
    public var a: [RNSPolynomial] {
        get throws {
            try halves.expanded {
                try b.indices.map { digit in
                    try UniformHalf.expand(rho: rho, digit: digit, basis: context.keyBasis(level: id.level)) { row in
                        Self.rowLabel(row, level: id.level, context: context)
                    }
                }
            }
        }
    }

    /// Expands the uniform halves.
    public init(context: EncryptionContext, id: EvaluationKeyID, rho: [UInt8], b: [RNSPolynomial]) throws {
        try id.validate(for: context)
        let basis = context.keyBasis(level: id.level)
        guard b.count == context.parameters.digitCount(level: id.level), rho.count == 32,
            b.allSatisfy({ $0.form == .evaluation && $0.basis.isCompatible(with: basis) })
        else { throw HEError.parameterMismatch }
        self.context = context
        self.id = id
        self.rho = rho
        self.b = b
        halves = UniformHalves()
        _ = try a
    }

    /// A key that was just made.
    /// - Parameter b: one a digit, over the key basis of the id's level, in the NTT domain.
    package init(made context: EncryptionContext, id: EvaluationKeyID, rho: [UInt8], b: [RNSPolynomial]) {
        self.context = context
        self.id = id
        self.rho = rho
        self.b = b
        halves = UniformHalves()
    }

    /// q_r has row r and p_k has row nQ + k, at every level (suite 1, 8).
    public static func rowLabel(_ row: Int, level: Int, context: EncryptionContext) -> UInt32 {
        UInt32(row < level ? row : context.maximumLevel + row - level)
    }
}

/// The uniform halves of one key, shared by its copies.
private final class UniformHalves: Sendable {
    private let polynomials = Mutex<[RNSPolynomial]?>(nil)

    /// - Parameter expand: called at most once, unless it throws.
    func expanded(_ expand: () throws -> [RNSPolynomial]) throws -> [RNSPolynomial] {
        try polynomials.withLock { known in
            if let known { return known }
            let made = try expand()
            known = made
            return made
        }
    }
}

/// The evaluation keys that a circuit runs with.
public struct EvaluationKeySet: Sendable {
    public private(set) var relinearization: EvaluationKey?
    public private(set) var galois: [UInt32: EvaluationKey] = [:]

    public init(_ keys: [EvaluationKey] = []) {
        for key in keys { insert(key) }
    }

    /// Adds a key; one for the same purpose is replaced if its level is lower.
    public mutating func insert(_ key: EvaluationKey) {
        switch key.id.kind {
        case .relinearization:
            if relinearization.map({ $0.id.level < key.id.level }) ?? true { relinearization = key }
        case .galois:
            if galois[key.id.galois].map({ $0.id.level < key.id.level }) ?? true { galois[key.id.galois] = key }
        case .switching: break  // used by name, never by a circuit
        }
    }
}
