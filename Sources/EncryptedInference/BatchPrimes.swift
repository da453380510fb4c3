import HomomorphicEncryption
import RLWE

/// The primes of a schedule: those that are left at the end, and those that each dense layer drops.
struct BatchPrimes {
    let parameters: EncryptionParameters
    /// Primes that each dense layer drops.
    let dropCounts: [Int]

    /// - Parameters:
    ///   - base: bits that are left at the end.
    ///   - drops: bits that each dense layer drops.
    ///   - digitPrimes: primes of a digit of a key switch.
    /// - Returns: nil where there are no such secure primes.
    init?(
        base: Int, drops: [Int], _ layout: BatchLayout, _ protection: WeightProtection, logN: Int,
        digitPrimes alpha: Int
    ) {
        guard let maximum = SecurityTable.maximumModulusBits(logN: logN), drops.reduce(base, +) + 2 <= maximum else {
            return nil
        }
        // The first dense layer's primes need no keys where nothing is switched before they are gone.
        var keyDrops = drops
        if protection == .plain, case .dense(let first)? = layout.steps.first, first.babies == 1 {
            keyDrops[0] = 0
        }
        let needsKeys = layout.positions > 1 || protection.isEncrypted || layout.steps.count > drops.count
        var best: (cost: Int, parameters: EncryptionParameters, counts: [Int])?
        for longest in stride(from: 50, through: max(24, logN + 10), by: -1) {
            func count(_ bits: Int) -> Int { (bits + longest - 1) / longest }
            let counts = drops.map(count)
            // Bits of each prime, from the first.
            var lengths: [Int] = []
            for bits in [base] + drops.reversed() where bits > 0 {
                let parts = count(bits)
                lengths += (0..<parts).map { (bits + parts - 1 - $0) / parts }
            }
            let keyLevel = lengths.count - zip(counts, keyDrops).reduce(0) { $0 + ($1.1 == 0 ? $1.0 : 0) }
            guard lengths.allSatisfy({ $0 >= logN + 4 }), lengths.count <= 32,
                keyLevel > 0
            else { continue }
            if !needsKeys {
                guard alpha == 1, lengths.count < best?.cost ?? .max,
                    let parameters = Self.parameters(lengths, special: [], alpha: 0, logN: logN)
                else { continue }
                best = (lengths.count, parameters, counts)
                continue
            }
            guard alpha <= keyLevel else { continue }
            let digits = stride(from: 0, to: keyLevel, by: alpha).map {
                lengths[$0..<min($0 + alpha, keyLevel)].reduce(0, +)
            }
            let digit = digits.max() ?? 0
            let room = maximum - lengths.prefix(keyLevel).reduce(0, +)
            let special = min(room, digit + 4, 50 * alpha)
            guard special >= digit else { continue }
            let parts = (special + 49) / 50
            let cost = digits.count * (keyLevel + parts)
            guard cost < best?.cost ?? .max,
                let parameters = Self.parameters(
                    lengths, special: (0..<parts).map { (special + parts - 1 - $0) / parts }, alpha: alpha,
                    logN: logN),
                parameters.maximumEvaluationKeyLevel >= keyLevel
            else { continue }
            best = (cost, parameters, counts)
        }
        guard let best else { return nil }
        parameters = best.parameters
        dropCounts = best.counts
    }

    private static func parameters(
        _ lengths: [Int], special: [Int], alpha: Int, logN: Int
    ) -> EncryptionParameters? {
        var used: Set<UInt64> = []
        var primes: [UInt64] = []
        for bits in lengths + special {
            guard
                let prime = Primes.nttPrimes(bits: bits, degree: 1 << logN, count: 1, excluding: used).first
            else { return nil }
            used.insert(prime)
            primes.append(prime)
        }
        return try? EncryptionParameters(
            scheme: .ckks, logN: logN, q: Array(primes.prefix(lengths.count)),
            p: Array(primes.dropFirst(lengths.count)), alpha: alpha)
    }
}
