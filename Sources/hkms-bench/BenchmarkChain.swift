import Foundation
import HomomorphicEncryption
import RLWE

/// Prime chains to compare with.
///
/// CKKS: other libraries take [60, 40 x levels, 60] bits: 2, 7 and 18 rescalings at a scale of 2^40, moduli of 200, 400
/// and 840 bits with the special prime. Our primes have 50 bits at most, so the last level has 10 bits of headroom above
/// the scale where those of 60 bits have 20.
///
/// BFV: t = 65537. OpenFHE takes two primes of 60 bits for one multiplication and has no special prime; SEAL's default
/// is all that the table of 2018 allows, 109, 218, 438 and 881 bits.
enum BenchmarkChain {
    /// Chains of equal depth and scale, each within the security table: bits of q / bits of p / alpha.
    ///
    /// A digit of two primes needs special primes of 89 bits, 79 where the first prime stands alone; what the
    /// other libraries' total leaves for them is 70, at every degree. So:
    private static let ckks: [String: [Int: String]] = [
        // A total modulus no larger than theirs: 180, 380, 820 bits. One prime a digit.
        "equal": [13: "50,40x2/50/1", 14: "50,40x7/50/1", 15: "50,40x18/50/1"],
        // The security table alone (214, 430, 868 bits): 420 and 860 bits, 20 more than theirs. Two primes a
        // digit: half the digits, so half the work and size of an evaluation key. At N = 2^13 a first prime of
        // 50 bits leaves no room for a second special prime.
        "longer": [13: "50,40x2/50/1", 14: "50,40x7/45x2/2", 15: "50,40x18/45x2/2"],
    ]

    /// With the special prime, no larger than the modulus of the library that is compared with.
    private static let bfv: [String: [Int: String]] = [
        // One multiplication, but for a probability of 2^-128: 120 bits, where the security table allows them.
        "shallow": [12: "35x2/36/1", 13: "38x2/44/1", 14: "39x2/42/1", 15: "40x2/40/1"],
        // The presets: the security table of 2024, 106, 214, 430 and 868 bits.
        "deep": [
            12: "35x2/36/1", 13: "43x3,42/43/1", 14: "48x5,47x2/48x2/2", 15: "49,48x2,49,48x2,49,48x8/49,48x2/3",
        ],
    ]

    static func names(_ scheme: Scheme) -> [String] { (scheme == .bfv ? bfv : ckks).keys.sorted() }

    /// The one that is taken where none is named.
    static func standard(_ scheme: Scheme) -> String { scheme == .bfv ? "shallow" : "equal" }

    /// - Parameter chain: a name in the table or a chain spelled out.
    static func parameters(_ scheme: Scheme, _ chain: String, logN: Int) throws -> EncryptionParameters {
        var text = chain
        if let known = (scheme == .bfv ? bfv : ckks)[chain] {
            guard let row = known[logN] else { throw BenchmarkError.noChain(chain, logN: logN) }
            text = row
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard EncryptionParameters.logNRange.contains(logN), parts.count == 3, let alpha = Int(parts[2]),
            let qBits = bits(parts[0]), let pBits = bits(parts[1])
        else { throw BenchmarkError.malformedChain(text, names: names(scheme)) }
        var used: Set<UInt64> = []
        func primes(_ bits: [Int]) throws -> [UInt64] {
            try bits.map { count in
                let found = Primes.nttPrimes(bits: count, degree: 1 << logN, count: 1, excluding: used)
                guard let prime = found.first else { throw BenchmarkError.noPrime(bits: count, logN: logN) }
                used.insert(prime)
                return prime
            }
        }
        return try EncryptionParameters(
            scheme: scheme, logN: logN, q: primes(qBits), p: primes(pBits), alpha: alpha,
            t: scheme == .bfv ? BFVEncoder.batchingModulus(degree: 1 << logN) : 0)
    }

    /// "50,40x2" is 50, 40, 40.
    private static func bits(_ text: Substring) -> [Int]? {
        var result: [Int] = []
        for item in text.split(separator: ",", omittingEmptySubsequences: false) {
            let factors = item.split(separator: "x", omittingEmptySubsequences: false)
            guard (1...2).contains(factors.count), let bits = Int(factors[0]), (20...60).contains(bits),
                let count = factors.count == 2 ? Int(factors[1]) : 1,
                (1...EncryptionParameters.maximumPrimes).contains(count)
            else { return nil }
            result += Array(repeating: bits, count: count)
        }
        return result
    }
}

/// A chain as it is printed beside results.
struct ChainReport: Encodable {
    let q, p: [UInt64]
    let qBits, pBits: [Int]
    /// Primes a key-switching digit.
    let alpha: Int
    let digits: Int
    /// Rescalings that a fresh CKKS ciphertext stands, multiplications one after another that a BFV one does.
    let levels: Int
    /// log2 of the product of all primes, the modulus of an evaluation key.
    let totalBits: Double
    /// What the security table allows.
    let maximumBits: Int?

    init(_ parameters: EncryptionParameters) {
        func bits(_ prime: UInt64) -> Int { 64 - prime.leadingZeroBitCount }
        q = parameters.q
        p = parameters.p
        qBits = q.map(bits)
        pBits = p.map(bits)
        alpha = parameters.alpha
        digits = parameters.digitCount(level: q.count)
        levels = parameters.scheme == .bfv ? Self.depth(parameters) : q.count - 1
        totalBits = (q + p).reduce(0) { $0 + log2(Double($1)) }
        maximumBits = SecurityTable.maximumModulusBits(logN: parameters.logN)
    }

    private static func depth(_ parameters: EncryptionParameters) -> Int {
        guard let context = try? EncryptionContext.shared(parameters) else { return 0 }
        return (1...64).prefix { depth in
            (try? BFVCircuitProfile(Array(repeating: .multiply, count: depth)).check(context)) != nil
        }.count
    }
}

enum BenchmarkError: Error, CustomStringConvertible {
    case malformedChain(String, names: [String])
    case noChain(String, logN: Int)
    case noOperation(String)
    case noPrime(bits: Int, logN: Int)
    case noSetting(String)
    case notPrepared

    var description: String {
        switch self {
        case .malformedChain(let text, let names):
            "\(text) is no chain: name one (\(names.joined(separator: ", "))) or give bits of q, bits of p and alpha, "
                + "as 50,40x7/45x2/2"
        case .noChain(let name, let logN): "the chain \(name) is not listed for N = 2^\(logN): spell one out"
        case .noOperation(let name): "this scheme has no operation \(name)"
        case .noPrime(let bits, let logN): "too few primes of \(bits) bits are 1 modulo 2N at N = 2^\(logN)"
        case .noSetting(let variable): "\(variable) is not set: run scripts/bench kms"
        case .notPrepared: "an operation was timed before what it needs was made"
        }
    }
}
