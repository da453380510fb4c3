import SecretMemory

/// The 112 bytes `ctx` of derivation suite 1, 3, big-endian: what a derived value is for.
struct DerivationContext {
    enum Kind: UInt16 {
        case none = 0
        case secret = 1
        case publicKey = 2
        case relinearization = 3
        case galois = 4
        case switching = 5
    }

    var kind: Kind
    var generation: UInt32 = 0
    var galois: UInt32 = 0
    /// Number of q rows.
    var level: Int = 0
    var digits: Int = 0
    /// pd, 32 bytes.
    var parameterDigest: [UInt8]

    static let byteCount = 112

    /// With skTag and src zero.
    func encoded() throws(SecretMemoryError) -> SecretBytes {
        var bytes = try SecretBytes(count: Self.byteCount)
        bytes.withUnsafeMutableBytes { write(into: $0) }
        return bytes
    }

    /// With skTag, and src zero.
    func encoded(skTag: borrowing SecretBytes) throws(SecretMemoryError) -> SecretBytes {
        var bytes = try encoded()
        bytes.withUnsafeMutableBytes { out in
            skTag.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: out[48..<80]).copyMemory(from: $0) }
        }
        return bytes
    }

    /// With skTag, and src the source key's tag.
    func encoded(
        skTag: borrowing SecretBytes, source: borrowing SecretBytes
    ) throws(SecretMemoryError) -> SecretBytes {
        var bytes = try encoded(skTag: skTag)
        bytes.withUnsafeMutableBytes { out in
            source.withUnsafeBytes { UnsafeMutableRawBufferPointer(rebasing: out[80..<112]).copyMemory(from: $0) }
        }
        return bytes
    }

    private func write(into out: UnsafeMutableRawBufferPointer) {
        var offset = 0
        func put(_ value: some FixedWidthInteger & UnsignedInteger) {
            withUnsafeBytes(of: value.bigEndian) { bytes in
                for byte in bytes {
                    out[offset] = byte
                    offset += 1
                }
            }
        }
        put(UInt16(1))  // suite
        put(kind.rawValue)
        put(generation)
        put(galois)
        put(UInt16(level))
        put(UInt16(digits))
        for byte in parameterDigest {
            out[offset] = byte
            offset += 1
        }
    }
}
