import Attestation

/// One line of an audit log: its number, time, the digest of the line before, and what it says.
public struct AuditLine: Sendable, Hashable {
    public enum Content: Sendable, Hashable {
        /// The first line of every file.
        case file(FileStart)
        case operation(AuditRecord)
        /// The log goes on after a crash or a failure.
        case recovery(Recovery)
        /// The last line of every batch.
        case checkpoint(Checkpoint)
    }

    /// Whose log it is and whose key signs it.
    public struct FileStart: Sendable, Hashable {
        public let installation: String
        public let gateway: String
        /// Signs the checkpoints of this file.
        public let key: VerificationKey
    }

    public struct Recovery: Sendable, Hashable {
        public enum Cause: String, Sendable, CaseIterable {
            /// At the start the log had something behind its last checkpoint.
            case start
            /// The log could not be written for a while.
            case failure
        }

        public let cause: Cause
        public let reason: String
        /// What was cut off, never acknowledged to anybody; kept in a file of this name.
        public let cut: Cut?
        /// So many of the next records are of operations that were answered by an error, because they could not be
        /// written in time.
        public let late: Int
        /// So many more records were dropped.
        public let lost: Int

        public struct Cut: Sendable, Hashable {
            public let file: String
            public let bytes: Int
            /// SHA-256 of these bytes.
            public let digest: Digest
        }

        init(cause: Cause, reason: String, cut: Cut?, late: Int, lost: Int) {
            self.cause = cause
            self.reason = AuditText.bounded(reason)
            self.cut = cut
            self.late = late
            self.lost = lost
        }
    }

    /// The log up to the line before, signed.
    public struct Checkpoint: Sendable, Hashable {
        public let key: SigningKeyID
        /// Ed25519, 64 bytes, of ``message(installation:sequence:previous:time:)``.
        public let signature: [UInt8]

        /// Lines of ASCII, each with a newline: `hkms audit checkpoint v1`, the installation, the checkpoint's own
        /// number, the digest of the line before, the checkpoint's time.
        static func message(installation: String, sequence: Int, previous: Digest, time: AuditTime) -> [UInt8] {
            Array("hkms audit checkpoint v1\n\(installation)\n\(sequence)\n\(previous.hex)\n\(time)\n".utf8)
        }
    }

    /// What every file names as its format.
    static let format = "hkms.audit.v1"
    /// Bytes of a line with its newline, at most; what its writer bounds is less.
    public static let maximumBytes = 1 << 17

    /// From 1, without gaps.
    public let sequence: Int
    public let time: AuditTime
    /// The digest of the line before, newline included; zeros before the first.
    public let previous: Digest
    public let content: Content

    init(sequence: Int, time: AuditTime, previous: Digest, content: Content) {
        self.sequence = sequence
        self.time = time
        self.previous = previous
        self.content = content
    }

    // MARK: - Writing

    /// The line's bytes with its newline.
    public func serialized() -> [UInt8] {
        var members: [CanonicalJSON.Member] = [
            .init("seq", .integer(sequence)), .init("time", .text("\(time)")), .init("prev", .text(previous.hex)),
        ]
        switch content {
        case .file(let start):
            members += [
                .init("type", .text("file")), .init("format", .text(Self.format)),
                .init("installation", .text(start.installation)), .init("gateway", .text(start.gateway)),
                .init("key", .text(start.key.hex)),
            ]
        case .operation(let record): members += [.init("type", .text("operation"))] + record.members
        case .recovery(let recovery): members += [.init("type", .text("recovery"))] + recovery.members
        case .checkpoint(let checkpoint):
            members += [
                .init("type", .text("checkpoint")), .init("key", .text(checkpoint.key.value)),
                .init("signature", .text(Digest.hex(checkpoint.signature))),
            ]
        }
        var bytes: [UInt8] = []
        CanonicalJSON.object(members).append(to: &bytes)
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }

    // MARK: - Reading

    /// Reads a line with its newline. Only the one form is taken in which it is written.
    /// - Throws: for any other bytes.
    public init(parsing bytes: [UInt8]) throws(AuditLineError) {
        guard bytes.last == UInt8(ascii: "\n") else { throw AuditLineError("it does not end in a newline") }
        guard bytes.count <= Self.maximumBytes else {
            throw AuditLineError("it is longer than \(Self.maximumBytes) bytes")
        }
        var fields = try CanonicalFields(CanonicalJSON(parsing: bytes.dropLast()))
        sequence = try fields.integer("seq")
        guard let time = AuditTime(try fields.text("time")) else { throw AuditLineError("time is none") }
        self.time = time
        guard let previous = Digest(hex: try fields.text("prev")) else { throw AuditLineError("prev is no digest") }
        self.previous = previous
        switch try fields.text("type") {
        case "file": content = .file(try FileStart(&fields))
        case "operation": content = .operation(try AuditRecord(&fields))
        case "recovery": content = .recovery(try Recovery(&fields))
        case "checkpoint": content = .checkpoint(try Checkpoint(&fields))
        default: throw AuditLineError("its type is unknown")
        }
        try fields.finish()
        guard serialized() == bytes else { throw AuditLineError("it is not written in the canonical form") }
    }
}

extension AuditLine.FileStart {
    fileprivate init(_ fields: inout CanonicalFields) throws(AuditLineError) {
        guard try fields.text("format") == AuditLine.format else { throw AuditLineError("its format is unknown") }
        installation = try fields.text("installation")
        guard Self.isName(installation) else { throw AuditLineError("installation is no name of one") }
        gateway = try fields.text("gateway")
        guard let key = VerificationKey(hex: try fields.text("key")) else { throw AuditLineError("key is none") }
        self.key = key
    }

    /// As the configuration has it. What is signed depends on it: it must not have a newline.
    static func isName(_ text: String) -> Bool {
        (1...64).contains(text.utf8.count) && text.utf8.allSatisfy { (0x21...0x7E).contains($0) }
    }
}

extension AuditLine.Recovery {
    fileprivate var members: [CanonicalJSON.Member] {
        var members: [CanonicalJSON.Member] = [
            .init("cause", .text(cause.rawValue)), .init("reason", .text(reason)),
        ]
        if let cut {
            members += [
                .init("cutFile", .text(cut.file)), .init("cutBytes", .integer(cut.bytes)),
                .init("cutDigest", .text(cut.digest.hex)),
            ]
        }
        return members + [.init("late", .integer(late)), .init("lost", .integer(lost))]
    }

    fileprivate init(_ fields: inout CanonicalFields) throws(AuditLineError) {
        guard let cause = Cause(rawValue: try fields.text("cause")) else { throw AuditLineError("cause is unknown") }
        let reason = try fields.text("reason")
        var cut: Cut?
        if let file = try fields.optionalText("cutFile") {
            let bytes = try fields.integer("cutBytes")
            guard let digest = Digest(hex: try fields.text("cutDigest")) else {
                throw AuditLineError("cutDigest is no digest")
            }
            cut = Cut(file: file, bytes: bytes, digest: digest)
        }
        self.init(
            cause: cause, reason: reason, cut: cut, late: try fields.integer("late"), lost: try fields.integer("lost"))
    }
}

extension AuditLine.Checkpoint {
    fileprivate init(_ fields: inout CanonicalFields) throws(AuditLineError) {
        guard let key = SigningKeyID(try fields.text("key")) else { throw AuditLineError("key is the id of none") }
        self.key = key
        guard let signature = Digest.bytes(hex: try fields.text("signature")), signature.count == 64 else {
            throw AuditLineError("signature is none")
        }
        self.signature = signature
    }
}
