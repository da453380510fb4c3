import Crypto
import CryptoExtras
import FoundationEssentials
import SecretMemory

/// The key that scrypt makes of the passphrase; it wraps the master keys and authenticates the file.
final class KeyEncryptionKey: Sendable {
    private static let byteCount = 32
    private let key: SecretBytes

    init(
        passphrase: borrowing SecretBytes, salt: Data, cost: ScryptCost
    ) throws(SoftwareKMSError) {
        guard passphrase.count > 0 else { throw .emptyPassphrase }
        let derived: SymmetricKey
        do {
            derived = try passphrase.withUnsafeBytes { bytes in
                try KDF.Scrypt.deriveKey(
                    from: bytes, salt: salt, outputByteCount: Self.byteCount, rounds: cost.rounds,
                    blockSize: ScryptCost.blockSize, parallelism: cost.parallelism)
            }
        } catch {
            throw .unacceptableCost(
                reason: "no memory for scrypt with N = \(cost.rounds), which takes \(cost.rounds / 1024) MiB")
        }
        // `derived` wipes its own storage when it dies.
        var key: SecretBytes
        do throws(SecretMemoryError) {
            key = try SecretBytes(count: Self.byteCount)
        } catch {
            throw .memory(error)
        }
        key.withUnsafeMutableBytes { key in
            derived.withUnsafeBytes { key.copyMemory(from: $0) }
        }
        self.key = key
    }

    /// A new key of a new salt, and what the file says of it.
    static func make(
        passphrase: borrowing SecretBytes, cost: ScryptCost, path: String
    ) throws(SoftwareKMSError) -> (key: KeyEncryptionKey, parameters: KeystoreDocument.Passphrase) {
        var generator = SystemRandomNumberGenerator()
        let salt = Data((0..<KeystoreDocument.saltBytes).map { _ in UInt8.random(in: 0...255, using: &generator) })
        let key = try KeyEncryptionKey(passphrase: passphrase, salt: salt, cost: cost)
        var parameters = KeystoreDocument.Passphrase(
            kdf: "scrypt", n: cost.rounds, r: ScryptCost.blockSize, p: cost.parallelism, salt: salt, check: Data())
        guard let check = key.authenticator(of: parameters.checkContext) else {
            throw .notWritable(path: path, reason: "AES-GCM failed")
        }
        parameters.check = check
        return (key, parameters)
    }

    func seal(_ plaintext: UnsafeRawBufferPointer, associatedData: [UInt8]) -> [UInt8]? {
        key.withUnsafeBytes { SecretAEAD.seal(plaintext, key: $0, associatedData: associatedData) }
    }

    /// - Returns: nil where the box is not authentic.
    func open(_ box: Data, associatedData: [UInt8]) throws(SoftwareKMSError) -> SecretBytes? {
        do throws(SecretMemoryError) {
            return try key.withUnsafeBytes { key throws(SecretMemoryError) in
                try SecretAEAD.open(box, key: key, associatedData: associatedData)
            }
        } catch {
            throw .memory(error)
        }
    }

    /// A box of nothing: proves that whoever made it knew this key and saw `bytes`.
    func authenticator(of bytes: [UInt8]) -> Data? {
        seal(UnsafeRawBufferPointer(start: nil, count: 0), associatedData: bytes).map { Data($0) }
    }

    func isAuthentic(_ box: Data, of bytes: [UInt8]) throws(SoftwareKMSError) -> Bool {
        try open(box, associatedData: bytes) != nil
    }
}
