/// A system behind the gateway that does not work.
public struct UnavailableSystem: Sendable {
    public let name: String
    /// The kind of failure, for anybody.
    public let summary: String
    /// For the operator's log: it may name addresses, paths, and what the system said.
    public let detail: String
}
