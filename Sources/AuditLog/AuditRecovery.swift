import Attestation
import Crypto
import LocalFiles

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// What a writer does before it goes on with a log: finds its end, and takes away what was never acknowledged.
///
/// Behind the last checkpoint stands what a crash left of a batch, if anything. It is kept in a file of its own, so
/// that nothing is destroyed, and the log says so; it is not taken into the log, because nobody signed it. Where a
/// checkpoint with a good signature stands further behind, it was no crash, and the log is left as it is.
enum AuditRecovery {
    struct Outcome {
        /// The file to go on with; nil where there is none.
        var last: Last?
        var cuts: [AuditLine.Recovery.Cut] = []
    }

    struct Last {
        let name: String
        /// Up to the end of the last checkpoint.
        let bytes: Int
        let head: AuditHead
        let key: VerificationKey
    }

    static func run(
        in directory: borrowing FileDescriptor, _ settings: AuditFiles.Settings
    ) throws(AuditError) -> Outcome {
        var outcome = Outcome()
        var damage: AuditFault?
        do throws(SystemError) {
            var names = try fileNames(in: directory)
            while damage == nil, outcome.last == nil, let name = names.popLast() {
                let end = try findEnd(of: name, in: directory, settings)
                (damage, outcome.last) = (end.damage, end.last)
                let kept = end.last?.bytes ?? 0
                if damage == nil, kept < end.size || end.last == nil {
                    if let cut = try cutOff(name, at: kept, after: end.last?.head, in: directory) {
                        outcome.cuts.append(cut)
                    }
                }
            }
        } catch {
            throw .unwritable(error, settings)
        }
        if let damage { throw .damaged(damage) }
        return outcome
    }

    /// Checks that a log has a line.
    static func check(
        _ expected: AuditHead, _ head: AuditHead, in directory: borrowing FileDescriptor,
        _ settings: AuditFiles.Settings
    ) throws(AuditError) {
        guard expected != head, expected.sequence > 0 else { return }
        let behind = AuditError.behind(expected: expected, found: head)
        guard expected.sequence < head.sequence else { throw behind }
        do throws(SystemError) {
            let names = try fileNames(in: directory)
            guard
                let name = names.last(where: { (AuditFileName.first(in: $0) ?? 0) <= expected.sequence }),
                let first = AuditFileName.first(in: name)
            else { throw SystemError(code: ENOENT) }
            var reader = LineReader(try directory.openFile(name))
            var sequence = first
            while let line = try reader.next() {
                if sequence == expected.sequence {
                    guard Digest(of: line) == expected.digest else { break }
                    return
                }
                sequence += 1
            }
        } catch let error where error.code != ENOENT {
            throw .unwritable(error, settings)
        } catch {}
        throw behind
    }

    /// In the order of the log.
    static func fileNames(in directory: borrowing FileDescriptor) throws(SystemError) -> [String] {
        try directory.names().compactMap { name in AuditFileName.first(in: name).map { ($0, name) } }
            .sorted { $0.0 < $1.0 }.map(\.1)
    }

    // MARK: - Steps

    private struct End {
        let size: Int
        var last: Last?
        var damage: AuditFault?
    }

    private static func findEnd(
        of name: String, in directory: borrowing FileDescriptor, _ settings: AuditFiles.Settings
    ) throws(SystemError) -> End {
        let file = try directory.openFile(name)
        let status = try file.status()
        guard status.kind == .regular else { throw SystemError(code: EEXIST) }
        var end = End(size: status.size)
        var chain = AuditChain(trusted: settings.trusted, after: nil)
        var fault: AuditFault?
        var reader = LineReader(file)
        var number = 0
        while let bytes = try reader.next() {
            number += 1
            if fault == nil {
                do throws(AuditChain.Break) {
                    let line = try chain.add(bytes, isFirst: number == 1)
                    if number == 1, line.sequence != AuditFileName.first(in: name) {
                        throw AuditChain.Break(kind: .sequence, message: "has another number than the file's name")
                    }
                    if case .checkpoint = line.content, let head = chain.head, let key = chain.start?.key {
                        end.last = Last(name: name, bytes: reader.offset, head: head, key: key)
                    }
                    continue
                } catch {
                    fault = AuditFault(kind: error.kind, file: name, line: number, message: error.message)
                    // That of no crash: it would take the whole file with it.
                    if error.kind == .unknownKey { end.damage = fault }
                }
            }
            guard let line = try? AuditLine(parsing: bytes), case .checkpoint(let checkpoint) = line.content,
                AuditChain.isValid(
                    checkpoint, of: line, installation: settings.installation, keys: settings.trusted)
            else { continue }
            end.damage = end.damage ?? fault
        }
        return end
    }

    /// Keeps what stands behind the last checkpoint in another file, then removes it here.
    /// - Returns: nil where nothing stands there.
    private static func cutOff(
        _ name: String, at kept: Int, after head: AuditHead?, in directory: borrowing FileDescriptor
    ) throws(SystemError) -> AuditLine.Recovery.Cut? {
        var hash = SHA256()
        var bytes = 0
        try forEachPiece(of: name, from: kept, in: directory) { piece in
            hash.update(data: piece)
            bytes += piece.count
        }
        var cut: AuditLine.Recovery.Cut?
        if bytes > 0, let digest = Digest(bytes: Array(hash.finalize())) {
            let next = head.map { $0.sequence + 1 } ?? AuditFileName.first(in: name) ?? 0
            let torn = AuditFileName.torn(before: next, digest: digest.hex)
            do throws(SystemError) {
                // A crash in the middle of this left part of it.
                try directory.removeFile(torn)
            } catch let error where error.code == ENOENT {}
            let copy = try directory.createFile(torn)
            try forEachPiece(of: name, from: kept, in: directory) { (piece) throws(SystemError) in
                try copy.write(piece)
            }
            try copy.sync()
            try directory.sync()
            cut = .init(file: torn, bytes: bytes, digest: digest)
        }
        if head == nil {
            try directory.removeFile(name)
        } else {
            let file = try directory.openFileToAppend(name)
            try file.truncate(to: kept)
            try file.sync()
        }
        try directory.sync()
        return cut
    }

    private static func forEachPiece(
        of name: String, from start: Int, in directory: borrowing FileDescriptor,
        _ body: ([UInt8]) throws(SystemError) -> Void
    ) throws(SystemError) {
        let file = try directory.openFile(name)
        var position = 0
        while true {
            let piece = try file.read(1 << 16)
            guard !piece.isEmpty else { return }
            let skipped = min(piece.count, max(0, start - position))
            position += piece.count
            if skipped < piece.count { try body(Array(piece[skipped...])) }
        }
    }
}
