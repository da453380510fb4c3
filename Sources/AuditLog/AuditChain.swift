import Attestation

/// Checks lines one after the other: form, number, digest of the line before, signatures.
struct AuditChain {
    /// A fault without its place.
    struct Break: Error {
        let kind: AuditFault.Kind
        let message: String
    }

    private let trusted: [VerificationKey]
    /// The last line; nil before the first, where any is taken.
    private(set) var head: AuditHead?
    /// The last checkpoint.
    private(set) var signed: AuditHead?
    private(set) var start: AuditLine.FileStart?

    /// - Parameters:
    ///   - trusted: whose signatures count; where empty, those of the keys that the files name.
    ///   - head: what the first line must follow; nil for any.
    init(trusted: [VerificationKey], after head: AuditHead?) {
        self.trusted = trusted
        self.head = head
        signed = head
    }

    /// The next line.
    /// - Parameter isFirst: of its file.
    mutating func add(_ bytes: [UInt8], isFirst: Bool) throws(Break) -> AuditLine {
        let line: AuditLine
        do throws(AuditLineError) {
            line = try AuditLine(parsing: bytes)
        } catch {
            throw Break(kind: .malformed, message: "is no line of an audit log: \(error)")
        }
        if let head {
            guard line.sequence == head.sequence + 1 else {
                throw Break(
                    kind: .sequence, message: "has the number \(line.sequence) where \(head.sequence + 1) belongs")
            }
            guard line.previous == head.digest else {
                throw Break(
                    kind: .chain, message: "does not follow the line before it: one of the two was changed")
            }
        }
        switch line.content {
        case .file(let start):
            guard isFirst else {
                throw Break(kind: .malformed, message: "begins a file where none begins")
            }
            guard trusted.isEmpty || trusted.contains(start.key) else {
                throw Break(kind: .unknownKey, message: "names the key \(start.key.hex), which is not trusted")
            }
            self.start = start
        case .operation, .recovery, .checkpoint:
            guard !isFirst else {
                throw Break(kind: .malformed, message: "does not say whose log the file is of")
            }
        }
        if case .checkpoint(let checkpoint) = line.content {
            guard let start, Self.isValid(checkpoint, of: line, installation: start.installation, keys: [start.key])
            else { throw Break(kind: .signature, message: "has a signature that does not hold") }
        }
        let head = AuditHead(sequence: line.sequence, digest: Digest(of: bytes))
        self.head = head
        if case .checkpoint = line.content { signed = head }
        return line
    }

    /// Whether a checkpoint, taken by itself, was signed by one of the keys.
    static func isValid(
        _ checkpoint: AuditLine.Checkpoint, of line: AuditLine, installation: String, keys: [VerificationKey]
    ) -> Bool {
        let message = AuditLine.Checkpoint.message(
            installation: installation, sequence: line.sequence, previous: line.previous, time: line.time)
        return keys.contains { $0.id == checkpoint.key && $0.isValid(checkpoint.signature, for: message) }
    }
}
