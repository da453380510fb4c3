import NIOCore

/// Why bytes are no octet bundle.
public enum OctetBundleError: Error, Equatable, Sendable {
    /// The first eight bytes are not ``OctetBundle/magic``.
    case wrongMagic
    /// A version this software does not read.
    case unsupportedVersion(UInt16)
    /// The two reserved bytes are not zero.
    case reservedBytesNotZero
    /// More strings than the reader accepts.
    case tooManyStrings(count: Int, maximum: Int)
    /// The strings together are longer, in bytes, than the reader accepts.
    case tooManyBytes(maximum: Int)
    /// The bytes end before what they announce.
    case truncated
    /// Bytes follow the last string.
    case trailingBytes(count: Int)
}

/// Several octet strings in one body.
///
/// The form, little-endian: the magic `HKMSBNDL`, u16 version (1), u16 zero, u32 count, `count`
/// lengths of u64, then the strings one after the other. Nothing follows. One sequence of strings has
/// exactly one form.
public enum OctetBundle {
    /// The media type of an encoded bundle.
    public static let mediaType = "application/vnd.hkms.bundle"
    /// The first eight bytes.
    public static let magic = Array("HKMSBNDL".utf8)
    /// The version that is written, and the only one that is read.
    public static let version: UInt16 = 1
    /// Bytes before the lengths.
    static let headerBytes = 16

    /// The number of bytes that ``encode(_:)-([[UInt8]])`` gives for strings of these lengths.
    public static func encodedByteCount(lengths: [Int]) -> Int {
        headerBytes + 8 * lengths.count + lengths.reduce(0, +)
    }

    /// Header and lengths alone, for a body whose strings are streamed after them.
    public static func encodeHeader(lengths: [Int]) -> [UInt8] {
        var bytes = magic
        bytes.reserveCapacity(headerBytes + 8 * lengths.count)
        append(version, to: &bytes)
        append(UInt16(0), to: &bytes)
        append(UInt32(lengths.count), to: &bytes)
        for length in lengths { append(UInt64(length), to: &bytes) }
        return bytes
    }

    /// One body of all `strings`.
    public static func encode(_ strings: [[UInt8]]) -> [UInt8] {
        let lengths = strings.map(\.count)
        var bytes = encodeHeader(lengths: lengths)
        bytes.reserveCapacity(encodedByteCount(lengths: lengths))
        for string in strings { bytes.append(contentsOf: string) }
        return bytes
    }

    /// The strings of a body.
    /// - Parameters:
    ///   - bytes: any bytes.
    ///   - maximumCount: the largest number of strings.
    ///   - maximumBytes: the largest number of bytes of all strings together.
    public static func decode(
        _ bytes: [UInt8], maximumCount: Int, maximumBytes: Int
    ) throws(OctetBundleError) -> [[UInt8]] {
        let result = bytes.withUnsafeBytes { bytes in
            Result { () throws(OctetBundleError) in
                try layout(bytes, maximumCount: maximumCount, maximumBytes: maximumBytes)
            }
        }
        return try result.get().map { Array(bytes[$0]) }
    }

    /// The strings of a body, as slices that share its storage.
    /// - Parameters:
    ///   - buffer: any bytes; all readable ones belong to the body.
    ///   - maximumCount: the largest number of strings.
    ///   - maximumBytes: the largest number of bytes of all strings together.
    public static func decode(
        _ buffer: ByteBuffer, maximumCount: Int, maximumBytes: Int
    ) throws(OctetBundleError) -> [ByteBuffer] {
        let result = buffer.withUnsafeReadableBytes { bytes in
            Result { () throws(OctetBundleError) in
                try layout(bytes, maximumCount: maximumCount, maximumBytes: maximumBytes)
            }
        }
        var slices: [ByteBuffer] = []
        for range in try result.get() {
            guard let slice = buffer.getSlice(at: buffer.readerIndex + range.lowerBound, length: range.count) else {
                throw .truncated
            }
            slices.append(slice)
        }
        return slices
    }

    /// Where the strings lie. Every length is checked before anything of its size is made.
    private static func layout(
        _ bytes: UnsafeRawBufferPointer, maximumCount: Int, maximumBytes: Int
    ) throws(OctetBundleError) -> [Range<Int>] {
        guard bytes.prefix(magic.count).elementsEqual(magic.prefix(bytes.count)) else { throw .wrongMagic }
        guard bytes.count >= headerBytes else { throw .truncated }
        let version = UInt16(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt16.self))
        guard version == Self.version else { throw .unsupportedVersion(version) }
        guard bytes[10] == 0, bytes[11] == 0 else { throw .reservedBytesNotZero }
        let count = Int(UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 12, as: UInt32.self)))
        guard count <= maximumCount else { throw .tooManyStrings(count: count, maximum: maximumCount) }
        guard count <= (bytes.count - headerBytes) / 8 else { throw .truncated }

        var ranges: [Range<Int>] = []
        ranges.reserveCapacity(count)
        let start = headerBytes + 8 * count
        var end = start
        for index in 0..<count {
            let offset = headerBytes + 8 * index
            let length = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
            guard let length = Int(exactly: length), length <= maximumBytes - (end - start) else {
                throw .tooManyBytes(maximum: maximumBytes)
            }
            guard length <= bytes.count - end else { throw .truncated }
            ranges.append(end..<end + length)
            end += length
        }
        guard end == bytes.count else { throw .trailingBytes(count: bytes.count - end) }
        return ranges
    }

    private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}

extension OctetBundleError: ProblemConvertible, CustomStringConvertible {
    public var description: String {
        switch self {
        case .wrongMagic: "the body does not begin with HKMSBNDL"
        case .unsupportedVersion(let version): "the bundle has version \(version), this software reads 1"
        case .reservedBytesNotZero: "the reserved bytes of the bundle are not zero"
        case .tooManyStrings(let count, let maximum): "the bundle has \(count) strings, at most \(maximum) are accepted"
        case .tooManyBytes(let maximum): "the bundle's strings are longer than the \(maximum) bytes that are accepted"
        case .truncated: "the body ends before what the bundle announces"
        case .trailingBytes(let count): "\(count) bytes follow the bundle's last string"
        }
    }

    public var problem: Problem {
        switch self {
        case .tooManyStrings, .tooManyBytes:
            Problem(
                name: "bundle-too-large", title: "Bundle too large", status: 413, detail: description,
                fix: "Send fewer or shorter strings in one request.")
        default:
            Problem(
                name: "bundle-malformed", title: "Bundle malformed", status: 400, detail: description,
                fix: "Frame the body as docs/formats.md describes for \(OctetBundle.mediaType).")
        }
    }
}
