import CRLWEKernels
import Foundation
import RLWE
import TestSupport
import Testing

/// The machine's own kernels have the bits of the portable ones, whatever they are given and however the caller has
/// set its floating-point unit.
@Suite(.serialized) struct KernelTwinTests {
    struct Case: Sendable, CustomStringConvertible {
        let logN: Int
        let prime: UInt64
        var degree: Int { 1 << logN }
        var description: String { "N = 2^\(logN), q = \(prime)" }
    }

    /// The largest and the smallest primes of a length, for rings up to 2^17.
    static let cases: [Case] = (3...17).flatMap { logN in
        [18, 20, 30, 36, 40, 49, 50, 51, 60].filter { $0 > logN + 1 }.flatMap { bits -> [Case] in
            let degree = 1 << logN
            var primes = Primes.nttPrimes(bits: bits, degree: degree, count: 1)
            var candidate = (UInt64(1) << UInt64(bits - 1)) / UInt64(2 * degree) * UInt64(2 * degree) + 1
            while candidate < 1 << UInt64(bits), !Primes.isPrime(candidate) { candidate += UInt64(2 * degree) }
            if candidate < 1 << UInt64(bits), candidate > 2 * UInt64(degree) { primes.append(candidate) }
            return Set(primes).sorted().map { Case(logN: logN, prime: $0) }
        }
    }

    /// Rows that arithmetic may stumble over, and two at random.
    private static func inputs(_ test: Case) -> [[UInt64]] {
        let (n, q) = (test.degree, test.prime)
        return [
            [UInt64](repeating: 0, count: n), [UInt64](repeating: q - 1, count: n),
            [UInt64](repeating: q / 2, count: n), (0..<n).map { $0 & 1 == 0 ? q - 1 : 0 },
            (0..<n).map { $0 == 0 ? 1 : 0 }, (0..<n).map { $0 == n - 1 ? q - 1 : 0 },
            residues(seed: q, n, below: q), residues(seed: q &+ 7, n, below: q),
        ]
    }

