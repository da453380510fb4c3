/// The primes of a polynomial's rows, in order. Immutable and shared; two bases are compatible when
/// they list the same primes.
public final class RNSBasis: Sendable {
    /// N, the number of coefficients of a row.
    public let degree: Int
    /// One a row.
    public let moduli: [NTTModulus]

    /// - Parameter moduli: at least one, all of one degree.
    public init(_ moduli: [NTTModulus]) {
        precondition(!moduli.isEmpty && moduli.allSatisfy { $0.degree == moduli[0].degree }, "rows of one degree")
        self.moduli = moduli
        degree = moduli[0].degree
    }

    /// Number of rows.
    public var count: Int { moduli.count }

    public func isCompatible(with other: RNSBasis) -> Bool {
        self === other
            || (degree == other.degree && count == other.count
                && zip(moduli, other.moduli).allSatisfy { $0.value == $1.value })
    }
}
