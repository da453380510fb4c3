import Attestation
import LocalFiles

#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// The blocking half of ``AuditTrail``: the files of a log, one writer at a time.
///
/// A batch is appended by one write, ends in a checkpoint, and is acknowledged when it is on the device. So whatever
/// stands behind the last checkpoint was never acknowledged. After a write or a flush that failed nobody knows what is
/// on the device: the kernel may have dropped what it could not write, and a second flush would report success. Then
/// the file is first cut back to what was acknowledged, and written from there.
struct AuditFiles: ~Copyable {
    /// What a log is written by and for.
    struct Settings: Sendable {
        let directory: String
        /// A file of this size or more is followed by a new one.
        let fileBytes: Int
        let installation: String
        let gateway: String
        let key: SigningKey
        /// Earlier keys, whose files are still believed.
        let earlierKeys: [VerificationKey]
        let identifiers: AuditIdentifierPolicy
        let clock: @Sendable () -> AuditTime

        var trusted: [VerificationKey] { [key.verificationKey] + earlierKeys }
    }

    /// Records kept of operations that failed for want of a log.
    private static let maximumLate = 1024

    let settings: Settings
    let directory: FileDescriptor
    /// Locked for as long as this process writes.
    private let lock: FileDescriptor
    /// Empty before the first.
    private var fileName = ""
    /// As much of the file as was acknowledged.
    private var fileBytes = Int.max
    /// The last line that was acknowledged.
    private(set) var head = AuditHead.origin
    /// A file that a failed batch may have left.
    private var leftover: String?
    /// Why the last batch failed.
    private(set) var failure: AuditError?
    private var late: [AuditRecord] = []
    private var lost = 0

    private init(
        _ settings: Settings, directory: consuming FileDescriptor, lock: consuming FileDescriptor
    ) {
        self.settings = settings
        self.directory = directory
        self.lock = lock
    }

    /// Opens a log, makes one where there is none, and mends what a crash left.
    /// - Parameter expected: a line that the log must have.
    static func open(_ settings: Settings, expecting expected: AuditHead?) throws(AuditError) -> AuditFiles {
        for name in [settings.installation, settings.gateway] where !AuditLine.FileStart.isName(name) {
            throw .invalidName(name)
        }
        let directory = try openDirectory(settings)
        let lock = try takeLock(in: directory, settings)
        let recovered = try AuditRecovery.run(in: directory, settings)
        var files = AuditFiles(settings, directory: directory, lock: lock)
        if let last = recovered.last {
            files.fileName = last.name
            // A file is signed by one key.
            files.fileBytes = last.key == settings.key.verificationKey ? last.bytes : .max
            files.head = last.head
        }
        if let expected { try AuditRecovery.check(expected, files.head, in: files.directory, settings) }
        // At once, so that a log that cannot be written stops a server's start and not its first request.
        if recovered.last == nil || !recovered.cuts.isEmpty {
            let reason = "what stood behind the last checkpoint was never acknowledged"
            do throws(SystemError) {
                _ = try files.write(
                    recovered.cuts.map { cut in
                        .recovery(.init(cause: .start, reason: reason, cut: cut, late: 0, lost: 0))
                    })
            } catch {
                throw .unwritable(error, settings)
            }
        }
        return files
    }

    private static func openDirectory(_ settings: Settings) throws(AuditError) -> FileDescriptor {
        do throws(SystemError) {
            try Directories.create(settings.directory)
            return try FileDescriptor(directory: settings.directory)
        } catch {
            throw .unwritable(error, settings)
        }
    }

    private static func takeLock(
        in directory: borrowing FileDescriptor, _ settings: Settings
    ) throws(AuditError) -> FileDescriptor {
        do throws(SystemError) {
            let lock = try directory.openLockFile(AuditFileName.lock)
            if try lock.tryLock() { return lock }
        } catch {
            throw .unwritable(error, settings)
        }
        throw .locked(directory: settings.directory)
    }

    /// Lets another process write. Nothing may be committed after it.
    func release() { lock.unlock() }

    // MARK: - Writing