    /// Everything that the kernels make of some rows, one after another.
    private static func everything(_ test: Case, _ rows: [[UInt64]], words: [UInt64]) throws -> [[UInt64]] {
        let modulus = try NTTModulus(value: test.prime, degree: test.degree)
        let other = try NTTModulus(
            value: #require(Primes.nttPrimes(bits: 45, degree: test.degree, count: 1).first), degree: test.degree)
        let n = test.degree
        var results: [[UInt64]] = []
        func keep(_ body: (UnsafeMutablePointer<UInt64>) -> Void) {
            var out = [UInt64](repeating: 0, count: n)
            out.withUnsafeMutableBufferPointer { body($0.baseAddress!) }
            results.append(out)
        }
        func keep(from row: [UInt64], _ body: (UnsafeMutablePointer<UInt64>) -> Void) {
            keep {
                $0.update(from: row, count: n)
                body($0)
            }
        }
        let scalar = test.prime - 2
        let others = rows.map { $0.map { $0 % other.value } }
        for (index, a) in rows.enumerated() {
            let b = rows[(index + 3) % rows.count]
            let c = rows[(index + 5) % rows.count]
            keep(from: a) { modulus.transform($0) }
            keep(from: a) { modulus.inverseTransform($0) }
            keep { modulus.add($0, a, b) }
            keep { modulus.subtract($0, a, b) }
            keep { modulus.negate($0, a) }
            keep { modulus.multiply($0, a, b) }
            keep { modulus.multiplyPlus($0, a, b, c) }
            keep { modulus.inverseTransform($0, a) }
            keep { modulus.inverseTransform($0, a, factor: scalar, offset: test.prime / 2) }
            keep(from: c) { modulus.multiplyAdd($0, a, b) }
            keep { modulus.multiply($0, a, scalar: scalar) }
            keep(from: c) { modulus.multiplyAdd($0, a, scalar: scalar) }
            keep { other.reduceCentered($0, a, from: modulus) }
            let fused = results.count
            keep { out in
                a.withUnsafeBufferPointer { other.transform(out, .centered($0.baseAddress!, prime: test.prime)) }
            }
            keep {
                other.reduceCentered($0, a, from: modulus)
                other.transform($0)
            }
            #expect(results[fused] == results[fused + 1], "conversion and transform")
            let x = others[index]
            keep { out in
                a.withUnsafeBufferPointer {
                    other.divide(
                        out, x, minus: .centered($0.baseAddress!, prime: test.prime), factor: other.value - 3)
                }
            }
            keep {
                other.subtract($0, x, results[fused + 1])
                other.multiply($0, $0, scalar: other.value - 3)
            }
            #expect(results[fused + 2] == results[fused + 3], "division")
            for element in [1, 3, 5, n - 1, n + 1, 2 * n - 3, 2 * n - 1] {
                keep { GaloisAutomorphism(element: element, degree: n).permute($0, a) }
            }
        }
        keep { modulus.reduce($0, words) }
        keep { modulus.multiply($0, words, scalar: scalar) }
        keep(from: rows[0]) { modulus.multiplyAdd($0, words, scalar: scalar) }
        keep { modulus.reduce($0, signed: words.map { Int64(bitPattern: $0) }) }
        // Sums of as many products as digits and primes there may be, of the largest residues and of others.
        for row in [1, 6] {
            for count in [1, 2, 7, 8, 20, 64] {
                let (x, y) = (rows[row], rows[row == 1 ? 1 : 7])
                x.withUnsafeBufferPointer { x in
                    y.withUnsafeBufferPointer { y in
                        let (x, y) = (x.baseAddress!, y.baseAddress!)
                        var second = [UInt64](repeating: 0, count: n)
                        keep { first in
                            second.withUnsafeMutableBufferPointer {
                                modulus.multiplyAccumulate(
                                    first, $0.baseAddress!, Array(repeating: x, count: count),
                                    Array(repeating: y, count: count), Array(repeating: x, count: count))
                            }
                        }
                        results.append(second)
                        keep {
                            hkms_nearest_sum_of_fractions(
                                $0, Array(repeating: Optional(x), count: count),
                                (0..<count).map { 1 / Double(test.prime - UInt64($0)) }, count,
                                UInt32(modulus.bitCount), n)
                        }
                        let weights = (0..<count).map { other.value - 1 - UInt64($0) }
                        let sources = Array(repeating: x, count: count)
                        keep {
                            other.weightedSum(
                                $0, sources, weights: weights, start: other.value - 1, bits: modulus.bitCount)
                        }
                        let sum = results[results.count - 1]
                        let conversion = NTTModulus.Conversion.weightedSum(
                            sources, weights: weights, start: other.value - 1, bits: modulus.bitCount)
                        let fused = results.count
                        keep { other.transform($0, conversion) }
                        keep(from: sum) { other.transform($0) }
                        #expect(results[fused] == results[fused + 1], "weighted sum and transform")
                        keep { other.divide($0, others[6], minus: conversion, factor: other.value - 3) }
                        keep {
                            other.subtract($0, others[6], results[fused + 1])
                            other.multiply($0, $0, scalar: other.value - 3)
                        }
                        #expect(results[fused + 2] == results[fused + 3], "division by several primes")
                    }
                }
            }
        }
        // Samplers and packing.
        var packed = [UInt8](repeating: 0, count: max(n / 4, 1))
        hkms_ternary_from_words(&packed, words, n)
        keep { modulus.expandTernary($0, packed) }
        keep { modulus.transformTernary($0, packed) }
        var noise = [Int8](repeating: 0, count: n)
        hkms_cbd21_from_words(&noise, words, n)
        results.append(noise.map { UInt64(bitPattern: Int64($0)) })
        var sums = (0..<n).map { Int64($0) }
        for factor in [1, 12_345, 1 << 52] as [Int64] { hkms_gaussian_add(&sums, words, n / 2, factor) }
        results.append(sums.map { UInt64(bitPattern: $0) })
        keep { modulus.expandSmall($0, noise) }
        keep { modulus.transformSmall($0, noise) }
        for noise in [noise, [Int8](repeating: -128, count: n), [Int8](repeating: 127, count: n)] {
            let fused = results.count
            keep { modulus.transformSmall($0, noise) }
            keep {
                modulus.expandSmall($0, noise)
                modulus.transform($0)
            }
            #expect(results[fused] == results[fused + 1], "small coefficients and transform")
            var scratch = [UInt64](repeating: 0, count: n)
            for (a, b, message) in [(rows[6], rows[7], rows[1]), (rows[1], rows[1], rows[6])] {
                let first = results.count
                keep { modulus.encrypt($0, a, b, noise: noise, message: message, scratch: &scratch) }
                keep { modulus.encrypt($0, a, b, noise: noise, message: nil, scratch: &scratch) }
                keep { modulus.mask($0, a, b, noise: noise, scratch: &scratch) }
                keep(from: a) { modulus.mask($0, $0, b, noise: noise, scratch: &scratch) }
                keep {
                    modulus.multiply($0, a, b)
                    modulus.add($0, $0, results[fused])
                }
                keep { modulus.add($0, results[first + 4], message) }
                keep { modulus.negate($0, results[first + 4]) }
                #expect(results[first] == results[first + 5] && results[first + 1] == results[first + 4], "encryption")
                #expect(results[first + 2] == results[first + 6] && results[first + 3] == results[first + 6], "mask")
            }
        }
        let bits = UInt32(modulus.bitCount)
        for row in rows {
            var bytes = [UInt8](repeating: 0, count: n * Int(bits) / 8)
            hkms_pack_bits(&bytes, row, n, bits)
            var unpacked = [UInt64](repeating: 0, count: n)
            #expect(hkms_unpack_bits(&unpacked, bytes, n, bits, test.prime) == 1)
            results += [unpacked, bytes.map(UInt64.init)]
        }
        return results
    }

    @Test("bit for bit, on random and on extreme rows", arguments: cases)
    func same(test: Case) throws {
        let rows = Self.inputs(test)
        var random = SeededGenerator(test.prime)
        var words = (0..<test.degree).map { _ in random.next() }
        words.replaceSubrange(0..<8, with: [.max, .max - 1, 0, 1, 1 << 63, 1 << 52, test.prime, 1 << 53])
        defer { hkms_kernels_select(0) }
        hkms_kernels_select(1)
        #expect(String(cString: hkms_kernels_name()) == "portable")
        let portable = try Self.everything(test, rows, words: words)
        hkms_kernels_select(0)
        let best = try Self.everything(test, rows, words: words)
        for index in portable.indices where portable[index] != best[index] { Issue.record("result \(index) differs") }
    }

    #if arch(x86_64) && os(Linux)
        @Test("whatever rounding and flushing the caller has set, and its settings are its own again")
        func hostileSettings() throws {
            for test in [Case(logN: 12, prime: 0), Case(logN: 13, prime: 1)] {
                let prime = try #require(
                    Primes.nttPrimes(bits: test.prime == 0 ? 40 : 50, degree: test.degree, count: 1).first)
                let test = Case(logN: test.logN, prime: prime)
                let rows = Self.inputs(test)
                var random = SeededGenerator(prime)
                let words = (0..<test.degree).map { _ in random.next() }
                let expected = try Self.everything(test, rows, words: words)
                // Rounding down, up and to zero; subnormals flushed on both sides.
                for control: UInt32 in [0x3F80, 0x5F80, 0x7F80, 0x9FC0, 0xFFC0] {
                    var usual = fenv_t()
                    fegetenv(&usual)
                    var hostile = usual
                    hostile.__mxcsr = control
                    fesetenv(&hostile)
                    let found = Result { try Self.everything(test, rows, words: words) }
                    var after = fenv_t()
                    fegetenv(&after)
                    fesetenv(&usual)
                    #expect(after.__mxcsr & 0xFFC0 == control & 0xFFC0)
                    #expect(try found.get() == expected, "with \(String(control, radix: 16))")
                }
            }
        }
    #endif
}
