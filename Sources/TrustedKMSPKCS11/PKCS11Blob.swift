import KeyManagement

/// What this adapter seals: magic `HKP1`, mechanism, the key version's `CKA_ID`, then what the token gave.
package struct PKCS11Blob {
    private static let magic: [UInt8] = Array("HKP1".utf8)
    private static let fixedBytes = 6
    static let maximumPlaintextBytes = 4096

    /// How it was sealed. The raw value is in stored blobs.
    package enum Mechanism: UInt8, Sendable {
        /// IV (12 bytes) || ciphertext || tag (16 bytes).
        case gcm = 1
        /// RFC 5649 by the name of PKCS#11 version 3.
        case keyWrapKWP = 2
        /// Key wrap with padding by the name of version 2.40.
        case keyWrapPad = 3
        /// RFC 3394; a frame has a length that needs no padding.
        case keyWrap = 4
        /// IV (16 bytes) || two blocks.
        case cbc = 5
    }

    package let mechanism: Mechanism
    package let version: KeyVersionID
    /// Mechanism's output.
    package let box: [UInt8]

    /// Everything before the box, which is authenticated with it.
    var header: [UInt8] { Self.header(mechanism, version) }

    static func header(_ mechanism: Mechanism, _ version: KeyVersionID) -> [UInt8] {
        magic + [mechanism.rawValue, UInt8(version.bytes.count)] + version.bytes
    }

    init(_ mechanism: Mechanism, _ version: KeyVersionID, box: [UInt8]) {
        self.mechanism = mechanism
        self.version = version
        self.box = box
    }

    /// - Returns: nil for what this KMS never made.
    package init?(parsing bytes: [UInt8]) {
        guard bytes.count > Self.fixedBytes, bytes.count <= KMSSealedBlob.maximumBytes,
            bytes.starts(with: Self.magic), let mechanism = Mechanism(rawValue: bytes[4])
        else { return nil }
        let end = Self.fixedBytes + Int(bytes[5])
        guard bytes.count > end, let version = KeyVersionID(Array(bytes[Self.fixedBytes..<end])),
            mechanism.canMake(bytes.count - end)
        else { return nil }
        self.init(mechanism, version, box: Array(bytes[end...]))
    }

    /// Whether it is what ``CompletedKMS`` makes of a CBC blob: version and check (33 bytes) stand in front.
    static func isOfCBC(_ bytes: [UInt8]) -> Bool {
        PKCS11Blob(parsing: Array(bytes.dropFirst(33)))?.mechanism == .cbc
    }

    package var sealed: KMSSealedBlob { KMSSealedBlob(bytes: header + box, keyVersion: version.number) }
}

extension PKCS11Blob.Mechanism {
    /// Whether a box may have this many bytes.
    fileprivate func canMake(_ count: Int) -> Bool {
        switch self {
        case .gcm: (12 + 1 + 16...12 + PKCS11Blob.maximumPlaintextBytes + 16).contains(count)
        // Padding of PKCS #7, which some modules take for padding, adds a block where nothing is missing.
        case .keyWrapKWP, .keyWrapPad, .keyWrap:
            count.isMultiple(of: 8) && (32...WrappingFrame.maximumBytes + 16).contains(count)
        case .cbc: count == 16 + 32
        }
    }
}
