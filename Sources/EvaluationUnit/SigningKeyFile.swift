import Attestation
import SecretMemory

/// Why there is no signing key. No case carries a part of the key.
public enum SigningKeyFileError: Error, Equatable, Sendable, CustomStringConvertible {
    case file(SecretFileError)
    case malformed(path: String)
    case memory(SecretMemoryError)

    public var description: String {
        switch self {
        case .file(let error): error.description
        case .malformed(let path):
            "\(path) is not a signing key: it must hold 64 lower-case hex digits; hkms-evaluator new-key makes one"
        case .memory(let error): error.description
        }
    }
}

/// A file with an Ed25519 seed (the private key of RFC 8032) as 64 lower-case hex digits, which only its
/// owner may read.
public enum SigningKeyFile {
    private static let seedBytes = 32

    /// Reads a signing key.
    /// - Throws: ``SigningKeyFileError``; a file that group or others may read is refused.
    public static func load(_ path: String) throws(SigningKeyFileError) -> SigningKey {
        do {
            let digits = try SecretFile.read(path)
            guard digits.count == 2 * seedBytes, let seed = try digits.decodingHex() else {
                throw SigningKeyFileError.malformed(path: path)
            }
            return try SigningKey(seed: seed)
        } catch { throw Self.error(error, path: path) }
    }

    /// Makes a new signing key in a file of mode 0600. An existing file is not touched.
    /// - Returns: the public half.
    /// - Throws: ``SigningKeyFileError``.
    public static func create(_ path: String) throws(SigningKeyFileError) -> VerificationKey {
        do {
            let seed = try SecretBytes(randomCount: seedBytes)
            try SecretFile.create(path, try seed.encodingHex())
            return try SigningKey(seed: seed).verificationKey
        } catch { throw Self.error(error, path: path) }
    }

    private static func error(_ error: any Error, path: String) -> SigningKeyFileError {
        switch error {
        case let error as SigningKeyFileError: error
        case let error as SecretFileError: .file(error)
        case let error as SecretMemoryError: .memory(error)
        default: .malformed(path: path)
        }
    }
}
