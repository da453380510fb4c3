import Crypto
import SecretKeys
import SecretMemory

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// AES-256-GCM of a seed under a data key, with the sealing context as associated data.
enum EnvelopeEncryption {
    /// nonce (12) || ciphertext (32) || tag (16).
    /// - Throws: ``KMSError/invalidResponse(reason:)`` for a data key that would not open it again.
    static func seal(
        _ seed: borrowing SecretBytes, dataKey: borrowing SecretBytes, context: SealingContext
    ) throws -> [UInt8] {
        guard dataKey.count == 32 else {
            throw KMSError.invalidResponse(reason: "a data key of \(dataKey.count) bytes instead of 32")
        }
        let box = try SecretMemory.withWipedStack {
            let key = dataKey.withUnsafeBytes { SymmetricKey(data: $0) }
            return try seed.withUnsafeBytes { try AES.GCM.seal($0, using: key, authenticating: context.bytes) }
        }
        guard let combined = box.combined else {
            throw KeyManagementError.internalFailure(reason: "AES-GCM gave no combined form")
        }
        return Array(combined)
    }

    /// - Throws: ``KMSError/cannotOpen`` for anything but what ``seal(_:dataKey:context:)`` made.
    static func open(
        _ sealed: [UInt8], dataKey: borrowing SecretBytes, context: SealingContext
    ) throws -> SecretBytes {
        guard dataKey.count == 32, let box = try? AES.GCM.SealedBox(combined: sealed) else { throw KMSError.cannotOpen }
        return try SecretMemory.withWipedStack {
            let key = dataKey.withUnsafeBytes { SymmetricKey(data: $0) }
            guard let opened = try? AES.GCM.open(box, using: key, authenticating: context.bytes) else {
                throw KMSError.cannotOpen
            }
            var result = try SecretBytes(count: opened.count)
            opened.withUnsafeBytes { opened in
                result.withUnsafeMutableBytes { $0.copyMemory(from: opened) }
                SecretMemory.wipe(uniquelyOwned: opened)
            }
            return result
        }
    }
}
