import Synchronization

/// How many threads work on polynomials.
///
/// Rows, digits, polynomials, keys and ciphertexts are computed independently of each other, each by one thread in one
/// order, so that results have the same bits for every width.
public enum Parallelism {
    /// Of a thread that is counted: what it works on, if that is shared.
    private struct Place {
        let work: SharedWork?
    }

    @TaskLocal private static var place: Place?

    /// How many threads all operations of the process take together; at least 1, and 1 by default.
    ///
    /// An operation takes what is idle, so that one alone has all cores and many at a time have one each.
    public static var width: Int {
        get { ThreadTeam.width.load(ordering: .relaxed) }
        set { ThreadTeam.width.store(max(1, newValue), ordering: .relaxed) }
    }

    /// Runs `body` as one of the ``width`` threads: for the threads of a server's pool, which leave to each other's
    /// operations what they do not need.
    public static func occupying<Result>(_ body: () throws -> Result) rethrows -> Result {
        ThreadTeam.enter()
        defer { ThreadTeam.leave() }
        return try withPlace(at: nil, body)
    }

    /// Calls `body` once for each number below `count`, in any order and, where threads are idle, on several at a time;
    /// returns when all are done. A call may write to what is its number's alone.
    ///
    /// Threads that become idle meanwhile join, and one that finds no more numbers is idle for others: for the calls
    /// that `body` makes itself, and for other operations.
    /// - Throws: the error of the lowest number whose call failed among those that ran.
    public static func forEach<Failure: Error>(
        below count: Int, _ body: (Int) throws(Failure) -> Void
    ) throws(Failure) {
        guard width > 1, count > 1 else {
            for index in 0..<count { try body(index) }
            return
        }
        try counted { () throws(Failure) in try share(count, body) }
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
            let parts = min(count, ThreadTeam.idle + 1)
            guard parts > 1 else { return try body(0..<count) }
            try share(parts) { (part) throws(Failure) in
                try body(part * count / parts..<(part + 1) * count / parts)
            }
        }
    }

    /// Counts this thread, unless it is already.
    private static func counted<Failure: Error>(_ body: () throws(Failure) -> Void) throws(Failure) {
        if place != nil { return try body() }
        ThreadTeam.enter()
        defer { ThreadTeam.leave() }
        try withPlace(at: nil) { Result { () throws(Failure) in try body() } }.get()
    }

    /// Does `body` on a thread that is counted, as part of `work`.
    static func withPlace<Result>(at work: SharedWork?, _ body: () throws -> Result) rethrows -> Result {
        try $place.withValue(Place(work: work), operation: body)
    }

    /// On a thread that is counted.
    private static func share<Failure: Error>(_ count: Int, _ body: (Int) throws(Failure) -> Void) throws(Failure) {
        let failure = LowestFailure<Failure>()
        withoutActuallyEscaping(body) { body in
            // Nobody else has a number's rows while its call runs.
            nonisolated(unsafe) let body = body
            let work = SharedWork(count, within: place?.work) { index in
                do throws(Failure) { try body(index) } catch {
                    failure.note(index, error)
                    return false
                }
                return true
            }
            withPlace(at: work) { ThreadTeam.perform(work) }
        }
        if let error = failure.error { throw error }
    }
}

/// The error of the lowest number.
private final class LowestFailure<Failure: Error>: Sendable {
    private let noted = Mutex<(index: Int, error: Failure)?>(nil)

    var error: Failure? { noted.withLock { $0?.error } }

    func note(_ index: Int, _ error: Failure) {
        noted.withLock { if index < $0?.index ?? .max { $0 = (index, error) } }
    }
}
