#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// Why a file with a secret is not read or written. Names the file, never its content.
public enum SecretFileError: Error, Sendable, Equatable, CustomStringConvertible {
    case unreadable(path: String, reason: String)
    case unwritable(path: String, reason: String)
    case tooLarge(path: String, limit: Int)
    /// Group or others may read it.
    case exposed(path: String)
    case memory(SecretMemoryError)

    public var description: String {
        switch self {
        case .unreadable(let path, let reason): "cannot read \(path): \(reason)"
        case .unwritable(let path, let reason): "cannot write \(path): \(reason)"
        case .tooLarge(let path, let limit): "\(path) is larger than \(limit) bytes"
        case .exposed(let path): "\(path) can be read by others: run chmod 600 \(path)"
        case .memory(let error): error.description
        }
    }
}

/// Files that hold one secret: straight into locked memory, and out of it, with no copy in between.
public enum SecretFile {
    /// The longest secret that is read, in bytes.
    public static let maximumBytes = 8192

    /// The file's bytes without whitespace at the end.
    /// - Parameter ownerOnly: refuse a file that group or others may read.
    public static func read(_ path: String, ownerOnly: Bool = true) throws(SecretFileError) -> SecretBytes {
        // O_NONBLOCK: opening a pipe that nobody writes to must not hang a server's start.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .unreadable(path: path, reason: reason()) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .unreadable(path: path, reason: reason()) }
        if ownerOnly, status.st_mode & 0o077 != 0 { throw .exposed(path: path) }
        var bytes = try allocate(maximumBytes + 1)
        var count = 0
        while count < bytes.count {
            let length = bytes.withUnsafeMutableBytes { readOnce(descriptor, $0, from: count) }
            if length < 0, errno == EINTR { continue }
            guard length >= 0 else { throw .unreadable(path: path, reason: reason()) }
            guard length > 0 else { break }
            count += length
        }
        guard count <= maximumBytes else { throw .tooLarge(path: path, limit: maximumBytes) }
        let length = bytes.withUnsafeBytes { all in
            all[..<count].lastIndex { ![0x20, 0x09, 0x0A, 0x0D].contains($0) }.map { $0 + 1 } ?? 0
        }
        var trimmed = try allocate(length)
        trimmed.withUnsafeMutableBytes { target in
            bytes.withUnsafeBytes { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<length])) }
        }
        return trimmed
    }

    /// Makes a new file, mode 0600, of the secret and a newline. One that is there already is left alone.
    public static func create(_ path: String, _ secret: borrowing SecretBytes) throws(SecretFileError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw .unwritable(path: path, reason: reason()) }
        defer { close(descriptor) }
        var written = 0
        while written < secret.count {
            let length = secret.withUnsafeBytes { writeOnce(descriptor, $0, from: written) }
            if length < 0, errno == EINTR { continue }
            guard length > 0 else { throw .unwritable(path: path, reason: reason()) }
            written += length
        }
        let newline: [UInt8] = [0x0A]
        let ended = newline.withUnsafeBytes { writeOnce(descriptor, $0, from: 0) } == 1
        guard ended, fsync(descriptor) == 0 else { throw .unwritable(path: path, reason: reason()) }
    }

    private static func allocate(_ count: Int) throws(SecretFileError) -> SecretBytes {
        do throws(SecretMemoryError) { return try SecretBytes(count: count) } catch { throw .memory(error) }
    }

    private static func reason() -> String { String(cString: strerror(errno)) }

    private static func readOnce(
        _ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer, from offset: Int
    ) -> Int {
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[offset...])
        #if canImport(Glibc)
            return Glibc.read(descriptor, rest.baseAddress, rest.count)
        #elseif canImport(Musl)
            return Musl.read(descriptor, rest.baseAddress, rest.count)
        #else
            return Darwin.read(descriptor, rest.baseAddress, rest.count)
        #endif
    }

    private static func writeOnce(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, from offset: Int) -> Int {
        let rest = UnsafeRawBufferPointer(rebasing: buffer[offset...])
        #if canImport(Glibc)
            return Glibc.write(descriptor, rest.baseAddress, rest.count)
        #elseif canImport(Musl)
            return Musl.write(descriptor, rest.baseAddress, rest.count)
        #else
            return Darwin.write(descriptor, rest.baseAddress, rest.count)
        #endif
    }
}

extension SecretBytes {
    /// The bytes that these lower-case hex digits stand for.
    /// - Returns: nil for anything else.
    public borrowing func decodingHex() throws(SecretMemoryError) -> SecretBytes? {
        guard count.isMultiple(of: 2) else { return nil }
        var decoded = try SecretBytes(count: count / 2)
        let valid = withUnsafeBytes { digits in
            decoded.withUnsafeMutableBytes { out in
                for index in out.indices {
                    guard let high = Self.nibble(digits[2 * index]), let low = Self.nibble(digits[2 * index + 1]) else {
                        return false
                    }
                    out[index] = high << 4 | low
                }
                return true
            }
        }
        guard valid else { return nil }
        return decoded
    }

    /// Lower-case hex digits of the bytes.
    public borrowing func encodingHex() throws(SecretMemoryError) -> SecretBytes {
        var encoded = try SecretBytes(count: count * 2)
        withUnsafeBytes { bytes in
            encoded.withUnsafeMutableBytes { out in
                for (index, byte) in bytes.enumerated() {
                    out[2 * index] = Self.digit(byte >> 4)
                    out[2 * index + 1] = Self.digit(byte & 15)
                }
            }
        }
        return encoded
    }

    private static func nibble(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x61...0x66: digit - 0x61 + 10
        default: nil
        }
    }

    private static func digit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 0x30 + nibble : 0x61 + nibble - 10 }
}
