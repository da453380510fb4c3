import CRLWEKernels
import SecretMemory

/// The distributions of derivation suite 1, from keystreams.
public enum Samplers {
    /// N uniform residues of row `row`, digit `digit`, of the public stream `publicSeed` (suite 1, 8):
    /// words masked to the modulus' bits; those not below it are replaced, in ascending order, by the
    /// words that follow, masked, until each fits.
    ///
    /// Variable time in the public seed.
    public static func uniformRow(
        _ out: UnsafeMutablePointer<UInt64>, modulus: NTTModulus, publicSeed: [UInt8], digit: UInt32, row: UInt32
    ) throws {
        let degree = modulus.degree
        var stream = Keystream(publicSeed: publicSeed, x: digit, y: row)
        try withUnsafeTemporaryAllocation(of: UInt32.self, capacity: degree) { rejected in
            var count = 0
            try stream.forEachPiece(of: degree) { start, words in
                count += withUnsafePointer(to: modulus.constants) {
                    hkms_mask_and_find_rejected_variable_time(
                        out + start, words.baseAddress, words.count, $0, UInt32(start), rejected.baseAddress! + count)
                }
            }
            let mask = (UInt64(1) << UInt64(modulus.bitCount)) - 1
            // Refills are drawn in small runs: a prime just below a power of two rejects almost nothing.
            try withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 64) { refill in
                var used = 64
                for index in 0..<count {
                    var value: UInt64
                    repeat {
                        if used == 64 {
                            try stream.next(refill)
                            used = 0
                        }
                        value = refill[used] & mask
                        used += 1
                    } while value >= modulus.value
                    out[Int(rejected[index])] = value
                }
            }
        }
    }

    /// N/4 bytes of uniform ternary coefficients, packed (suite 1, 5 and 6).
    public static func ternary(degree: Int, key: borrowing SecretBytes, x: UInt32, y: UInt32) throws -> SecretBytes {
        var packed = try SecretBytes(count: degree / 4)
        var stream = Keystream(key: key, x: x, y: y)
        try packed.withUnsafeMutableBytes { bytes in
            let out = bytes.baseAddress!.assumingMemoryBound(to: UInt8.self)
            try stream.forEachPiece(of: degree) { start, words in
                hkms_ternary_from_words(out + start / 4, words.baseAddress, words.count)
            }
        }
        return packed
    }

    /// N bytes of centered binomial noise of variance 10.5, signed (suite 1, 7).
    public static func noise(degree: Int, key: borrowing SecretBytes, x: UInt32, y: UInt32) throws -> SecretBytes {
        var noise = try SecretBytes(count: degree)
        try noise.withUnsafeMutableBytes { try Self.noise(into: $0, key: key, x: x, y: y) }
        return noise
    }

    /// The same, as many as there are bytes in `out`, which is secret memory of the caller's.
    public static func noise(
        into out: UnsafeMutableRawBufferPointer, key: borrowing SecretBytes, x: UInt32, y: UInt32
    ) throws {
        var stream = Keystream(key: key, x: x, y: y)
        let noise = out.baseAddress!.assumingMemoryBound(to: Int8.self)
        try stream.forEachPiece(of: out.count) { start, words in
            hkms_cbd21_from_words(noise + start, words.baseAddress, words.count)
        }
    }

    /// True if `packed` holds ternary coefficients, two bits each.
    public static func isTernary(_ packed: borrowing SecretBytes) -> Bool {
        packed.withUnsafeBytes {
            hkms_ternary_is_valid($0.baseAddress!.assumingMemoryBound(to: UInt8.self), packed.count * 4) == 1
        }
    }
}
