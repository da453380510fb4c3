import FoundationEssentials

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// The file of a keystore: read whole, replaced atomically, locked between processes.
struct KeystoreFile: Sendable {
    let path: String

    /// One written version of the file, held open so that its inode cannot be given to a later one.
    final class Pin: Sendable {
        private let descriptor: Int32
        fileprivate let identity: Identity

        /// Takes over `descriptor`.
        fileprivate init(descriptor: Int32, status: stat) {
            self.descriptor = descriptor
            identity = Identity(status)
        }

        deinit { close(descriptor) }
    }

    fileprivate struct Identity: Sendable, Equatable {
        var device: UInt64
        var inode: UInt64
        var size: Int64
        var changedSeconds: Int64
        var changedNanoseconds: Int64

        init(_ status: stat) {
            device = UInt64(truncatingIfNeeded: status.st_dev)
            inode = UInt64(truncatingIfNeeded: status.st_ino)
            size = Int64(status.st_size)
            #if canImport(Darwin)
                let changed = status.st_ctimespec
            #else
                let changed = status.st_ctim
            #endif
            changedSeconds = Int64(changed.tv_sec)
            changedNanoseconds = Int64(changed.tv_nsec)
        }
    }

    /// Whether the file at the path is the one that was read or written then.
    func isStill(_ pin: Pin) throws(SoftwareKMSError) -> Bool {
        var status = stat()
        guard lstat(path, &status) == 0 else { throw readError() }
        return Identity(status) == pin.identity
    }

    /// - Throws: ``SoftwareKMSError`` for a file that is missing, not regular, readable by others or too large.
    func read(limit: Int) throws(SoftwareKMSError) -> (bytes: Data, pin: Pin) {
        // O_NONBLOCK: a FIFO at this path must not hang us before we see what it is.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else { throw readError() }
        var status = stat()
        let known = fstat(descriptor, &status) == 0
        let pin = Pin(descriptor: descriptor, status: status)
        guard known else { throw readError() }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegularFile(path: path) }
        guard status.st_mode & 0o077 == 0 else {
            throw .insecurePermissions(path: path, mode: UInt32(status.st_mode) & 0o7777)
        }
        guard Int(status.st_size) <= limit else { throw .tooLarge(path: path, limitBytes: limit) }
        var bytes = Data(count: Int(status.st_size))
        var filled = 0
        while filled < bytes.count {
            let count = bytes.withUnsafeMutableBytes { System.read(descriptor, $0, from: filled) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw readError() }
            guard count > 0 else { break }
            filled += count
        }
        return (bytes.prefix(filled), pin)
    }

    /// Puts `bytes` in the place of the file: after a crash at any moment there is the old file or the new one.
    ///
    /// The caller holds the ``Lock``. A temporary file that a crash left behind is replaced.
    /// - Parameter replacing: false to fail with `alreadyExists` where there is a file.
    func write(_ bytes: Data, replacing: Bool) throws(SoftwareKMSError) -> Pin {
        let temporary = path + ".tmp"
        if unlink(temporary) != 0, errno != ENOENT { throw writeError() }
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw writeError() }
        do throws(SoftwareKMSError) {
            try fill(descriptor, with: bytes)
            if replacing {
                guard rename(temporary, path) == 0 else { throw writeError() }
            } else {
                // Unlike rename, link never replaces.
                guard link(temporary, path) == 0 else {
                    throw errno == EEXIST ? .alreadyExists(path: path) : writeError()
                }
                unlink(temporary)
            }
            try syncDirectory()
            // Last, because rename, link and unlink change the change time.
            var status = stat()
            guard fstat(descriptor, &status) == 0 else { throw writeError() }
            return Pin(descriptor: descriptor, status: status)
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
    }

    private func fill(_ descriptor: Int32, with bytes: Data) throws(SoftwareKMSError) {
        // The umask may have taken bits away from the owner.
        guard fchmod(descriptor, 0o600) == 0 else { throw writeError() }
        var offset = 0
        while offset < bytes.count {
            let count = bytes.withUnsafeBytes { System.write(descriptor, $0, from: offset) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw writeError() }
            offset += count
        }
        guard fsync(descriptor) == 0 else { throw writeError() }
    }

    private func syncDirectory() throws(SoftwareKMSError) {
        let descriptor = open(directory, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard descriptor >= 0 else { throw writeError() }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw writeError() }
    }

    private var directory: String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private func readError() -> SoftwareKMSError {
        switch errno {
        case ENOENT: .notFound(path: path)
        case ELOOP: .notRegularFile(path: path)
        default: .notReadable(path: path, reason: Self.systemReason())
        }
    }

    private func writeError() -> SoftwareKMSError { .notWritable(path: path, reason: Self.systemReason()) }

    private static func systemReason() -> String { String(cString: strerror(errno)) }
}

// MARK: - Locking

extension KeystoreFile {
    /// The right to write, held until the value dies. It binds threads and processes alike, because
    /// each holder has its own open file description.
    struct Lock: ~Copyable {
        private let descriptor: Int32

        fileprivate init(descriptor: Int32) { self.descriptor = descriptor }

        deinit { close(descriptor) }
    }

    /// The lock is a file of its own, since every write replaces the keystore's inode.
    /// - Returns: nil where another holds it.
    func tryLock() throws(SoftwareKMSError) -> Lock? {
        let descriptor = open(path + ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw writeError() }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            let reason = errno
            close(descriptor)
            if reason == EWOULDBLOCK || reason == EINTR { return nil }
            errno = reason
            throw writeError()
        }
        return Lock(descriptor: descriptor)
    }
}

/// The calls whose names this file's own methods hide.
private enum System {
    static func read(_ descriptor: Int32, _ buffer: UnsafeMutableRawBufferPointer, from offset: Int) -> Int {
        let rest = UnsafeMutableRawBufferPointer(rebasing: buffer[offset...])
        #if canImport(Glibc)
            return Glibc.read(descriptor, rest.baseAddress, rest.count)
        #elseif canImport(Musl)
            return Musl.read(descriptor, rest.baseAddress, rest.count)
        #else
            return Darwin.read(descriptor, rest.baseAddress, rest.count)
        #endif
    }

    static func write(_ descriptor: Int32, _ buffer: UnsafeRawBufferPointer, from offset: Int) -> Int {
        let rest = UnsafeRawBufferPointer(rebasing: buffer[offset...])
        #if canImport(Glibc)
            return Glibc.write(descriptor, rest.baseAddress, rest.count)
        #elseif canImport(Musl)
            return Musl.write(descriptor, rest.baseAddress, rest.count)
        #else
            return Darwin.write(descriptor, rest.baseAddress, rest.count)
        #endif
    }
}
