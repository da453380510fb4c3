#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// An open file or directory; closed when it goes out of scope.
///
/// Names are single path components, looked up in a directory held open, and a symbolic link is
/// never followed: whatever stands in the directory, no path leads out of it.
package struct FileDescriptor: ~Copyable {
    private let raw: Int32

    private init(raw: Int32) {
        self.raw = raw
    }

    /// Opens a directory by path. Links on the way are followed: the operator chose them.
    package init(directory path: String) throws(SystemError) {
        raw = try retrying { open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
    }

    deinit {
        close(raw)
    }

    /// Opens a file by path for reading. Links are followed: the caller chose them.
    package init(file path: String) throws(SystemError) {
        raw = try retrying { open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) }
    }

    // MARK: - In a directory

    package func openDirectory(_ name: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            raw: try retrying { openat(raw, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) })
    }

    /// - Throws: `ELOOP` for a symbolic link.
    package func openFile(_ name: String) throws(SystemError) -> FileDescriptor {
        // O_NONBLOCK: opening a FIFO that somebody left here must not hang.
        FileDescriptor(raw: try retrying { openat(raw, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) })
    }

    /// Opens a file whose writes all go to its end.
    /// - Throws: `ELOOP` for a symbolic link.
    package func openFileToAppend(_ name: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            raw: try retrying { openat(raw, name, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) })
    }

    /// Opens a file that processes lock against each other, creating it (mode 0600) unless there is one.
    package func openLockFile(_ name: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            raw: try retrying { openat(raw, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600) })
    }

    /// Creates a file of mode 0600.
    package func createFile(_ name: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            raw: try retrying {
                openat(raw, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
            })
    }

    /// Creates a directory of mode 0700 unless there is one.
    package func createDirectory(_ name: String) throws(SystemError) {
        do {
            _ = try retrying { mkdirat(raw, name, 0o700) }
        } catch let error where error.code == EEXIST {}
    }

    package func removeFile(_ name: String) throws(SystemError) {
        _ = try retrying { unlinkat(raw, name, 0) }
    }

    package func removeDirectory(_ name: String) throws(SystemError) {
        _ = try retrying { unlinkat(raw, name, Int32(AT_REMOVEDIR)) }
    }

    package func rename(_ name: String, to directory: borrowing FileDescriptor, as newName: String) throws(SystemError)
    {
        let target = directory.raw
        _ = try retrying { renameat(raw, name, target, newName) }
    }

    /// Gives the file a second name.
    /// - Throws: `EEXIST` if anything has that name.
    package func link(_ name: String, to directory: borrowing FileDescriptor, as newName: String) throws(SystemError) {
        let target = directory.raw
        _ = try retrying { linkat(raw, name, target, newName, 0) }
    }

    /// What `name` is, without following a link.
    package func status(of name: String) throws(SystemError) -> FileStatus {
        var status = stat()
        _ = try retrying { fstatat(raw, name, &status, Int32(AT_SYMLINK_NOFOLLOW)) }
        return FileStatus(status)
    }

    /// Names in the directory but `.` and `..`, in no order. Names that are no UTF-8 come out repaired.
    package func names() throws(SystemError) -> [String] {
        // A descriptor of its own: fdopendir takes the one it is given, and its position is shared.
        let copy = try retrying { openat(raw, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) }
        guard let stream = fdopendir(copy) else {
            let code = errno
            close(copy)
            throw SystemError(code: code)
        }
        defer { closedir(stream) }
        var names: [String] = []
        while true {
            errno = 0
            guard let entry = readdir(stream) else {
                let code = errno
                guard code == 0 else { throw SystemError(code: code) }
                return names
            }
            // The name is read in place: a copy of the whole entry reads past the end of a short one.
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { return names }
            let name = String(
                cString: UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self))
            if name != ".", name != ".." { names.append(name) }
        }
    }

    // MARK: - Of a file

    package func status() throws(SystemError) -> FileStatus {
        var status = stat()
        _ = try retrying { fstat(raw, &status) }
        return FileStatus(status)
    }

    /// Reads `count` bytes from where the file stands, or fewer at its end.
    package func read(_ count: Int) throws(SystemError) -> [UInt8] {
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            do throws(SystemError) {
                while filled < count {
                    let start = buffer.baseAddress?.advanced(by: filled)
                    let got = try retryingCount { systemRead(raw, start, min(count - filled, largestTransfer)) }
                    if got == 0 { break }
                    filled += got
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
        return bytes
    }

    package func write(_ bytes: [UInt8]) throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { buffer in
            do throws(SystemError) {
                var written = 0
                while written < buffer.count {
                    let start = buffer.baseAddress?.advanced(by: written)
                    let put = try retryingCount {
                        systemWrite(raw, start, min(buffer.count - written, largestTransfer))
                    }
                    guard put > 0 else { throw SystemError(code: EIO) }
                    written += put
                }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// Cuts the file off behind so many bytes.
    package func truncate(to count: Int) throws(SystemError) {
        _ = try retrying { ftruncate(raw, off_t(count)) }
    }

    /// Takes the file's lock for as long as this descriptor lives.
    /// - Returns: false where another process, or another descriptor of this one, has it.
    package func tryLock() throws(SystemError) -> Bool {
        do throws(SystemError) {
            _ = try retrying { flock(raw, LOCK_EX | LOCK_NB) }
            return true
        } catch let error where error.code == EWOULDBLOCK {
            return false
        }
    }

    /// Gives the file's lock back.
    package func unlock() {
        _ = try? retrying { flock(raw, LOCK_UN) }
    }

    /// Returns when the file's bytes are on the device, and what it takes to find them again; its times may not be.
    package func syncData() throws(SystemError) {
        #if canImport(Darwin)
            try sync()
        #else
            _ = try retrying { fdatasync(raw) }
        #endif
    }

    /// Returns when file or directory is on the device, not in a cache.
    package func sync() throws(SystemError) {
        #if canImport(Darwin)
            // fsync leaves the bytes in the drive's cache there.
            _ = try retrying { fcntl(raw, F_FULLFSYNC) }
        #else
            _ = try retrying { fsync(raw) }
        #endif
    }
}

/// What a name in a directory stands for.
package struct FileStatus {
    package enum Kind {
        case regular, directory, other
    }

    package let kind: Kind
    /// In bytes.
    package let size: Int
    /// Seconds since 1970 at the last change of the content.
    package let modified: Int
    /// What is the same file has the same.
    package let identity: Identity

    package struct Identity: Hashable {
        let device: UInt64
        let number: UInt64
    }

    init(_ status: stat) {
        identity = Identity(
            device: UInt64(truncatingIfNeeded: status.st_dev), number: UInt64(truncatingIfNeeded: status.st_ino))
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .regular
        case S_IFDIR: kind = .directory
        default: kind = .other
        }
        size = Int(status.st_size)
        #if canImport(Darwin)
            modified = status.st_mtimespec.tv_sec
        #else
            modified = status.st_mtim.tv_sec
        #endif
    }
}

/// Linux moves at most 2 GiB less a page at once, and Darwin refuses more than that.
private let largestTransfer = 1 << 30

// Inside the type, `read` and `write` are its methods.
private let systemRead: @Sendable (Int32, UnsafeMutableRawPointer?, Int) -> Int = { read($0, $1, $2) }
private let systemWrite: @Sendable (Int32, UnsafeRawPointer?, Int) -> Int = { write($0, $1, $2) }

package func retrying(_ call: () -> Int32) throws(SystemError) -> Int32 {
    Int32(truncatingIfNeeded: try retryingCount { Int(call()) })
}

/// Repeats a call that a signal interrupted.
private func retryingCount(_ call: () -> Int) throws(SystemError) -> Int {
    while true {
        let result = call()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw SystemError(code: code) }
    }
}
