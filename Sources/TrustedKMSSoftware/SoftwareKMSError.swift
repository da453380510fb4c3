import SecretMemory

/// What is wrong with a software keystore, and what to do about it. No case carries a secret.
public enum SoftwareKMSError: Error, Sendable, Equatable, CustomStringConvertible {
    /// `create` never overwrites.
    case alreadyExists(path: String)
    case notFound(path: String)
    /// `reason` is the operating system's.
    case notReadable(path: String, reason: String)
    /// `reason` is the operating system's.
    case notWritable(path: String, reason: String)
    /// A folder, a device or a symbolic link.
    case notRegularFile(path: String)
    /// Others than the owner may read or write it; `mode` holds the permission bits.
    case insecurePermissions(path: String, mode: UInt32)
    case tooLarge(path: String, limitBytes: Int)
    /// Another program's file, or a later version's; `format` is nil where the file names none.
    case unknownFormat(path: String, format: String?)
    /// Authentic no more: `part` names what failed.
    case damaged(path: String, part: String)
    /// Or the salt, the cost or the check of the file was altered: one cannot tell these apart.
    case wrongPassphrase(path: String)
    /// Passphrase or key-encryption key were replaced since this process opened the file.
    case replacedPassphrase(path: String)
    /// The new passphrase is the old one.
    case samePassphrase
    case emptyPassphrase
    /// Outside of what ``ScryptCost`` allows.
    case unacceptableCost(reason: String)
    /// Another process writes.
    case busy(path: String)
    /// As many keys or versions as one keystore may hold.
    case full(path: String)
    /// An algorithm did not give its known answer, or the generator repeats itself: nothing is opened or sealed.
    case selfTestFailed(algorithm: String)
    /// No locked memory for the keys.
    case memory(SecretMemoryError)

    public var description: String {
        switch self {
        case .alreadyExists(let path):
            "there is a file at \(path) already; name another path, or remove the old keystore if nothing needs it"
        case .notFound(let path):
            "there is no keystore at \(path); create one first, or correct the path"
        case .notReadable(let path, let reason):
            "cannot read the keystore \(path): \(reason)"
        case .notWritable(let path, let reason):
            "cannot write the keystore \(path): \(reason); its folder must be writable by this user"
        case .notRegularFile(let path):
            "\(path) is not a regular file; name the keystore itself, not a folder or a symbolic link"
        case .insecurePermissions(let path, let mode):
            "the keystore \(path) has mode \(String(mode, radix: 8)), so that others can reach it; "
                + "run: chmod 600 \(path)"
        case .tooLarge(let path, let limit):
            "the keystore \(path) is larger than \(limit) bytes, which no keystore is; restore it from a backup"
        case .unknownFormat(let path, let format):
            "\(path) is not a keystore that this version reads (format \(Self.printable(format))); "
                + "correct the path, or use the version of hkms that wrote it"
        case .damaged(let path, let part):
            "the keystore \(path) is damaged or was altered (\(part)); restore it from a backup"
        case .wrongPassphrase(let path):
            "the passphrase does not open the keystore \(path); if it is the right one, "
                + "the file was altered: restore it from a backup"
        case .replacedPassphrase(let path):
            "the keystore \(path) has another passphrase, or another salt, since this process opened it; "
                + "give the process the passphrase of now and start it again"
        case .samePassphrase:
            "the new passphrase is the old one; give another, or renew the key-encryption key alone by rotation"
        case .emptyPassphrase:
            "the passphrase is empty; give at least one byte, better 20 random characters"
        case .unacceptableCost(let reason):
            "scrypt cost not accepted: \(reason)"
        case .busy(let path):
            "another process is writing the keystore \(path); try again"
        case .full(let path):
            "the keystore \(path) holds as many keys or versions as it can; destroy keys that nothing needs"
        case .selfTestFailed(let algorithm):
            "self-test of \(algorithm) failed; the keystore is not used until the process is started again: "
                + "if it fails once more, this program or this machine is not to be trusted with keys"
        case .memory(let error):
            error.description
        }
    }

    /// The format comes from a file that anybody may have written.
    private static func printable(_ format: String?) -> String {
        guard let format else { return "not given" }
        let kept = format.unicodeScalars.prefix(64).map { ("!"..."~").contains($0) ? Character($0) : "?" }
        return "'\(String(kept))'"
    }
}
