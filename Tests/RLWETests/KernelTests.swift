import CRLWEKernels
import RLWE
import SecretMemory
import TestSupport
import Testing

@Suite struct KernelTests {
    static let primes: [UInt64] = [30, 36, 43, 50, 59, 60].compactMap {
        Primes.nttPrimes(bits: $0, degree: 2048, count: 1).first
    }

    @Test("modular vectors agree with wide integers, extremes included", arguments: primes)
    func vectors(prime: UInt64) throws {
        let degree = 2048
        let modulus = try NTTModulus(value: prime, degree: degree)
        var a = residues(seed: prime, degree, below: prime)
        var b = residues(seed: prime &+ 1, degree, below: prime)
        a.replaceSubrange(0..<6, with: [0, 0, prime - 1, prime - 1, 1, prime - 1])
        b.replaceSubrange(0..<6, with: [0, prime - 1, prime - 1, 1, prime - 1, 0])
        var out = [UInt64](repeating: 0, count: degree)
        func check(_ name: Comment, _ expected: (UInt64, UInt64) -> UInt64) {
            #expect(zip(zip(a, b), out).allSatisfy { expected($0.0, $0.1) == $1 }, name)
        }
        modulus.add(&out, a, b)
        check("add") { addMod($0, $1, prime) }
        modulus.subtract(&out, a, b)
        check("subtract") { addMod($0, prime - $1, prime) }
        modulus.negate(&out, a)
        check("negate") { a, _ in (prime - a) % prime }
        modulus.multiply(&out, a, b)
        check("multiply") { mulMod($0, $1, prime) }
        out = b
        modulus.multiplyAdd(&out, a, b)
        check("multiplyAdd") { addMod($1, mulMod($0, $1, prime), prime) }
        modulus.multiply(&out, a, scalar: prime - 1)
        check("scalar") { a, _ in mulMod(a, prime - 1, prime) }

        var wide = SeededGenerator(prime)
        a = (0..<degree).map { _ in wide.next() }
        a.replaceSubrange(0..<4, with: [UInt64.max, UInt64.max - 1, prime, 1 << 63])
        modulus.reduce(&out, a)
        check("reduce") { a, _ in a % prime }
        let signed = a.map { Int64(bitPattern: $0) }
        modulus.reduce(&out, signed: signed)
        check("signed") { a, _ in
            let value = Int64(bitPattern: a)
            let residue = value.magnitude % prime
            return value < 0 ? (prime - residue) % prime : residue
        }
    }

    @Test("centered conversion keeps the sign")
    func centered() throws {
        let degree = 2048
        let from = try NTTModulus(value: Self.primes[3], degree: degree)
        let to = try NTTModulus(value: Self.primes[0], degree: degree)
        var a = residues(seed: 3, degree, below: from.value)
        a.replaceSubrange(0..<4, with: [0, from.value / 2, from.value / 2 + 1, from.value - 1])
        var out = [UInt64](repeating: 0, count: degree)
        to.reduceCentered(&out, a, from: from)
        for (x, y) in zip(a, out) {
            let value = x <= from.value / 2 ? Int64(x) : Int64(x) - Int64(from.value)
            let residue = value.magnitude % to.value
            #expect(y == (value < 0 ? (to.value - residue) % to.value : residue))
        }
    }

    @Test("packing round-trips and refuses what is not canonical", arguments: primes)
    func packing(prime: UInt64) throws {
        let degree = 2048
        let basis = RNSBasis([try NTTModulus(value: prime, degree: degree)])
        let words = residues(seed: 9, degree, below: prime)
        let original = polynomial([words], basis)
        var bytes: [UInt8] = []
        original.appendPacked(to: &bytes)
        #expect(bytes.count == degree * basis.moduli[0].bitCount / 8)
        let parsed = bytes.withUnsafeBytes { RNSPolynomial(packed: $0, basis: basis, form: .coefficient) }
        #expect(rows(try #require(parsed)) == [words])
        let shorter = bytes.dropLast().withUnsafeBytes { RNSPolynomial(packed: $0, basis: basis, form: .coefficient) }
        #expect(shorter == nil)
        let ones = [UInt8](repeating: 0xFF, count: bytes.count)
        #expect(ones.withUnsafeBytes { RNSPolynomial(packed: $0, basis: basis, form: .coefficient) } == nil)
    }

