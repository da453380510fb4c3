import FoundationEssentials

/// One record of integers. Whole numbers alone, read without a floating-point number in between.
public typealias IntegerRecordBody = [String: Int64]

/// `GET /v1/circuits`: what evaluation units compute on exact integers.
public struct CircuitList: Codable, Sendable, Hashable {
    public var circuits: [CircuitInfo]
    public init(circuits: [CircuitInfo]) { self.circuits = circuits }
}

/// What a caller needs to know of a circuit on integers.
public struct CircuitInfo: Codable, Sendable, Hashable {
    public struct Column: Codable, Sendable, Hashable {
        public var name: String
        public var minimum: Int64
        public var maximum: Int64

        public init(name: String, minimum: Int64, maximum: Int64) {
            self.name = name
            self.minimum = minimum
            self.maximum = maximum
        }
    }
    public struct Result: Codable, Sendable, Hashable {
        /// `age`, `age*chol`, or the circuit's name where there are weights.
        public var name: String
        /// Where it stands among the integers of a result, or begins.
        public var slot: Int

        public init(name: String, slot: Int) {
            self.name = name
            self.slot = slot
        }
    }
    public var name: String
    public var version: Int
    public var description: String
    /// Evaluation unit that runs it.
    public var unit: String
    /// SHA-256 of the circuit's file, lower-case hex.
    public var digest: String
    public var columns: [Column]
    /// Records that one evaluation takes.
    public var records: Int
    /// Ciphertexts that one evaluation takes, one after the other.
    public var operands: Int
    public var results: [Result]
    /// Whether results are one a record, in slots one after the other, and not one over all records.
    public var perRecord: Bool
    /// What an input or a result is at most, in magnitude; below t/2.
    public var magnitude: Int64
    public var parameters: ParametersBody
    /// Names of the evaluation keys that it needs.
    public var evaluationKeys: [String]

    public init(
        name: String, version: Int, description: String, unit: String, digest: String, columns: [Column],
        records: Int, operands: Int, results: [Result], perRecord: Bool, magnitude: Int64, parameters: ParametersBody,
        evaluationKeys: [String]
    ) {
        self.name = name
        self.version = version
        self.description = description
        self.unit = unit
        self.digest = digest
        self.columns = columns
        self.records = records
        self.operands = operands
        self.results = results
        self.perRecord = perRecord
        self.magnitude = magnitude
        self.parameters = parameters
        self.evaluationKeys = evaluationKeys
    }

    /// Integers of each result that matter, from the first: what to ask of decrypt.
    public var valueCount: Int { perRecord ? records : (results.map(\.slot).max() ?? 0).addingOne }

    /// What the decrypted results of all evaluations say together: one a result, or one a record.
    /// - Parameters:
    ///   - vectors: decrypted results, at least ``valueCount`` integers each.
    ///   - count: records that there were.
    /// - Returns: nil where there are fewer integers, or a sum over evaluations leaves 64 bits.
    public func values(of vectors: [[Int64]], records count: Int) -> [Int64]? {
        guard records > 0, count >= 0, vectors.allSatisfy({ $0.count >= valueCount }) else { return nil }
        if perRecord {
            let values = vectors.flatMap { $0.prefix(records) }
            return count <= values.count ? Array(values.prefix(count)) : nil
        }
        var totals = results.map { _ in Int64(0) }
        for vector in vectors {
            for (index, result) in results.enumerated() {
                guard vector.indices.contains(result.slot) else { return nil }
                let (sum, overflow) = totals[index].addingReportingOverflow(vector[result.slot])
                guard !overflow else { return nil }
                totals[index] = sum
            }
        }
        return totals
    }
}

extension Int {
    /// A gateway may say anything.
    fileprivate var addingOne: Int { self == .max ? self : self + 1 }
}
