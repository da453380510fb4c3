#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// A value under a lock that is held for less than a microsecond and taken by many threads.
///
/// The standard library's `Mutex` is, on Linux, a futex that inherits priorities: whoever gives it back hands it over to
/// the one who has waited longest, who then runs when the scheduler lets him, while all others wait for both. Threads
/// that take it every few microseconds stand in a queue from the first collision on. Of this one a running thread takes
/// what it finds free.
package final class BriefLock<Value>: @unchecked Sendable {
    // Sendable: the value is reached under the lock alone.
    private var value: Value
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>

    package init(_ value: Value) {
        self.value = value
        mutex = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        precondition(pthread_mutex_init(mutex, nil) == 0, "a mutex")
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    package func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value)
    }
}
