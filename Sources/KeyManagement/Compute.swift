/// Where HE arithmetic runs: a bounded pool of threads beside the event loops, with admission control.
public protocol ComputeExecutor: Sendable {
    /// - Throws: whatever `body` throws, or ``ComputeSaturated`` when too much waits already.
    func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result
}

/// The pool takes no more work now.
public struct ComputeSaturated: Error, Sendable {
    public init() {}
}

/// Runs on the caller's thread: for tests and command-line tools.
public struct InlineCompute: ComputeExecutor {
    public init() {}
    public func run<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try body()
    }
}

/// How long the steps of an operation took, in the order in which they ran. Making keys and storing those made before
/// overlap.
public struct StepTimings: Sendable, Hashable {
    public private(set) var steps: [(name: String, milliseconds: Double)] = []

    public init() {}

    public static func == (left: StepTimings, right: StepTimings) -> Bool {
        left.steps.elementsEqual(right.steps) { $0 == $1 }
    }

    public func hash(into hasher: inout Hasher) { for step in steps { hasher.combine(step.name) } }

    /// Adds to the step of this name, or begins it.
    public mutating func add(_ name: String, _ duration: Duration) {
        let milliseconds = Double(duration.components.seconds) * 1e3 + Double(duration.components.attoseconds) / 1e15
        if let index = steps.firstIndex(where: { $0.name == name }) {
            steps[index].milliseconds += milliseconds
        } else {
            steps.append((name, milliseconds))
        }
    }

    /// Milliseconds of one step; 0 where it did not run.
    public subscript(_ name: String) -> Double { steps.first { $0.name == name }?.milliseconds ?? 0 }

    public mutating func merge(_ other: StepTimings) {
        for step in other.steps { add(step.name, .milliseconds(0) + .nanoseconds(Int64(step.milliseconds * 1e6))) }
    }
}
