import NIOCore
import SecretMemory

/// A body of unknown length in locked memory, growing to a limit; what it outgrows is wiped.
struct SecretBuffer: ~Copyable, Sendable {
    private var storage: SecretBytes
    private(set) var count = 0

    /// Most answers fit into one page.
    private static let firstCapacity = 4096

    init() throws(SecretMemoryError) { storage = try SecretBytes(count: Self.firstCapacity) }

    /// - Returns: false where it would grow over `limit` bytes; nothing is appended then.
    mutating func append(
        _ bytes: UnsafeRawBufferPointer, limit: Int
    ) throws(SecretMemoryError) -> Bool {
        guard bytes.count <= limit - count else { return false }
        if count + bytes.count > storage.count {
            var capacity = storage.count
            while capacity < count + bytes.count { capacity *= 2 }
            var larger = try SecretBytes(count: capacity)
            let used = count
            larger.withUnsafeMutableBytes { target in
                storage.withUnsafeBytes { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[..<used])) }
            }
            storage = larger
        }
        let start = count
        storage.withUnsafeMutableBytes {
            UnsafeMutableRawBufferPointer(rebasing: $0[start...]).copyMemory(from: bytes)
        }
        count += bytes.count
        return true
    }

    borrowing func withUnsafeBytes<Result: ~Copyable, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        let used = count
        return try storage.withUnsafeBytes { all throws(Failure) in
            try body(UnsafeRawBufferPointer(rebasing: all[..<used]))
        }
    }

    /// Whether `text` occurs in it.
    borrowing func contains(_ text: String) -> Bool {
        let needle = Array(text.utf8)
        return withUnsafeBytes { bytes in
            guard bytes.count >= needle.count else { return false }
            return (0...bytes.count - needle.count).contains { bytes[$0..<$0 + needle.count].elementsEqual(needle) }
        }
    }
}

extension ByteBuffer {
    /// Zeroes the readable bytes where they lie. Whoever shares the storage sees zeroes, too.
    func wipeReadableBytes() { withUnsafeReadableBytes { SecretMemory.wipe(uniquelyOwned: $0) } }
}
