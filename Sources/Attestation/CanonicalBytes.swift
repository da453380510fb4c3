/// Fields in a fixed order, each with its length in front as a big-endian u32: no two different lists of
/// fields have the same bytes.
public struct CanonicalBytes: Sendable {
    public private(set) var bytes: [UInt8] = []

    public init() {}

    public mutating func append(_ field: [UInt8]) {
        let count = UInt32(field.count)
        for shift in stride(from: 24, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: count >> UInt32(shift)))
        }
        bytes += field
    }

    public mutating func append(_ field: String) { append(Array(field.utf8)) }

    /// As a big-endian u64.
    public mutating func append(_ field: Int) {
        append((0..<8).map { UInt8(truncatingIfNeeded: UInt64(bitPattern: Int64(field)) >> UInt64(56 - 8 * $0)) })
    }
}
