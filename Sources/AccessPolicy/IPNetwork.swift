/// The addresses that begin with the same bits (CIDR, RFC 4632 and RFC 4291).
struct IPNetwork: Sendable, Hashable {
    private let address: IPAddress
    private let length: Int

    /// Reads `10.0.0.0/8`, `2001:db8::/32`, or one address. An IPv4-mapped network of at least 96 bits is the IPv4
    /// network that it stands for.
    /// - Returns: nil where it is no network, also where bits are set behind its length.
    init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let first = parts.first, let address = IPAddress(String(first)) else { return nil }
        let written = first.utf8.contains(UInt8(ascii: ":")) ? 128 : 32
        var length = written
        if parts.count == 2 {
            guard let given = IPAddress.decimal(Array(parts[1].utf8)[...], maximum: written) else { return nil }
            length = given
        }
        // What was mapped to IPv4 has lost its 96 bits; with fewer of them it is a network of other IPv6 addresses too.
        length -= written - address.width
        guard length >= 0, Self.prefix(address.bits, length, of: address.width) == address.bits else { return nil }
        self.address = address
        self.length = length
    }

    func contains(_ other: IPAddress) -> Bool {
        other.isIPv4 == address.isIPv4
            && Self.prefix(other.bits, length, of: address.width) == address.bits
    }

    /// Whether every address of `other` is in this network.
    func contains(_ other: IPNetwork) -> Bool { other.length >= length && contains(other.address) }

    /// `bits` with those behind the first `length` of `width` zero.
    private static func prefix(_ bits: UInt128, _ length: Int, of width: Int) -> UInt128 {
        // A smart shift by the whole width gives 0, as it must for /0.
        (bits >> (width - length)) << (width - length)
    }
}
