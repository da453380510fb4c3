import Foundation
import HomomorphicEncryption
import RLWE

/// Prime chains to compare with. Other libraries take [60, 40 x levels, 60] bits: 2, 7 and 18 rescalings at a
/// scale of 2^40, moduli of 200, 400 and 840 bits with the special prime.
///
/// Our primes have 50 bits at most, so the last level has 10 bits of headroom above the scale where those of
/// 60 bits have 20.
enum BenchmarkChain {
    /// Chains of equal depth and scale, each within the security table: bits of q / bits of p / alpha.
    ///
    /// A digit of two primes needs special primes of 89 bits, 79 where the first prime stands alone; what the
    /// other libraries' total leaves for them is 70, at every degree. So:
    private static let table: [String: [Int: String]] = [
        // A total modulus no larger than theirs: 180, 380, 820 bits. One prime a digit.
        "equal": [13: "50,40x2/50/1", 14: "50,40x7/50/1", 15: "50,40x18/50/1"],
        // The security table alone (214, 430, 868 bits): 420 and 860 bits, 20 more than theirs. Two primes a
        // digit: half the digits, so half the work and size of an evaluation key. At N = 2^13 a first prime of
        // 50 bits leaves no room for a second special prime.
        "longer": [13: "50,40x2/50/1", 14: "50,40x7/45x2/2", 15: "50,40x18/45x2/2"],
    ]

    static var names: [String] { table.keys.sorted() }

    /// - Parameter chain: a name in the table or a chain spelled out.
    static func parameters(_ chain: String, logN: Int) throws -> EncryptionParameters {
        var text = chain
        if let known = table[chain] {
            guard let row = known[logN] else { throw BenchmarkError.noChain(chain, logN: logN) }
            text = row
        }
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard EncryptionParameters.logNRange.contains(logN), parts.count == 3, let alpha = Int(parts[2]),
            let qBits = bits(parts[0]), let pBits = bits(parts[1])
        else { throw BenchmarkError.malformedChain(text) }
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
            scheme: .ckks, logN: logN, q: primes(qBits), p: primes(pBits), alpha: alpha)
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
    /// Rescalings that a fresh ciphertext stands.
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
        levels = q.count - 1
        totalBits = (q + p).reduce(0) { $0 + log2(Double($1)) }
        maximumBits = SecurityTable.maximumModulusBits(logN: parameters.logN)
    }
}

enum BenchmarkError: Error, CustomStringConvertible {
    case malformedChain(String)
    case noChain(String, logN: Int)
    case noPrime(bits: Int, logN: Int)
    case notPrepared

    var description: String {
        switch self {
        case .malformedChain(let text):
            "\(text) is no chain: name one (\(BenchmarkChain.names.joined(separator: ", "))) or give bits of q, "
                + "bits of p and alpha, as 50,40x7/45x2/2"
        case .noChain(let name, let logN): "the chain \(name) is not listed for N = 2^\(logN): spell one out"
        case .noPrime(let bits, let logN): "too few primes of \(bits) bits are 1 modulo 2N at N = 2^\(logN)"
        case .notPrepared: "an operation was timed before what it needs was made"
        }
    }
}
