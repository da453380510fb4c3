/// The `CKA_ID` of one version of a key: its number (4 bytes, big-endian), and, where this adapter made it, 8 random
/// bytes.
///
/// Blobs name the whole of it. Two programs that make the same version at once, which PKCS#11 has no means to prevent,
/// so make two keys that both open what they sealed; the lower one seals from then on.
package struct KeyVersionID: Hashable, Sendable, Comparable {
    package let bytes: [UInt8]

    /// - Returns: nil for what is no version's.
    package init?(_ bytes: [UInt8]) {
        guard bytes.count == 4 || bytes.count == 12, bytes[0] < 0x80, bytes.prefix(4) != [0, 0, 0, 0] else {
            return nil
        }
        self.bytes = bytes
    }

    /// A new one, which nobody else has.
    init(number: Int, random: [UInt8]) {
        precondition((1...Int(Int32.max)).contains(number) && random.count == 8, "a version's number and 8 bytes")
        bytes = withUnsafeBytes(of: UInt32(number).bigEndian) { Array($0) } + random
    }

    package var number: Int { bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } }

    package static func < (one: KeyVersionID, other: KeyVersionID) -> Bool {
        one.bytes.lexicographicallyPrecedes(other.bytes)
    }
}
