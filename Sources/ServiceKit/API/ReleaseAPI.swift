// How results leave, docs/release.md.

/// The noise that results leave with, in a key set's description and beside every flooded result.
public struct FloodingBody: Codable, Sendable, Hashable {
    /// What a value may be off by, as asked: absolute, but with a chance of 2^-40 a result.
    public var precision: Double
    /// s.
    public var statisticalBits: Int
    /// Decryptions of the key set's whole life.
    public var decryptions: Int
    /// `owner` or `shared`.
    public var audience: String
    /// Values are multiples of it.
    public var step: Double
    /// B, the Euclidean norm that no result's error passes.
    public var errorBound: Double
    /// Of the noise on each coefficient.
    public var deviation: Double
    /// Of results.
    public var level: Int
    /// log2 of the results' scale.
    public var scaleBits: Int

    public init(
        precision: Double, statisticalBits: Int, decryptions: Int, audience: String, step: Double, errorBound: Double,
        deviation: Double, level: Int, scaleBits: Int
    ) {
        self.precision = precision
        self.statisticalBits = statisticalBits
        self.decryptions = decryptions
        self.audience = audience
        self.step = step
        self.errorBound = errorBound
        self.deviation = deviation
        self.level = level
        self.scaleBits = scaleBits
    }
}
