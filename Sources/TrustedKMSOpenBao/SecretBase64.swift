import NIOCore
import SecretMemory

/// Base64 (RFC 4648, section 4) between locked memory and the wire, without tables that a secret
/// would index and without intermediate copies.
package enum SecretBase64 {
    static func encodedCount(_ count: Int) -> Int { (count + 2) / 3 * 4 }

    /// Writes into capacity that the buffer has already: growing would leave a copy behind.
    static func write(_ bytes: UnsafeRawBufferPointer, to buffer: inout ByteBuffer) {
        var index = 0
        while index < bytes.count {
            let count = min(3, bytes.count - index)
            var group: UInt32 = 0
            for i in 0..<3 { group = group << 8 | (i < count ? UInt32(bytes[index + i]) : 0) }
            for i in 0..<4 {
                let digit = Int32(group >> UInt32(18 - 6 * i) & 63)
                buffer.writeInteger(i <= count ? character(digit) : UInt8(ascii: "="))
            }
            index += 3
        }
    }

    /// - Returns: nil for what is not canonical: wrong length, padding or trailing bits, another character.
    static func decodedCount(_ text: UnsafeRawBufferPointer) -> Int? {
        guard text.count % 4 == 0 else { return nil }
        guard let last = text.last else { return 0 }
        let padding = last != UInt8(ascii: "=") ? 0 : text[text.count - 2] != UInt8(ascii: "=") ? 1 : 2
        let digits = text.count - padding
        var invalid: Int32 = 0
        for i in 0..<digits { invalid |= digit(text[i]) }
        // A negative digit leaves the sign bit set.
        guard invalid >= 0 else { return nil }
        let trailing: Int32 = padding == 0 ? 0 : padding == 1 ? 0b11 : 0b1111
        guard digit(text[digits - 1]) & trailing == 0 else { return nil }
        return text.count / 4 * 3 - padding
    }

    /// - Returns: nil for what is not canonical base64.
    package static func decode(_ text: UnsafeRawBufferPointer) throws(SecretMemoryError) -> SecretBytes? {
        guard let count = decodedCount(text) else { return nil }
        var secret = try SecretBytes(count: count)
        secret.withUnsafeMutableBytes { target in
            for start in stride(from: 0, to: text.count, by: 4) {
                var group: UInt32 = 0
                // '=' counts as no bits: what it would add lies behind `count`.
                for i in 0..<4 { group = group << 6 | UInt32(max(0, digit(text[start + i]))) }
                for i in 0..<3 where start / 4 * 3 + i < count {
                    target[start / 4 * 3 + i] = UInt8(truncatingIfNeeded: group >> UInt32(16 - 8 * i))
                }
            }
        }
        return secret
    }

    /// 0 to 63, or -1; by arithmetic on ranges of characters instead of a table.
    private static func digit(_ byte: UInt8) -> Int32 {
        let c = Int32(byte)
        var value: Int32 = -1
        value += ((0x40 - c) & (c - 0x5B)) >> 8 & (c - 64)  // A-Z: 0 to 25
        value += ((0x60 - c) & (c - 0x7B)) >> 8 & (c - 70)  // a-z: 26 to 51
        value += ((0x2F - c) & (c - 0x3A)) >> 8 & (c + 5)  // 0-9: 52 to 61
        value += ((0x2A - c) & (c - 0x2C)) >> 8 & 63  // +
        value += ((0x2E - c) & (c - 0x30)) >> 8 & 64  // /
        return value
    }

    private static func character(_ digit: Int32) -> UInt8 {
        var c = digit + 0x41
        c += (25 - digit) >> 8 & 6
        c -= (51 - digit) >> 8 & 75
        c -= (61 - digit) >> 8 & 15
        c += (62 - digit) >> 8 & 3
        return UInt8(truncatingIfNeeded: c)
    }
}
