import Dispatch
import Synchronization

/// How many threads work on polynomials.
///
/// Rows, digits and polynomials are computed independently of each other, each by one thread in one order, so that
/// results have the same bits for every width.
public enum Parallelism {
    private static let threads = Atomic<Int>(1)
    /// Threads inside ``occupying(_:)`` or an operation of their own, and those that operations have taken besides.
    private static let working = Atomic<Int>(0)
    /// Whether this thread is one of ``working``.
    @TaskLocal private static var isCounted = false

    /// How many threads all operations of the process take together; at least 1, and 1 by default.
    ///
    /// An operation takes what is idle, so that one alone has all cores and many at a time have one each.
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
    ///
    /// While it works alone it looks for idle threads before each number; a thread that finds no more numbers is idle
    /// again for other operations. What the calls that still run spread themselves has less of it: libdispatch divides
    /// the cores by the threads of the outer call, so that on two cores nothing is left for the inner one.
    /// - Throws: the error of the lowest number whose call failed among those that ran.
    public static func forEach<Failure: Error>(
        below count: Int, _ body: (Int) throws(Failure) -> Void
    ) throws(Failure) {
        guard width > 1, count > 1 else {
            for index in 0..<count { try body(index) }
            return
        }
        try counted { () throws(Failure) in try spread(count, body) }
    }

    /// What `body` makes of each number below `count`, made as ``forEach(below:_:)`` says.
    public static func map<Element, Failure: Error>(
        below count: Int, _ body: (Int) throws(Failure) -> Element
    ) throws(Failure) -> [Element] {
        let elements = UnsafeMutablePointer<Element?>.allocate(capacity: count)
        elements.initialize(repeating: nil, count: count)
        defer {
            elements.deinitialize(count: count)
            elements.deallocate()
        }
        try forEach(below: count) { (index) throws(Failure) in elements[index] = try body(index) }
        return UnsafeBufferPointer(start: elements, count: count).compactMap { $0 }
    }

    /// Calls `body` for parts of the numbers below `count` that are as many as threads are idle and this one: with all of
    /// them where this one is alone. For what needs room of its own wherever it runs.
    /// - Throws: the error of the lowest part that failed among those that ran.
    public static func forEachPart<Failure: Error>(
        of count: Int, _ body: (Range<Int>) throws(Failure) -> Void
    ) throws(Failure) {
        guard width > 1, count > 1 else { return try body(0..<count) }
        try counted { () throws(Failure) in
            let others = takeIdle(upTo: count - 1)
            guard others > 0 else { return try body(0..<count) }
            let parts = others + 1
            try spread(0..<parts, others: others) { (part) throws(Failure) in
                try body(part * count / parts..<(part + 1) * count / parts)
            }
        }
    }

    /// Counts this thread, unless it is already.
    private static func counted<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) {
        if isCounted { return try body() }
        working.add(1, ordering: .relaxed)
        defer { working.subtract(1, ordering: .relaxed) }
        try $isCounted.withValue(true) { Result { () throws(Failure) in try body() } }.get()
    }

    /// On a thread that is counted.
    private static func spread<Failure: Error>(
        _ count: Int, _ body: (Int) throws(Failure) -> Void
    ) throws(Failure) {
        for index in 0..<count {
            let others = takeIdle(upTo: count - index - 1)
            if others > 0 { return try spread(index..<count, others: others, body) }
            try body(index)
        }
    }

    /// On this thread and some that were taken.
    private static func spread<Failure: Error>(
        _ range: Range<Int>, others: Int, _ body: (Int) throws(Failure) -> Void
    ) throws(Failure) {
        let next = Atomic<Int>(range.lowerBound)
        let running = Atomic<Int>(others + 1)
        let failures = Mutex<(index: Int, error: Failure)?>(nil)
        withoutActuallyEscaping(body) { body in
            // Nobody else has a number's rows while its call runs.
            nonisolated(unsafe) let body = body
            DispatchQueue.concurrentPerform(iterations: others + 1) { _ in
                $isCounted.withValue(true) {
                    while true {
                        let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                        guard index < range.upperBound else { break }
                        do throws(Failure) { try body(index) } catch {
                            failures.withLock { if index < $0?.index ?? .max { $0 = (index, error) } }
                            next.store(range.upperBound, ordering: .relaxed)
                        }
                    }
                }
                // The last one stands for the caller's own thread.
                if running.wrappingSubtract(1, ordering: .relaxed).newValue > 0 {
                    working.subtract(1, ordering: .relaxed)
                }
            }
        }
        if let failure = failures.withLock({ $0 }) { throw failure.error }
    }

    /// Takes idle threads, to be given back by their number.
    private static func takeIdle(upTo wanted: Int) -> Int {
        var now = working.load(ordering: .relaxed)
        while true {
            let idle = min(wanted, width - now)
            guard idle > 0 else { return 0 }
            let (exchanged, found) = working.weakCompareExchange(
                expected: now, desired: now + idle, ordering: .relaxed)
            if exchanged { return idle }
            now = found
        }
    }
}
