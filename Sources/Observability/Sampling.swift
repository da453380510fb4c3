/// Which traces are recorded: children as their parents, roots by chance.
public struct Sampling: Sendable, Hashable {
    /// Of the roots, 0 to 1.
    public var ratio: Double
    /// Whether another process decides for what it began. Otherwise its trace id is taken over and nothing else: who
    /// may send requests must not decide how much is recorded, nor put text into what goes on to other systems.
    public var trustsIncoming: Bool

    public init(ratio: Double, trustsIncoming: Bool = false) {
        self.ratio = min(1, max(0, ratio))
        self.trustsIncoming = trustsIncoming
    }

    /// Whether a span under `parent` is recorded.
    public func isSampled(under parent: TraceContext?) -> Bool {
        if let parent, !parent.isRemote || trustsIncoming { return parent.isSampled }
        // Not by the trace id, which a client may have chosen.
        return Double.random(in: 0..<1) < ratio
    }
}
