import Attestation

/// Where the numbers of a batch lie in the slots: feature-major, so that a cyclic rotation of the whole
/// vector by `batch` slots is a cyclic rotation of every record's features by one, and no masks are
/// needed.
///
/// Slot `f * batch + r` holds feature f of record r, for f < width; width * batch is the number of slots.
public struct Packing: Sendable, Hashable, Codable {
    /// Features that a record has room for: a power of two.
    public let width: Int
    /// Records per ciphertext.
    public let batch: Int
    /// Network inputs repeat with this period over the width: a power of two.
    public let period: Int

    public init(width: Int, batch: Int, period: Int) {
        self.width = width
        self.batch = batch
        self.period = period
    }

    /// - Throws: ``InferenceError/malformedModel(reason:)`` where the numbers do not fill `slots`.
    public func validate(slots: Int) throws(InferenceError) {
        guard width > 0, batch > 0, period > 0, width.nonzeroBitCount == 1, period.nonzeroBitCount == 1,
            period <= width, slots.isMultiple(of: width), batch == slots / width
        else { throw .malformedModel(reason: "its packing does not fill the slots") }
    }

    /// Slots of up to ``batch`` encoded records; unused records are zero.
    public func slots(_ records: ArraySlice<[Double]>) -> [Double] {
        var slots = [Double](repeating: 0, count: width * batch)
        for (column, record) in records.enumerated() {
            for feature in 0..<width {
                let input = feature % period
                if input < record.count { slots[feature * batch + column] = record[input] }
            }
        }
        return slots
    }

    /// The one score of each of `count` records.
    public func scores(_ slots: [Double], count: Int) -> [Double] { Array(slots.prefix(count)) }
}
