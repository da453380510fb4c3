/// How much a policy file may hold, so that reading and asking take bounded time.
enum PolicyLimits {
    static let rules = 1024
    static let separations = 64
    /// Entries of one list.
    static let names = 1024
    static let windows = 64
    /// Bytes of a name or pattern.
    static let nameBytes = 256
}
