import Synchronization

/// What is said once, across tasks.
public final class Flag: Sendable {
    private let value = Mutex(false)

    public init() {}

    public var isRaised: Bool { value.withLock { $0 } }

    /// - Returns: whether it was not raised before.
    @discardableResult
    public func raise() -> Bool {
        value.withLock { value in
            defer { value = true }
            return !value
        }
    }
}
