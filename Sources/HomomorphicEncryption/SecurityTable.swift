/// How hard the lattice problem behind a modulus must be.
public enum SecurityRequirement: Sendable, Hashable {
    /// At least 128 bits against classical attackers by the 2024 guidelines.
    case classical128
    /// No check at all. For tests and published vectors only; no server takes such parameters.
    case insecureForTestsOnly
}

/// The largest moduli of the Security Guidelines for Implementing Homomorphic Encryption (Bossuat et
/// al., ePrint 2024/463, Table 5.2): ternary secret, error deviation 3.19, classical attackers.
///
/// Derivation suite 1 has a uniform ternary secret and an error of deviation sqrt(10.5) = 3.24.
public enum SecurityTable {
    /// The largest log2 of a key's or ciphertext's whole modulus at 128-bit classical security.
    /// - Returns: nil where the table has no row.
    public static func maximumModulusBits(logN: Int) -> Int? {
        [10: 26, 11: 53, 12: 106, 13: 214, 14: 430, 15: 868, 16: 1747, 17: 3523][logN]
    }
}
