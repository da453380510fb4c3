#if canImport(Darwin)
    import Darwin
#elseif canImport(Musl)
    import Musl
#else
    import Glibc
#endif

/// A system call that failed.
package struct SystemError: Error, CustomStringConvertible {
    /// The `errno` it left.
    package let code: Int32

    package init(code: Int32) {
        self.code = code
    }

    /// The system's own words.
    package var description: String { "\(String(cString: strerror(code))) (errno \(code))" }
}
