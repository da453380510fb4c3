import Synchronization

/// Numbers that one thread has to call a body for, and that others may take from it.
///
/// ``ThreadTeam`` changes who works on it, under its lock.
final class SharedWork: @unchecked Sendable {
    // Sendable: `body` changes when nobody else has this work, all else is atomic.

    /// What the thread that began this was working on.
    let parent: SharedWork?
    /// Threads that may be inside ``body``.
    let participants = Atomic<Int>(1)
    let count: Int
    private let next = Atomic<Int>(0)
    private var body: ((Int) -> Bool)?

    /// - Parameter body: returns whether to go on with what nobody has taken.
    init(_ count: Int, within parent: SharedWork?, _ body: @escaping (Int) -> Bool) {
        self.count = count
        self.parent = parent
        self.body = body
    }

    /// Whether there are numbers that nobody has taken.
    var isOpen: Bool { next.load(ordering: .relaxed) < count }

    /// Takes numbers one by one for as long as there are any and `goesOn`.
    ///
    /// Never inlined: the caller must hold no reference to the body afterwards, which is somebody's stack.
    @inline(never)
    func takePart(while goesOn: () -> Bool) {
        while isOpen, goesOn() {
            let number = next.wrappingAdd(1, ordering: .relaxed).oldValue
            guard number < count, let body else { return }
            if !body(number) { next.store(count, ordering: .relaxed) }
        }
    }

    /// Drops the body, when all have left.
    func close() { body = nil }

    func isPart(of other: SharedWork) -> Bool {
        var ancestor: SharedWork? = self
        while let work = ancestor {
            if work === other { return true }
            ancestor = work.parent
        }
        return false
    }
}
