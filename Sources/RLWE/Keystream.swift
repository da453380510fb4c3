import SecretMemory
import _CryptoExtras

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// AES-256-CTR keystream as 64-bit words: word i is the little-endian number of bytes 8i..8i+7 of the
/// stream from counter block `u32 x || u32 y || u64 0`, counted up big-endian (derivation suite 1, 4).
///
/// The one place that touches swift-crypto's underscored AES._CTR.
public struct Keystream {
    private let key: SymmetricKey
    private let isPublic: Bool
    private let x: UInt32
    private let y: UInt32
    private var position = 0

    /// Words of one call to AES, 64 KiB: its set-up hardly counts, and zeros, stream and what is made of them stay in
    /// the second-level cache.
    static let pieceWords = 8192
    private static let zeros = Data(count: pieceWords * 8)

    /// - Parameter key: 32 bytes.
    public init(key: borrowing SecretBytes, x: UInt32, y: UInt32) {
        precondition(key.count == 32, "an AES-256 key")
        // SymmetricKey's own storage is wiped when it is freed.
        self.key = key.withUnsafeBytes { SymmetricKey(data: $0) }
        isPublic = false
        self.x = x
        self.y = y
    }

    /// A stream from a public key, the rho of derivation suite 1.
    /// - Parameter publicSeed: 32 bytes.
    public init(publicSeed: [UInt8], x: UInt32, y: UInt32) {
        precondition(publicSeed.count == 32, "an AES-256 key")
        key = SymmetricKey(data: publicSeed)
        isPublic = true
        self.x = x
        self.y = y
    }

    /// Writes the next words of the stream.
    public mutating func next(_ words: UnsafeMutableBufferPointer<UInt64>) throws {
        try forEachPiece(of: words.count) { start, piece in
            UnsafeMutableBufferPointer(rebasing: words[start..<start + piece.count]).baseAddress?
                .update(from: piece.baseAddress!, count: piece.count)
        }
    }

    /// Hands out the next `count` words of the stream where the library has written them, without a copy.
    /// - Parameter body: called with pieces of ``pieceWords`` words, the last of what is left, from a stream that is at
    ///   an even word, and with where each begins. A secret stream's piece is wiped afterwards.
    mutating func forEachPiece(
        of count: Int, _ body: (_ start: Int, _ piece: UnsafeBufferPointer<UInt64>) throws -> Void
    ) throws {
        var start = 0
        while start < count {
            let skip = position & 1  // a block is two words
            let wanted = min(Self.pieceWords - skip, count - start)
            let bytes = (wanted + skip) * 8
            let nonce = try AES._CTR.Nonce(nonceBytes: counterBlock(position / 2))
            let zeros = bytes == Self.zeros.count ? Self.zeros : Self.zeros.prefix(bytes)
            // The library leaves the key's schedule on the stack.
            var chunk =
                isPublic
                ? try AES._CTR.encrypt(zeros, using: key, nonce: nonce)
                : try SecretMemory.withWipedStack { try AES._CTR.encrypt(zeros, using: key, nonce: nonce) }
            if UInt64(littleEndian: 1) != 1 {
                chunk.withUnsafeMutableBytes { chunk in
                    for index in 0..<wanted + skip {
                        let word = chunk.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self)
                        chunk.storeBytes(of: word.byteSwapped, toByteOffset: index * 8, as: UInt64.self)
                    }
                }
            }
            try chunk.withUnsafeBytes { chunk in
                defer { if !isPublic { SecretMemory.wipe(uniquelyOwned: chunk) } }
                // Data of this size has memory of malloc's, which is aligned.
                try chunk.withMemoryRebound(to: UInt64.self) { words in
                    try body(start, UnsafeBufferPointer(rebasing: words[skip..<skip + wanted]))
                }
            }
            start += wanted
            position += wanted
        }
    }

    private func counterBlock(_ block: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(16)
        for shift in stride(from: 24, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: x >> UInt32(shift)))
        }
        for shift in stride(from: 24, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: y >> UInt32(shift)))
        }
        for shift in stride(from: 56, through: 0, by: -8) {
            bytes.append(UInt8(truncatingIfNeeded: UInt64(block) >> UInt64(shift)))
        }
        return bytes
    }
}
