import Foundation

/// A directory that takes only so many bytes: a small tmpfs where mounting is allowed, else any
/// directory while the size of this process's files is limited.
final class SmallDevice {
    let path: String
    /// No more than this goes in, in bytes.
    let capacity: Int
    /// Whether the refusal is that of a full device, not that of a file too large.
    let isMounted: Bool

    private let directory: TemporaryDirectory
    private var oldLimit = rlimit()

    /// Above what any other test of this process writes to one file.
    private static let fileLimit = 64 << 20
    private static let mountedSize = 4 << 20

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path
        isMounted = Self.run("mount", "-t", "tmpfs", "-o", "size=\(Self.mountedSize)", "tmpfs", path)
        if isMounted {
            capacity = Self.mountedSize
            // Half of it is taken, until `free` is called.
            let ballast = Data(count: capacity / 2)
            try ballast.write(to: URL(fileURLWithPath: path + "/ballast"))
        } else {
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
        if isMounted {
            unlink(path + "/ballast")
        } else {
            setrlimit(Self.fileSize, &oldLimit)
        }
    }

    deinit {
        free()
        if isMounted { _ = Self.run("umount", "-l", path) }
    }

    #if canImport(Glibc)
        private static let fileSize = __rlimit_resource_t(RLIMIT_FSIZE.rawValue)
    #else
        private static let fileSize = RLIMIT_FSIZE
    #endif

    private static func run(_ arguments: String...) -> Bool {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = arguments
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return false }
        process.waitUntilExit()
        return process.terminationStatus == 0
    }
}
