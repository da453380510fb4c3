import Attestation
import LocalFiles

/// The end of an audit log, verified without the years before it.
package enum AuditTail {
    /// Verifies the last file, and those before it from the one that must hold `expected`. What the first of them
    /// follows is taken on its own word; `hkms audit verify` follows it to the beginning.
    package static func verify(
        in directory: String, trusted: [VerificationKey], expecting expected: AuditHead?
    ) throws(AuditFault) -> AuditReport {
        let files = try AuditVerification.files(in: directory)
        let firsts = files.map { file in
            AuditFileName.first(in: file.split(separator: "/").last.map(String.init) ?? "") ?? 0
        }
        let start = expected.flatMap { head in firsts.lastIndex { $0 <= head.sequence } } ?? files.count - 1
        let after = try previous(of: files[start])
        // What the first line follows is not read here.
        let wanted = expected.flatMap { $0.sequence > after.sequence ? [$0] : nil } ?? []
        return try AuditVerification(trusted: trusted, after: after, expecting: wanted)
            .run(Array(files[start...]))
    }

    /// What a file's first line says that it follows.
    private static func previous(of file: String) throws(AuditFault) -> AuditHead {
        let line: [UInt8]?
        do throws(SystemError) {
            var reader = LineReader(try FileDescriptor(file: file))
            line = try reader.next()
        } catch {
            throw AuditFault(kind: .unreadable, file: file, line: 0, message: "cannot be read: \(error)")
        }
        guard let line else { throw AuditFault(kind: .missing, file: file, line: 0, message: "is empty") }
        do throws(AuditLineError) {
            let first = try AuditLine(parsing: line)
            return AuditHead(sequence: first.sequence - 1, digest: first.previous)
        } catch {
            throw AuditFault(
                kind: .malformed, file: file, line: 1, message: "is no line of an audit log: \(error)")
        }
    }
}
