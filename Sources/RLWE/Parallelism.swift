import Dispatch
import Synchronization

/// How many threads work on polynomials.
///
/// Rows, digits and polynomials are computed independently of each other, each by one thread in one order, so that
/// results have the same bits for every width.
public enum Parallelism {
    private static let threads = Atomic<Int>(1)
    /// Threads inside ``occupying(_:)``, and those that operations have taken besides.
    private static let working = Atomic<Int>(0)
    /// Whether this thread is one of ``working``.
    @TaskLocal private static var isCounted = false

    /// How many threads all operations of the process take together; at least 1, and 1 by default.
    ///
    /// An operation takes what is idle when it begins, so that one alone has all cores and many at a time have one each.
    public static var width: Int {
        get { threads.load(ordering: .relaxed) }
        set { threads.store(max(1, newValue), ordering: .relaxed) }
    }

    /// Runs `body` as one of the ``width`` threads: for the threads of a server's pool, which leave to each other's
    /// operations what they do not need.
    public static func occupying<Result>(_ body: () throws -> Result) rethrows -> Result {
        working.add(1, ordering: .relaxed)
        defer { working.subtract(1, ordering: .relaxed) }
        return try $isCounted.withValue(true, operation: body)
    }

    /// Calls `body` once for each number below `count`, in any order and, where threads are idle, on several at a time;
    /// returns when all are done. A call may write to what is its number's alone.
    /// - Throws: the error of the lowest number whose call failed among those that ran.
    public static func forEach<Failure: Error>(
        below count: Int, _ body: (Int) throws(Failure) -> Void
    ) throws(Failure) {
        let claim = Claim(upTo: count - 1)
        defer { claim.release() }
        guard claim.others > 0 else {
            for index in 0..<count { try body(index) }
            return
        }
        let next = Atomic<Int>(0)
        let failures = Mutex<(index: Int, error: Failure)?>(nil)
        withoutActuallyEscaping(body) { body in
            // Nobody else has a number's rows while its call runs.
            nonisolated(unsafe) let body = body
            DispatchQueue.concurrentPerform(iterations: claim.others + 1) { _ in
                $isCounted.withValue(true) {
                    while true {
                        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                        guard index < count else { return }
                        do throws(Failure) { try body(index) } catch {
                            failures.withLock { if index < $0?.index ?? .max { $0 = (index, error) } }
                            next.store(count, ordering: .relaxed)
                        }
                    }
                }
            }
        }
        if let failure = failures.withLock({ $0 }) { throw failure.error }
    }

    /// Idle threads that one operation takes, and its own if nobody has counted that yet.
    private struct Claim {
        let others: Int
        private let counted: Int

        init(upTo wanted: Int) {
            let width = Parallelism.width
            guard width > 1, wanted > 0 else {
                (others, counted) = (0, 0)
                return
            }
            let own = isCounted ? 0 : 1
            var now = working.load(ordering: .relaxed)
            while true {
                let idle = max(0, min(wanted, width - now - own))
                let (exchanged, found) = working.weakCompareExchange(
                    expected: now, desired: now + idle + own, ordering: .relaxed)
                if exchanged {
                    (others, counted) = (idle, idle + own)
                    return
                }
                now = found
            }
        }

        func release() { if counted > 0 { working.subtract(counted, ordering: .relaxed) } }
    }
}
