import Attestation
import HomomorphicEncryption

/// One record of integers: values by column name.
public typealias IntegerRecord = [String: Int64]

/// What the owner of a circuit on integers tells about it: everything but the weights. Signed by the evaluation unit.
public struct IntegerCircuitDescriptor: CircuitDescription {
    public static let payloadType = "application/vnd.hkms.circuit-descriptor.v1+json"

    public let name: String
    public let version: Int
    public let description: String
    public let columns: [IntegerColumn]
    /// One or two columns each; nil where there are weights.
    public let sums: [[String]]?
    /// What an input or an exact result is at most, in magnitude.
    public let magnitude: Int64
    public let profile: CircuitProfile
    public let unit: String

    public init(_ compiled: CompiledIntegerCircuit, unit: String) {
        let circuit = compiled.circuit
        name = circuit.name
        version = circuit.version
        description = circuit.description
        columns = circuit.columns
        switch circuit.operation {
        case .sums(let terms): sums = terms
        case .weighted: sums = nil
        }
        magnitude = compiled.plan.magnitude
        profile = compiled.profile
        self.unit = unit
    }

    /// Without weights and bias, which stay with the owner.
    private var operation: IntegerOperation {
        sums.map { .sums($0) } ?? .weighted(weights: columns.map { _ in 0 }, bias: 1)
    }

    private var layout: IntegerLayout { IntegerLayout(operation, columns: columns.count, records: profile.batch) }

    /// Checks that inputs and results fit t, that the circuit's noise cannot make a decryption fail with a probability
    /// of 2^-128 or more, and that what it says goes together.
    public func validate() throws {
        try profile.validate()
        try IntegerCircuit.validate(columns, records: profile.batch)
        let operation = operation
        try operation.validate(columns)
        guard profile.parameters.scheme == .bfv else {
            throw InferenceError.malformedCircuit(reason: "it is not a BFV circuit")
        }
        let layout = layout
        guard name == profile.model, operation.operands == profile.operands ?? 1,
            max(layout.fold(operation).span, layout.block * layout.blocks) <= profile.parameters.slotCount
        else { throw InferenceError.malformedCircuit(reason: "its description contradicts its profile") }
        let least = try operation.magnitude(columns, records: profile.batch)
        guard magnitude >= least, magnitude < 1 << 59 else {
            throw InferenceError.malformedCircuit(reason: "it says less of its results than its columns do")
        }
        guard profile.parameters.t > 2 * UInt64(magnitude) else {
            throw InferenceError.resultMayWrap(magnitude: magnitude, modulus: profile.parameters.t)
        }
        // Plans have the moduli of presets: no others are worth the time that their tables take.
        guard IntegerPlan.hasPresetModuli(profile.parameters) else {
            throw InferenceError.malformedCircuit(reason: "its moduli are no preset's")
        }
        // The same plan as the unit's: parameters, levels and keys follow from what is described.
        let context = try EncryptionContext.shared(profile.parameters)
        _ = try BFVEncoder(context)
        try IntegerPlan.noise(operation, layout: layout, profile: profile).check(context)
    }

    /// Encodes records into the slots of as many plaintexts as they need: `operands` after each other for each batch.
    /// - Throws: ``InferenceError`` naming the record and the column.
    public func slots(of records: [IntegerRecord]) throws(InferenceError) -> [[Int64]] {
        guard !records.isEmpty else { throw .noRecords }
        try profile.requireRoom(for: records.count)
        for (index, record) in records.enumerated() {
            for column in columns {
                guard let value = record[column.name] else { throw .missingField(record: index, field: column.name) }
                guard value >= column.minimum, value <= column.maximum else {
                    throw .integerOutOfRange(
                        record: index, field: column.name, value: value, lower: column.minimum, upper: column.maximum)
                }
            }
        }
        let layout = layout
        let factors = factors
        return stride(from: 0, to: records.count, by: profile.batch).flatMap { start in
            factors.map { columns in
                var slots = [Int64](repeating: 0, count: layout.block * layout.blocks)
                for (row, record) in records[start..<min(start + profile.batch, records.count)].enumerated() {
                    for (block, column) in columns.enumerated() {
                        // A sum of one column in a circuit with products: times one.
                        slots[block * layout.block + row] = column.flatMap { record[$0] } ?? 1
                    }
                }
                return slots
            }
        }
    }

    /// For each operand the columns of its blocks; nil for ones.
    private var factors: [[String?]] {
        guard let sums else { return [columns.map(\.name)] }
        return (0..<operation.operands).map { operand in sums.map { operand < $0.count ? $0[operand] : nil } }
    }

    /// Where results lie among the slots of a result.
    public var results: [(name: String, slot: Int)] {
        guard let sums else { return [(name, 0)] }
        let block = layout.block
        return sums.enumerated().map { ($1.joined(separator: "*"), $0 * block) }
    }

    /// Whether there is a result for each record, in slots one after the other, and not one over all records.
    public var isPerRecord: Bool { sums == nil }
}
