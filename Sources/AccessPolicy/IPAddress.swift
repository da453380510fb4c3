/// An IPv4 or IPv6 address. An IPv4-mapped IPv6 address (`::ffff:192.0.2.1`) is the IPv4 address that it stands for.
public struct IPAddress: Sendable, Hashable {
    /// The address as a number: the low 32 bits for IPv4.
    let bits: UInt128
    let isIPv4: Bool

    /// Number of bits of an address.
    var width: Int { isIPv4 ? 32 : 128 }

    /// Reads dotted decimal or RFC 4291 text. No zone, port or brackets; no leading zeros in IPv4, which some read as
    /// octal.
    public init?(_ text: String) {
        guard text.utf8.count <= Self.maximumBytes else { return nil }
        let bytes = Array(text.utf8)
        if bytes.contains(UInt8(ascii: ":")) {
            guard let bits = Self.sixteenBytes(bytes[...]) else { return nil }
            self.init(ipv6: bits)
        } else {
            guard let bits = Self.fourBytes(bytes[...]) else { return nil }
            self.init(bits: UInt128(bits), isIPv4: true)
        }
    }

    private init(bits: UInt128, isIPv4: Bool) {
        self.bits = bits
        self.isIPv4 = isIPv4
    }

    private init(ipv6 bits: UInt128) {
        if bits >> 32 == 0xFFFF {
            self.init(bits: bits & 0xFFFF_FFFF, isIPv4: true)
        } else {
            self.init(bits: bits, isIPv4: false)
        }
    }

    /// The longest text of an address: eight groups, the last two as IPv4.
    private static let maximumBytes = 45

    private static func fourBytes(_ text: ArraySlice<UInt8>) -> UInt32? {
        let parts = text.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bits: UInt32 = 0
        for part in parts {
            guard let value = decimal(part, maximum: 255) else { return nil }
            bits = bits << 8 | UInt32(value)
        }
        return bits
    }

    private static func sixteenBytes(_ text: ArraySlice<UInt8>) -> UInt128? {
        let colon = UInt8(ascii: ":")
        let gap = text.indices.dropLast().first { text[$0] == colon && text[$0 + 1] == colon }
        guard let gap else {
            guard let groups = groups(text, mayEndInIPv4: true), groups.count == 8 else { return nil }
            return join(groups)
        }
        let head = text[..<gap]
        let tail = text[(gap + 2)...]
        guard let high = head.isEmpty ? [] : groups(head, mayEndInIPv4: false),
            let low = tail.isEmpty ? [] : groups(tail, mayEndInIPv4: true), high.count + low.count <= 7
        else { return nil }
        return join(high + Array(repeating: 0, count: 8 - high.count - low.count) + low)
    }

    /// Groups of 16 bits between colons.
    private static func groups(_ text: ArraySlice<UInt8>, mayEndInIPv4: Bool) -> [UInt16]? {
        let parts = text.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
        guard parts.count <= 8 else { return nil }
        var groups: [UInt16] = []
        for (index, part) in parts.enumerated() {
            if mayEndInIPv4, index == parts.count - 1, part.contains(UInt8(ascii: ".")) {
                guard let bits = fourBytes(part) else { return nil }
                groups += [UInt16(bits >> 16), UInt16(bits & 0xFFFF)]
            } else {
                guard (1...4).contains(part.count), part.allSatisfy(isHex),
                    let value = UInt16(String(decoding: part, as: UTF8.self), radix: 16)
                else { return nil }
                groups.append(value)
            }
        }
        return groups
    }

    private static func join(_ groups: [UInt16]) -> UInt128 { groups.reduce(0) { $0 << 16 | UInt128($1) } }

    private static func isHex(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "f"),
            UInt8(ascii: "A")...UInt8(ascii: "F"):
            true
        default: false
        }
    }

    /// Digits without a leading zero.
    static func decimal(_ text: ArraySlice<UInt8>, maximum: Int) -> Int? {
        guard (1...3).contains(text.count), text.allSatisfy({ ($0 >= 0x30 && $0 <= 0x39) }),
            text.count == 1 || text.first != UInt8(ascii: "0")
        else { return nil }
        let value = text.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        return value <= maximum ? value : nil
    }
}
