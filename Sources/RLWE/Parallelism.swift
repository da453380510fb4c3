import Dispatch
import Synchronization

/// How many threads one operation on polynomials may take.
///
/// Rows, digits and polynomials are computed independently of each other, each by one thread in one order, so that
/// results have the same bits for every width.
public enum Parallelism {
    private static let threads = Atomic<Int>(1)

    /// 1 by default: whoever serves many requests at a time has work for its cores without this. At least 1.
    public static var width: Int {
        get { threads.load(ordering: .relaxed) }
        set { threads.store(max(1, newValue), ordering: .relaxed) }
    }

    /// Calls `body` once for each number below `count`, in any order and, beyond a width of 1, on several threads at a
    /// time; returns when all are done. A call may write to what is its number's alone.
    /// - Throws: the error of the lowest number whose call failed among those that ran.
    public static func forEach<Failure: Error>(
        below count: Int, _ body: (Int) throws(Failure) -> Void
    ) throws(Failure) {
        let width = min(Self.width, count)
        guard width > 1 else {
            for index in 0..<count { try body(index) }
            return
        }
        let next = Atomic<Int>(0)
        let failures = Mutex<(index: Int, error: Failure)?>(nil)
        withoutActuallyEscaping(body) { body in
            // Nobody else has a number's rows while its call runs.
            nonisolated(unsafe) let body = body
            DispatchQueue.concurrentPerform(iterations: width) { _ in
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
        if let failure = failures.withLock({ $0 }) { throw failure.error }
    }
}
