import Attestation

/// A sealed seed, sealed data key or sealed signing key as it is stored; docs/formats.md has the table.
package struct SealedObject: Sendable, Hashable {
    enum Object: UInt8, Sendable {
        case seed = 1
        case dataKey = 2
        case signingKey = 3
    }
    enum Sealer: UInt8, Sendable {
        case kms = 1
        /// AES-256-GCM under the data key: nonce || ciphertext || tag.
        case dataKey = 2
    }
    var object: Object
    var sealedBy: Sealer
    var blob: KMSSealedBlob

    private static let magic = Array("HKMSSEAL".utf8)
    private static let headerBytes = 20
    /// Header, the longest blob, digest.
    static let maximumBytes = headerBytes + KMSSealedBlob.maximumBytes + Digest.byteCount

    package func serialized() -> [UInt8] {
        var bytes = Self.magic + [1, 0, object.rawValue, sealedBy.rawValue]
        for number in [UInt32(clamping: blob.keyVersion ?? 0), UInt32(blob.bytes.count)] {
            withUnsafeBytes(of: number.littleEndian) { bytes.append(contentsOf: $0) }
        }
        bytes += blob.bytes
        return bytes + Digest(of: bytes).bytes
    }

    /// - Throws: ``KMSError/invalidResponse(reason:)`` for a blob of a length that could not be read again.
    init(object: Object, sealedBy: Sealer, blob: KMSSealedBlob) throws(KMSError) {
        guard (1...KMSSealedBlob.maximumBytes).contains(blob.bytes.count) else {
            throw .invalidResponse(reason: "a sealed secret of \(blob.bytes.count) bytes")
        }
        self.object = object
        self.sealedBy = sealedBy
        self.blob = blob
    }

    /// Reads objects that lie one behind the other.
    /// - Throws: ``KeyManagementError/objectTampered(_:)`` for any bytes that are not `1...limit` of them.
    static func parse(_ bytes: [UInt8], limit: Int) throws(KeyManagementError) -> [SealedObject] {
        var objects: [SealedObject] = []
        var rest = bytes[...]
        repeat {
            guard objects.count < limit, rest.count >= headerBytes else { throw .objectTampered("a sealed object") }
            let start = rest.startIndex
            let length = (0..<4).reduce(0) { $0 | Int(rest[start + 16 + $1]) << (8 * $1) }
            let count = headerBytes + length + Digest.byteCount
            objects.append(try SealedObject(parsing: Array(rest.prefix(count))))
            rest = rest.dropFirst(count)
        } while !rest.isEmpty
        return objects
    }

    /// - Throws: ``KeyManagementError/objectTampered(_:)`` for any bytes that are not one.
    package init(parsing bytes: [UInt8]) throws(KeyManagementError) {
        func number(_ offset: Int) -> Int {
            (0..<4).reduce(0) { $0 | Int(bytes[offset + $1]) << (8 * $1) }
        }
        guard bytes.count >= Self.headerBytes + Digest.byteCount, bytes.count <= Self.maximumBytes,
            Array(bytes[..<8]) == Self.magic, bytes[8] == 1, bytes[9] == 0,
            let object = Object(rawValue: bytes[10]), let sealer = Sealer(rawValue: bytes[11]),
            number(16) == bytes.count - Self.headerBytes - Digest.byteCount,
            Digest(of: bytes.dropLast(Digest.byteCount)).bytes == Array(bytes.suffix(Digest.byteCount))
        else { throw .objectTampered("a sealed object") }
        self.object = object
        sealedBy = sealer
        let version = number(12)
        blob = KMSSealedBlob(
            bytes: Array(bytes[Self.headerBytes..<bytes.count - Digest.byteCount]),
            keyVersion: version == 0 ? nil : version)
    }
}
