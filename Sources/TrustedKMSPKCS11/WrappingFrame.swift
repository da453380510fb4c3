import KeyManagement
import SecretMemory

/// A secret as it is given to AES key wrap: mechanism, length (2 bytes, big-endian), 13 random bytes, secret, zeros to
/// whole blocks of 8 bytes.
///
/// Modules disagree on padding; some give back more bytes than were wrapped. A frame needs none, and says itself how
/// long its secret is. The mechanism is inside because two names can stand for one algorithm. Key wrap is deterministic:
/// without what is random, one could see that a secret was sealed twice.
enum WrappingFrame {
    private static let headerBytes = 16
    static let maximumBytes = (headerBytes + PKCS11Blob.maximumPlaintextBytes + 7) / 8 * 8

    static func make(
        _ secret: borrowing SecretBytes, _ mechanism: PKCS11Blob.Mechanism
    ) throws(SecretMemoryError) -> SecretBytes {
        let count = secret.count
        let random = try SecretBytes(randomCount: headerBytes - 3)
        var frame = try SecretBytes(count: (headerBytes + count + 7) / 8 * 8)
        frame.withUnsafeMutableBytes { frame in
            frame[0] = mechanism.rawValue
            frame[1] = UInt8(count >> 8)
            frame[2] = UInt8(count & 0xFF)
            random.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: frame[3..<headerBytes]).copyMemory(from: $0)
            }
            secret.withUnsafeBytes {
                UnsafeMutableRawBufferPointer(rebasing: frame[headerBytes..<headerBytes + count]).copyMemory(from: $0)
            }
        }
        return frame
    }

    /// - Returns: nil for what is no frame of this mechanism.
    static func read(
        _ frame: borrowing SecretBytes, _ mechanism: PKCS11Blob.Mechanism
    ) throws(SecretMemoryError) -> SecretBytes? {
        let count = frame.withUnsafeBytes { frame -> Int? in
            guard frame.count > headerBytes, frame[0] == mechanism.rawValue else { return nil }
            let count = Int(frame[1]) << 8 | Int(frame[2])
            guard (1...PKCS11Blob.maximumPlaintextBytes).contains(count),
                frame.count == (headerBytes + count + 7) / 8 * 8,
                frame[(headerBytes + count)...].allSatisfy({ $0 == 0 })
            else { return nil }
            return count
        }
        guard let count else { return nil }
        var secret = try SecretBytes(count: count)
        secret.withUnsafeMutableBytes { secret in
            frame.withUnsafeBytes {
                secret.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[headerBytes..<headerBytes + count]))
            }
        }
        return secret
    }
}
