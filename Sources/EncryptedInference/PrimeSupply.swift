import RLWE

/// The primes of one ring, each length searched once however often it is asked for.
struct PrimeSupply {
    let degree: Int
    private var found: [Int: [UInt64]] = [:]

    init(degree: Int) { self.degree = degree }

    /// The largest primes of so many bits that are not taken, and takes them; fewer where there are no more.
    mutating func take(_ count: Int, bits: Int, from taken: inout Set<UInt64>) -> [UInt64] {
        let primes = largest(count, bits: bits, besides: taken)
        taken.formUnion(primes)
        return primes
    }

    /// The largest primes of so many bits that are not taken.
    mutating func largest(_ count: Int, bits: Int, besides taken: Set<UInt64>) -> [UInt64] {
        let needed = count + taken.count
        if needed > found[bits]?.count ?? 0, !exhausted.contains(bits) {
            // More than now, since what comes next takes some more.
            let primes = Primes.nttPrimes(bits: bits, degree: degree, count: 2 * needed)
            if primes.count < 2 * needed { exhausted.insert(bits) }
            found[bits] = primes
        }
        return Array((found[bits] ?? []).lazy.filter { !taken.contains($0) }.prefix(count))
    }

    /// Lengths that have no more primes than were found.
    private var exhausted: Set<Int> = []
}
