/// Arithmetic on public 60-bit numbers: primality, roots of unity, the search for NTT primes.
///
/// Nothing here is constant-time; nothing here sees a secret.
public enum Primes {
    static func multiply(_ a: UInt64, _ b: UInt64, modulo q: UInt64) -> UInt64 {
        q.dividingFullWidth(a.multipliedFullWidth(by: b)).remainder
    }

    static func power(_ base: UInt64, _ exponent: UInt64, modulo q: UInt64) -> UInt64 {
        var result: UInt64 = 1
        var square = base % q
        var rest = exponent
        while rest > 0 {
            if rest & 1 == 1 { result = multiply(result, square, modulo: q) }
            square = multiply(square, square, modulo: q)
            rest >>= 1
        }
        return result
    }

    /// a^-1 modulo the prime q, by Fermat.
    static func inverse(_ a: UInt64, modulo q: UInt64) -> UInt64 { power(a, q - 2, modulo: q) }

    /// Miller-Rabin with the first twelve primes as bases: a proof for every 64-bit number
    /// (Sorenson and Webster, 2015).
    public static func isPrime(_ n: UInt64) -> Bool {
        let bases: [UInt64] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]
        guard n > 37 else { return bases.contains(n) }
        guard bases.allSatisfy({ n % $0 != 0 }) else { return false }
        let twos = (n - 1).trailingZeroBitCount
        let odd = (n - 1) >> UInt64(twos)
        candidate: for base in bases {
            var x = power(base, odd, modulo: n)
            if x == 1 || x == n - 1 { continue }
            for _ in 1..<max(twos, 1) {
                x = multiply(x, x, modulo: n)
                if x == n - 1 { continue candidate }
            }
            return false
        }
        return true
    }

    /// The least element of multiplicative order `order`, a power of two that divides q - 1.
    static func leastPrimitiveRoot(order: UInt64, modulo q: UInt64) -> UInt64 {
        // g^((q-1)/order) has order `order` exactly if its (order/2)-th power is -1.
        var root: UInt64 = 0
        var candidate: UInt64 = 2
        while true {
            root = power(candidate, (q - 1) / order, modulo: q)
            if power(root, order / 2, modulo: q) == q - 1 { break }
            candidate += 1
        }
        // The other primitive roots are its odd powers.
        let square = multiply(root, root, modulo: q)
        var least = root
        for _ in 0..<(order / 2) {
            if root < least { least = root }
            root = multiply(root, square, modulo: q)
        }
        return least
    }

    /// The `count` largest primes of exactly `bits` bits that are 1 modulo 2 * degree, descending, none
    /// of them in `excluded`.
    public static func nttPrimes(
        bits: Int, degree: Int, count: Int, excluding excluded: Set<UInt64> = []
    ) -> [UInt64] {
        let step = UInt64(2 * degree)
        let top: UInt64 = 1 << UInt64(bits)
        var candidate = (top - 1) / step * step + 1
        if candidate >= top { candidate -= step }
        var primes: [UInt64] = []
        while primes.count < count, candidate >= top >> 1, candidate > step {
            if !excluded.contains(candidate), isPrime(candidate) { primes.append(candidate) }
            candidate -= step
        }
        return primes
    }
}
