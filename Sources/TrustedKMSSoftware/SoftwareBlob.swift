import KeyManagement

/// What the software KMS seals: magic `HKS1`, key version (4 bytes, big-endian), then the AEAD box.
package struct SoftwareBlob {
    private static let magic: [UInt8] = Array("HKS1".utf8)
    private static let headerBytes = 8
    /// The port's limit with room for header and box.
    static let maximumPlaintextBytes = 4096

    package let version: UInt32
    package let box: ArraySlice<UInt8>

    /// - Returns: nil for what this KMS never made.
    package init?(parsing sealed: KMSSealedBlob) {
        let bytes = sealed.bytes
        let sizes = (1...Self.maximumPlaintextBytes)
        guard sizes.contains(bytes.count - Self.headerBytes - SecretAEAD.overhead),
            bytes.starts(with: Self.magic)
        else { return nil }
        version = bytes[4..<8].reduce(0) { $0 << 8 | UInt32($1) }
        box = bytes[Self.headerBytes...]
    }

    package static func encode(version: UInt32, box: [UInt8]) -> KMSSealedBlob {
        let number = withUnsafeBytes(of: version.bigEndian) { Array($0) }
        return KMSSealedBlob(bytes: magic + number + box, keyVersion: Int(version))
    }
}
