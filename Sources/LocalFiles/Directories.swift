#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// Directories by their paths.
package enum Directories {
    /// Creates a directory and its parents (mode 0700) where missing; each is synced after what is made in it.
    package static func create(_ path: String) throws(SystemError) {
        do throws(SystemError) {
            _ = try retrying { mkdir(path, 0o700) }
        } catch let error where error.code == EEXIST {
            return
        } catch let error where error.code == ENOENT && parent(of: path) != path {
            try create(parent(of: path))
            do throws(SystemError) {
                _ = try retrying { mkdir(path, 0o700) }
            } catch let error where error.code == EEXIST {}
        }
        try FileDescriptor(directory: parent(of: path)).sync()
    }

    private static func parent(of path: String) -> String {
        var rest = path[...]
        while rest.count > 1, rest.last == "/" { rest.removeLast() }
        guard let slash = rest.lastIndex(of: "/") else { return "." }
        return slash == rest.startIndex ? "/" : String(rest[..<slash])
    }
}
