import Attestation
import LocalFiles
import ServiceKit

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// Why something is not on record. Whoever asked for it gets no answer but this.
public enum AuditError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The log cannot be written now.
    case unwritable(directory: String, reason: String)
    /// Another process writes the log.
    case locked(directory: String)
    /// The log was changed since it was written.
    case damaged(AuditFault)
    /// The log does not have a line that it had.
    case behind(expected: AuditHead, found: AuditHead)
    /// Too many records wait.
    case saturated
    case closed
    /// A required copy was not taken in time; the record itself is on disk.
    case sink(name: String, reason: String)
    /// The name of the installation or gateway may not stand in a log.
    case invalidName(String)

    public var description: String {
        switch self {
        case .unwritable(let directory, let reason): "the audit log in \(directory) cannot be written: \(reason)"
        case .locked(let directory): "another process writes the audit log in \(directory)"
        case .damaged(let fault): "the audit log was changed since it was written: \(fault)"
        case .behind(let expected, let found):
            "the audit log ends at \(found) and does not hold \(expected), which it held before: it was cut off, "
                + "written anew, or restored from a backup"
        case .saturated: "too many records wait to be written to the audit log"
        case .closed: "the audit log is closed: the server is shutting down"
        case .sink(let name, let reason): "the audit sink \(name) has not taken the record: \(reason)"
        case .invalidName(let name): "\(name.prefix(64)) cannot be the name of an installation or a gateway"
        }
    }
}

extension AuditError: ProblemConvertible {
    public var problem: Problem {
        Problem(
            name: "audit-unavailable", title: "Audit log not available", status: 503,
            detail: "The operation cannot be put on record, so it was not answered.",
            fix: "Try again later; the operator finds the reason in the server's log.", retryAfterSeconds: 5)
    }
}

extension SystemError {
    /// What went wrong in the audit log and what mends it.
    var auditReason: String {
        switch code {
        case ENOSPC, EDQUOT: "no space left on its device; free some or add more"
        case EROFS: "its file system is read-only; mount it for writing"
        case EACCES, EPERM: "no permission; its folder must belong to the user who runs this, mode 0700"
        case EIO: "input/output error; check the device and the system's log"
        case ENOENT: "its file or folder is gone; who else writes there?"
        case ESTALE: "its file was changed or replaced by somebody else; who else writes there?"
        case EEXIST: "a file stands where its next one belongs; who else writes there?"
        case EFBIG: "its file is larger than the system lets a file be; raise the limit (ulimit -f)"
        case EMFILE, ENFILE: "too many open files; raise the limit (ulimit -n)"
        default: description
        }
    }
}