    /// Appends records and a checkpoint, and returns when they are on the device.
    /// - Returns: the lines, without the checkpoint's.
    /// - Throws: where that failed; the records are kept, and written late by the next commit that does not.
    mutating func commit(_ records: [AuditRecord]) throws(AuditError) -> AuditBatch {
        do throws(SystemError) {
            var contents: [AuditLine.Content] = []
            if let failure {
                try cutBack()
                contents.append(
                    .recovery(.init(cause: .failure, reason: "\(failure)", cut: nil, late: late.count, lost: lost)))
                contents += late.map { .operation($0.replacingIdentifiers(settings.identifiers)) }
            }
            let before = contents.count
            contents += records.map { .operation($0.replacingIdentifiers(settings.identifiers)) }
            let batch = try write(contents, recordsFrom: before)
            (failure, late, lost) = (nil, [], 0)
            return batch
        } catch {
            let failure = AuditError.unwritable(error, settings)
            // The first reason is the one to know.
            self.failure = self.failure ?? failure
            keep(records)
            throw failure
        }
    }

    /// Keeps records that were not written, as far as there is room.
    mutating func keep(_ records: [AuditRecord]) {
        let kept = records.prefix(max(0, Self.maximumLate - late.count))
        late += kept
        lost += records.count - kept.count
    }

    private mutating func write(
        _ contents: [AuditLine.Content], recordsFrom first: Int = 0
    ) throws(SystemError) -> AuditBatch {
        let isNew = fileBytes >= settings.fileBytes
        var batch = AuditBatch(after: head, time: settings.clock())
        if isNew {
            batch.add(
                .file(
                    .init(
                        installation: settings.installation, gateway: settings.gateway,
                        key: settings.key.verificationKey)))
        }
        for content in contents { batch.add(content) }
        try batch.sign(settings)
        batch.firstRecord = (isNew ? 1 : 0) + first
        let bytes = batch.lines.flatMap(\.bytes)
        if isNew {
            let name = AuditFileName.of(first: head.sequence + 1)
            let file = try directory.createFile(name)
            // From here on it is this log's own.
            leftover = name
            try file.write(bytes)
            try file.syncData()
            try directory.sync()
            (fileName, fileBytes, leftover) = (name, bytes.count, nil)
        } else {
            // By its name each time: what is acknowledged stands where the log is looked for.
            let file = try directory.openFileToAppend(fileName)
            guard try file.status().size == fileBytes else { throw SystemError(code: ESTALE) }
            try file.write(bytes)
            try file.syncData()
            fileBytes += bytes.count
        }
        head = batch.head
        return batch
    }

    /// Takes away what a failed batch may have left.
    private mutating func cutBack() throws(SystemError) {
        if let leftover {
            do throws(SystemError) {
                try directory.removeFile(leftover)
            } catch let error where error.code == ENOENT {}
            // It must not come back after a crash, when the log has gone on without it.
            try directory.sync()
            self.leftover = nil
        }
        guard !fileName.isEmpty else { return }
        let file = try directory.openFileToAppend(fileName)
        let size = try file.status().size
        guard fileBytes < .max else { return }
        guard size >= fileBytes else { throw SystemError(code: ESTALE) }
        try file.truncate(to: fileBytes)
        try file.sync()
    }
}

/// Lines that are written together.
struct AuditBatch {
    struct Line: Sendable {
        let head: AuditHead
        let bytes: [UInt8]
    }

    private(set) var lines: [Line] = []
    private(set) var head: AuditHead
    private let time: AuditTime
    /// The place of the first line of the records that were asked for.
    var firstRecord = 0

    init(after head: AuditHead, time: AuditTime) {
        self.head = head
        self.time = time
    }

    mutating func add(_ content: AuditLine.Content) {
        let line = AuditLine(sequence: head.sequence + 1, time: time, previous: head.digest, content: content)
        let bytes = line.serialized()
        head = AuditHead(sequence: line.sequence, digest: Digest(of: bytes))
        lines.append(Line(head: head, bytes: bytes))
    }

    mutating func sign(_ settings: AuditFiles.Settings) throws(SystemError) {
        let message = AuditLine.Checkpoint.message(
            installation: settings.installation, sequence: head.sequence + 1, previous: head.digest, time: time)
        // A key that could be made can sign.
        guard let signature = try? settings.key.sign(message) else { throw SystemError(code: EINVAL) }
        add(.checkpoint(.init(key: settings.key.id, signature: signature)))
    }
}

extension AuditError {
    static func unwritable(_ error: SystemError, _ settings: AuditFiles.Settings) -> AuditError {
        .unwritable(directory: settings.directory, reason: error.auditReason)
    }
}
