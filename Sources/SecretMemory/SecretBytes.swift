import CSecretMemory

/// A fixed number of secret bytes in locked memory that stays out of core dumps and is wiped when
/// the value dies.
///
/// The value itself is a pointer and a count: moving it copies no secret. It has no description, no
/// Codable and no Equatable; compare with ``equals(_:)``.
public struct SecretBytes: ~Copyable, @unchecked Sendable {
    // Sendable: the memory is owned by this one value, and all mutation takes exclusive access.
    private let pointer: UnsafeMutableRawPointer
    /// Number of bytes.
    public let count: Int
    private let locked: Int32

    private static func map(count: Int) throws(SecretMemoryError) -> (UnsafeMutableRawPointer, locked: Int32) {
        precondition(count >= 0, "a count of bytes is not negative")
        var locked: Int32 = 0
        guard let pointer = hkms_secret_map(count, &locked) else { throw .outOfMemory(bytes: count) }
        if locked == 0, SecretMemory.lockPolicy == .required {
            hkms_secret_unmap(pointer, count, locked)
            throw .cannotLock(bytes: count, limit: SecretMemory.lockedMemoryLimit)
        }
        return (pointer, locked)
    }

    /// `count` zero bytes.
    /// - Throws: ``SecretMemoryError`` where memory is missing or cannot be locked as the policy asks.
    public init(count: Int) throws(SecretMemoryError) {
        (pointer, locked) = try Self.map(count: count)
        self.count = count
    }

    /// A copy of `bytes`; wiping the source remains the caller's.
    public init(copying bytes: UnsafeRawBufferPointer) throws(SecretMemoryError) {
        (pointer, locked) = try Self.map(count: bytes.count)
        count = bytes.count
        if let base = bytes.baseAddress { pointer.copyMemory(from: base, byteCount: bytes.count) }
        hkms_clear_registers()
    }

    /// `count` bytes of the operating system's generator.
    public init(randomCount count: Int) throws(SecretMemoryError) {
        let (pointer, locked) = try Self.map(count: count)
        guard hkms_random_bytes(pointer, count) == 0 else {
            hkms_secret_unmap(pointer, count, locked)
            throw .noRandomness
        }
        self.pointer = pointer
        self.locked = locked
        self.count = count
    }

    deinit { hkms_secret_unmap(pointer, count, locked) }

    /// Reads the bytes in place.
    public borrowing func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { hkms_clear_registers() }
        return try body(UnsafeRawBufferPointer(start: pointer, count: count))
    }

    /// Changes the bytes in place.
    public mutating func withUnsafeMutableBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        defer { hkms_clear_registers() }
        return try body(UnsafeMutableRawBufferPointer(start: pointer, count: count))
    }

    /// A second, independent copy.
    public borrowing func copy() throws(SecretMemoryError) -> SecretBytes {
        try SecretBytes(copying: UnsafeRawBufferPointer(start: pointer, count: count))
    }

    /// Compares in constant time; the lengths are public.
    public borrowing func equals(_ other: borrowing SecretBytes) -> Bool {
        count == other.count && hkms_equal_constant_time(pointer, other.pointer, count) == 1
    }

    /// Compares with public bytes in constant time.
    public borrowing func equals(_ other: some Sequence<UInt8>) -> Bool {
        let other = Array(other)
        return other.withUnsafeBytes { bytes in
            guard bytes.count == count else { return false }
            guard let base = bytes.baseAddress else { return true }
            return hkms_equal_constant_time(pointer, base, count) == 1
        }
    }

    /// Zeroes the bytes now, ahead of deinit.
    public mutating func wipe() { hkms_secure_zero(pointer, count) }
}

/// Compares two public byte strings, one of which an attacker may choose, in constant time.
public func equalInConstantTime(_ left: some Sequence<UInt8>, _ right: some Sequence<UInt8>) -> Bool {
    let left = Array(left)
    let right = Array(right)
    guard left.count == right.count else { return false }
    guard !left.isEmpty else { return true }
    return left.withUnsafeBytes { l in
        right.withUnsafeBytes { r in hkms_equal_constant_time(l.baseAddress!, r.baseAddress!, l.count) == 1 }
    }
}