    @Test("ternary and noise samplers have their distributions")
    func samplers() throws {
        let degree = 1 << 16
        let key = try SecretBytes(count: 32)
        let ternary = try Samplers.ternary(degree: degree, key: key, x: 0, y: 0)
        let isTernary = Samplers.isTernary(ternary)
        #expect(isTernary)
        var counts = [0, 0, 0, 0]
        ternary.withUnsafeBytes {
            for byte in $0 { for shift in [0, 2, 4, 6] { counts[Int(byte >> UInt8(shift)) & 3] += 1 } }
        }
        #expect(counts[3] == 0)
        // Deviation of a count is sqrt(N * 2/9) = 121; six of them.
        for count in counts[0..<3] { #expect(abs(count - degree / 3) < 728) }

        let noise = try Samplers.noise(degree: degree, key: key, x: 0, y: 0)
        let values = noise.withUnsafeBytes { $0.map { Int(Int8(bitPattern: $0)) } }
        #expect(values.allSatisfy { abs($0) <= 21 })
        let mean = Double(values.reduce(0, +)) / Double(degree)
        let variance = Double(values.reduce(0) { $0 + $1 * $1 }) / Double(degree)
        #expect(abs(mean) < 0.08)
        #expect(abs(variance - 10.5) < 0.4)
    }

    @Test("sums of fractions are rounded to the nearest integer", arguments: primes, [1, 2, 17, 64])
    func fractions(prime: UInt64, count: Int) {
        let degree = 512
        let bits = UInt32(64 - prime.leadingZeroBitCount)
        var rows = (0..<count).map { residues(seed: prime &+ UInt64($0), degree, below: prime) }
        for row in rows.indices { rows[row].replaceSubrange(0..<3, with: [0, prime - 1, prime / 2]) }
        var out = [UInt64](repeating: 0, count: degree)
        withExtendedLifetime(rows) {
            hkms_nearest_sum_of_fractions(
                &out, rows.map { row in row.withUnsafeBufferPointer { $0.baseAddress } },
                [Double](repeating: 1 / Double(prime), count: count), count, bits, degree)
        }
        for i in 0..<degree {
            // (2 sum + q) / 2q, in two words.
            var (high, low): (UInt64, UInt64) = (0, 0)
            for row in rows {
                let (sum, overflow) = low.addingReportingOverflow(2 * row[i])
                (high, low) = (high + (overflow ? 1 : 0), sum)
            }
            let (sum, overflow) = low.addingReportingOverflow(prime)
            let (quotient, remainder) = (2 * prime).dividingFullWidth((high + (overflow ? 1 : 0), sum))
            // Where the sum is just above a half, it may be taken for one below, and the other way round.
            let close = Double(2 * prime) * Double(count * (count + 9)) * 0x1p-54
            let isAbove = Double(remainder) < close && out[i] + 1 == quotient
            let isBelow = Double(2 * prime - remainder) < close && out[i] == quotient + 1
            #expect(out[i] == quotient || isAbove || isBelow, "position \(i)")
        }
    }

    @Test("a keystream read in pieces is the keystream")
    func pieces() throws {
        let seed = [UInt8](0..<32)
        var whole = [UInt64](repeating: 0, count: 70_000)
        var stream = Keystream(publicSeed: seed, x: 1, y: 2)
        try whole.withUnsafeMutableBufferPointer { try stream.next($0) }
        var again = Keystream(publicSeed: seed, x: 1, y: 2)
        var position = 0
        for length in [1, 2, 3, 64, 5, 32768, 1000, 7] {
            var piece = [UInt64](repeating: 0, count: length)
            try piece.withUnsafeMutableBufferPointer { try again.next($0) }
            #expect(piece == Array(whole[position..<position + length]))
            position += length
        }
    }

    @Test(
        "primality is decided right",
        arguments: [
            (2, true), (4, false), (561, false), (3_215_031_751, false), (18_446_744_073_709_551_557, true),
            (18_446_744_073_709_551_556, false),
        ] as [(UInt64, Bool)])
    func primality(value: UInt64, expected: Bool) { #expect(Primes.isPrime(value) == expected) }
}
