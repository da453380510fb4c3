import Crypto
import FoundationEssentials
import SecretMemory

/// AES-256-GCM from ``SecretBytes`` to ``SecretBytes``, leaving no copy that can be reached to wipe.
///
/// A box is nonce (12 bytes) || ciphertext || tag (16 bytes).
enum SecretAEAD {
    static let overhead = 12 + 16

    /// Seals under a fresh random nonce.
    /// - Parameter nonce: of a known answer, and of nothing else.
    /// - Returns: nil only where the library fails.
    static func seal(
        _ plaintext: UnsafeRawBufferPointer, key: UnsafeRawBufferPointer, associatedData: [UInt8],
        nonce: [UInt8]? = nil
    ) -> [UInt8]? {
        SecretMemory.withWipedStack {
            let box = try? AES.GCM.seal(
                plaintext, using: SymmetricKey(data: key), nonce: nonce.map { try AES.GCM.Nonce(data: $0) },
                authenticating: associatedData)
            return box?.combined.map { Array($0) }
        }
    }

    /// - Returns: nil where the box is not authentic.
    static func open(
        _ box: some DataProtocol, key: UnsafeRawBufferPointer, associatedData: [UInt8]
    ) throws(SecretMemoryError) -> SecretBytes? {
        try SecretMemory.withWipedStack { () throws(SecretMemoryError) -> SecretBytes? in
            guard let sealed = try? AES.GCM.SealedBox(combined: box),
                let opened = try? AES.GCM.open(sealed, using: SymmetricKey(data: key), authenticating: associatedData)
            else { return nil }
            // `opened` is ours alone; what it leaves behind when freed would be all but its first 16 bytes.
            defer { opened.withUnsafeBytes { SecretMemory.wipe(uniquelyOwned: $0) } }
            var secret = try SecretBytes(count: opened.count)
            secret.withUnsafeMutableBytes { target in
                opened.withUnsafeBytes { target.copyMemory(from: $0) }
            }
            return secret
        }
    }
}
