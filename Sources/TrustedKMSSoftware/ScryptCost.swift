/// How much work one guess of the passphrase takes (RFC 7914).
///
/// The block size r is 8 always, so that one derivation takes `rounds` * 1 KiB of memory.
public struct ScryptCost: Sendable, Hashable {
    /// N, a power of two from 2^15 to 2^19.
    public let rounds: Int
    /// p, 1 to 4.
    public let parallelism: Int

    static let blockSize = 8
    static let allowedRounds = (1 << 15)...(1 << 19)
    static let allowedParallelism = 1...4

    /// N = 2^17, p = 1: 128 MiB, some 0.3 s.
    public static let standard = ScryptCost(uncheckedRounds: 1 << 17, parallelism: 1)
    /// N = 2^15, p = 1: 32 MiB. The least that is accepted.
    public static let minimum = ScryptCost(uncheckedRounds: 1 << 15, parallelism: 1)

    /// - Throws: ``SoftwareKMSError/unacceptableCost(reason:)`` below 2^15, which is too cheap to guess,
    ///   and above 2^19 (512 MiB), so that no file makes us allocate gigabytes.
    public init(rounds: Int, parallelism: Int = 1) throws(SoftwareKMSError) {
        guard Self.allowedRounds.contains(rounds), rounds & (rounds - 1) == 0 else {
            throw .unacceptableCost(reason: "N is \(rounds), must be a power of two from 2^15 to 2^19")
        }
        guard Self.allowedParallelism.contains(parallelism) else {
            throw .unacceptableCost(reason: "p is \(parallelism), must be 1 to 4")
        }
        self.init(uncheckedRounds: rounds, parallelism: parallelism)
    }

    private init(uncheckedRounds: Int, parallelism: Int) {
        self.rounds = uncheckedRounds
        self.parallelism = parallelism
    }
}
