import Foundation
import TestSupport

/// A directory that takes only so many bytes: a small tmpfs where mounting is allowed, else any
/// directory while the size of this process's files is limited.
final class SmallDevice {
    let path: String
    /// No more than this goes in, in bytes.
    let capacity: Int
    /// Whether the refusal is that of a full device, not that of a file too large.
    var isMounted: Bool { mounted != nil }

    private let mounted: MountedDevice?
    private let directory: TemporaryDirectory?
    private var oldLimit = rlimit()

    /// Above what any other test of this process writes to one file.
    private static let fileLimit = 64 << 20

    init() throws {
        mounted = try MountedDevice(mebibytes: 4)
        if let mounted {
            (path, directory) = (mounted.path, nil)
            capacity = 4 << 20
            // Half of it is taken, until `free` is called.
            try mounted.fill(butKiB: capacity / 2 / 1024)
        } else {
            let directory = try TemporaryDirectory()
            (path, self.directory) = (directory.path, directory)
            capacity = Self.fileLimit
            signal(SIGXFSZ, SIG_IGN)
            guard getrlimit(Self.fileSize, &oldLimit) == 0 else { throw POSIXError(.EINVAL) }
            var limit = oldLimit
            limit.rlim_cur = rlim_t(capacity)
            guard setrlimit(Self.fileSize, &limit) == 0 else { throw POSIXError(.EINVAL) }
        }
    }

    /// Makes room.
    func free() {
        if let mounted {
            try? mounted.empty()
        } else {
            setrlimit(Self.fileSize, &oldLimit)
        }
    }

    deinit { free() }

    #if canImport(Glibc)
        private static let fileSize = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
    #else
        private static let fileSize = RLIMIT_FSIZE
    #endif
}
