import Crypto
import RLWE
import RealModule

/// A homomorphic encryption scheme over RLWE; the raw value is its code in the parameter digest.
public enum Scheme: UInt8, Sendable, Hashable, Codable, CaseIterable {
    case bfv = 1
    case ckks = 2

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        switch try container.decode(String.self).lowercased() {
        case "bfv": self = .bfv
        case "ckks": self = .ckks
        default: throw DecodingError.dataCorruptedError(in: container, debugDescription: "scheme is ckks or bfv")
        }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(self == .bfv ? "bfv" : "ckks")
    }
}

/// What fixes a ring and its moduli: scheme, N, ciphertext primes q, special primes p, primes per
/// key-switching digit. The CKKS scale is not a part of it.
///
/// A value of this type has passed every check. ``Codable`` decodes with the security table enforced.
public struct EncryptionParameters: Sendable, Hashable {
    public let scheme: Scheme
    /// log2 of the ring degree N, 11 to 16.
    public let logN: Int
    /// Ciphertext primes; a ciphertext of level l has the first l of them.
    public let q: [UInt64]
    /// Special primes of hybrid key switching; none means that there are no evaluation keys.
    public let p: [UInt64]
    /// Ciphertext primes per digit; 0 where `p` is empty.
    public let alpha: Int
    /// Plaintext modulus of BFV; 0 for CKKS.
    public let t: UInt64
    /// What was asked of the moduli.
    public let security: SecurityRequirement

    public static let logNRange = 11...16
    /// Primes of each kind that are taken at most.
    public static let maximumPrimes = 64

    /// - Throws: ``HEError/invalidParameters(reason:)``, ``HEError/insecureParameters(object:bits:logN:maximum:)``.
    public init(
        scheme: Scheme, logN: Int, q: [UInt64], p: [UInt64], alpha: Int, t: UInt64 = 0,
        security: SecurityRequirement = .classical128
    ) throws(HEError) {
        self.scheme = scheme
        self.logN = logN
        self.q = q
        self.p = p
        self.alpha = alpha
        self.t = t
        self.security = security
        func require(_ condition: Bool, _ reason: String) throws(HEError) {
            if !condition { throw .invalidParameters(reason: reason) }
        }
        try require(Self.logNRange.contains(logN), "logN is in \(Self.logNRange)")
        try require((1...Self.maximumPrimes).contains(q.count), "q lists 1 to \(Self.maximumPrimes) primes")
        try require(p.count <= Self.maximumPrimes, "p lists at most \(Self.maximumPrimes) primes")
        try require(p.isEmpty == (alpha == 0), "alpha is 0 exactly where p is empty")
        try require((0...q.count).contains(alpha), "alpha is at most the number of primes q")
        try require(Set(q + p).count == q.count + p.count, "no prime is listed twice")
        for prime in q + p {
            let valid = prime < 1 << 60 && prime % (2 << UInt64(logN)) == 1 && Primes.isPrime(prime)
            try require(valid, "\(prime) is not a prime below 2^60 that is 1 modulo 2N")
        }
        switch scheme {
        case .ckks: try require(t == 0, "CKKS has no plaintext modulus t")
        case .bfv:
            try require(t >= 2 && t < 1 << 60, "BFV needs a plaintext modulus t of 2 or more, below 2^60")
            try require(!(q + p).contains(t), "the plaintext modulus t is none of the primes q and p")
        }
        try requireSecurity(of: q, object: "the ciphertext modulus")
        if !p.isEmpty { try requireSecurity(of: [q[0]] + p, object: "an evaluation key of level 1") }
    }

    /// Checks one object's own modulus against the table.
    /// - Throws: ``HEError/insecureParameters(object:bits:logN:maximum:)``.
    func requireSecurity(of primes: [UInt64], object: String) throws(HEError) {
        guard security == .classical128 else { return }
        guard let maximum = SecurityTable.maximumModulusBits(logN: logN) else {
            throw .invalidParameters(reason: "the security table has no row for N = 2^\(logN)")
        }
        let bits = Self.log2(primes)
        guard bits <= Double(maximum) else {
            throw .insecureParameters(object: object, bits: Int(bits.rounded(.up)), logN: logN, maximum: maximum)
        }
    }

    static func log2(_ primes: some Sequence<UInt64>) -> Double { primes.reduce(0) { $0 + .log2(Double($1)) } }

    /// N.
    public var degree: Int { 1 << logN }
    /// Values that one plaintext holds: N/2 complex numbers, or N integers.
    public var slotCount: Int {
        switch scheme {
        case .ckks: degree / 2
        case .bfv: degree
        }
    }
    /// A rotation by so many slots changes nothing: N/2, in BFV that of each of its two rows.
    public var rotationPeriod: Int { degree / 2 }
    /// Digits of an evaluation key of level `level`.
    public func digitCount(level: Int) -> Int { alpha == 0 ? 0 : (level + alpha - 1) / alpha }

    /// The highest level at which an evaluation key of these parameters is secure; 0 for none.
    public var maximumEvaluationKeyLevel: Int {
        guard !p.isEmpty else { return 0 }
        for level in stride(from: q.count, through: 1, by: -1)
        where (try? requireSecurity(of: q.prefix(level) + p, object: "")) != nil { return level }
        return 0
    }

    /// pd of derivation suite 1, 2: SHA-256 of a fixed encoding of everything but the scale. 32 bytes.
    public var digest: [UInt8] {
        var input = Array("HKMS-params-v1".utf8) + [0, 0]
        input += [scheme.rawValue, UInt8(logN), 1, 1]  // uniform ternary secret, CBD-21 error
        for short in [q.count, p.count, alpha, 0] { input += [UInt8(short >> 8), UInt8(short & 0xFF)] }
        for word in q + p + [t] {
            for shift in stride(from: 56, through: 0, by: -8) {
                input.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return Array(SHA256.hash(data: input))
    }
}

extension EncryptionParameters: Codable {
    private enum CodingKeys: String, CodingKey { case scheme, logN, q, p, alpha, t }

    public init(from decoder: any Decoder) throws { try self.init(from: decoder, security: .classical128) }

    private init(from decoder: any Decoder, security: SecurityRequirement) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            scheme: container.decode(Scheme.self, forKey: .scheme),
            logN: container.decode(Int.self, forKey: .logN),
            q: container.decode([UInt64].self, forKey: .q),
            p: container.decode([UInt64].self, forKey: .p),
            alpha: container.decode(Int.self, forKey: .alpha),
            t: container.decodeIfPresent(UInt64.self, forKey: .t) ?? 0,
            security: security)
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(scheme, forKey: .scheme)
        try container.encode(logN, forKey: .logN)
        try container.encode(q, forKey: .q)
        try container.encode(p, forKey: .p)
        try container.encode(alpha, forKey: .alpha)
        if scheme == .bfv { try container.encode(t, forKey: .t) }
    }

    /// Decodes without the security check: for printing test vectors, never in a server.
    public struct InsecureForTestsOnly: Decodable, Sendable {
        public let parameters: EncryptionParameters

        public init(from decoder: any Decoder) throws {
            parameters = try EncryptionParameters(from: decoder, security: .insecureForTestsOnly)
        }
    }
}
