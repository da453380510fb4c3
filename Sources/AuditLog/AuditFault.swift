/// The first thing that is wrong with an audit log, and where.
public struct AuditFault: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: String, Sendable, CaseIterable {
        /// Bytes that are no line of a log.
        case malformed
        /// A line's number does not follow the one before, or its file's name: lines or files are missing, there
        /// twice, or in another order.
        case sequence
        /// A line does not name the digest of the line before.
        case chain
        /// A checkpoint's signature is not that of its key over what stands before it.
        case signature
        /// A file names a key that is not trusted.
        case unknownKey = "unknown-key"
        /// Lines behind the last checkpoint.
        case unsigned
        /// A head that somebody kept is not in the log: it was cut off, or written anew.
        case head
        /// There is no log.
        case missing
        /// A file cannot be read.
        case unreadable
    }

    public let kind: Kind
    public let file: String
    /// From 1; 0 where the fault is none of a line.
    public let line: Int
    public let message: String

    public var description: String { (line > 0 ? "\(file):\(line)" : file) + ": \(message)" }
}
