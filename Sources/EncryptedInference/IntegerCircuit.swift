import Attestation

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// One column of integers that a circuit takes, and what they are within.
public struct IntegerColumn: Sendable, Hashable, Codable {
    public let name: String
    public let minimum: Int64
    public let maximum: Int64

    /// The largest magnitude; an unused record is zero.
    var magnitude: Int64 { max(abs(minimum), abs(maximum)) }

    func validate() throws(InferenceError) {
        guard (1...64).contains(name.utf8.count) else {
            throw .malformedCircuit(reason: "a column's name has 1 to 64 bytes")
        }
        let limit = IntegerCircuit.largestNumber
        guard minimum <= maximum, minimum >= -limit, maximum <= limit else {
            throw .malformedCircuit(
                reason: "column \(name): minimum is at most maximum, and both are below 2^53 in magnitude")
        }
    }
}

/// What is computed of records of integers, exactly.
public enum IntegerOperation: Sendable, Hashable {
    /// Sums over all records, one a term: of a column, or of the products of two columns, record by record.
    case sums([[String]])
    /// For each record the sum of its columns times known weights, and a bias.
    case weighted(weights: [Int64], bias: Int64)

    /// Ciphertexts that one evaluation takes: the first and, where there are products, the second factors.
    public var operands: Int {
        guard case .sums(let terms) = self, terms.contains(where: { $0.count > 1 }) else { return 1 }
        return 2
    }
}

/// A circuit on integers, as its owner keeps it: columns with their ranges, records, and what is computed of them.
public struct IntegerCircuit: Sendable {
    public let name: String
    public let version: Int
    public let description: String
    public let columns: [IntegerColumn]
    /// Records that one evaluation takes.
    public let records: Int
    public let operation: IntegerOperation
    /// t, where the file asks for one.
    public let plaintextModulus: UInt64?
    /// SHA-256 of the file.
    public let digest: Digest

    static let format = "hkms.circuit.v1"
    static let maximumColumns = 256
    static let maximumTerms = 256
    static let maximumRecords = 1 << 15
    /// Up to here a number that is written with a fraction or an exponent is read exactly, too.
    static let largestNumber: Int64 = (1 << 53) - 1

    /// Whether bytes are a file of this format, good or bad.
    public static func isFormat(of bytes: [UInt8]) -> Bool {
        guard bytes.count <= CircuitFile.maximumBytes else { return false }
        return (try? JSONDecoder().decode(Format.self, from: Data(bytes)))?.format == format
    }

    /// Reads a circuit file, format `hkms.circuit.v1` of docs/formats.md.
    /// - Throws: ``InferenceError/malformedCircuit(reason:)`` for any bytes that are not one.
    public init(parsing bytes: [UInt8]) throws(InferenceError) {
        guard bytes.count <= CircuitFile.maximumBytes else { throw .malformedCircuit(reason: "the file is too long") }
        guard let file = try? JSONDecoder().decode(File.self, from: Data(bytes)) else {
            throw .malformedCircuit(reason: "it is not JSON of the format \(Self.format), or a number is no integer")
        }
        func require(_ condition: Bool, _ reason: String) throws(InferenceError) {
            if !condition { throw .malformedCircuit(reason: reason) }
        }
        try require(file.format == Self.format, "its format is not \(Self.format)")
        try require(
            (1...64).contains(file.name.utf8.count)
                && file.name.utf8.allSatisfy { ($0 >= 97 && $0 <= 122) || ($0 >= 48 && $0 <= 57) || $0 == 45 },
            "its name is 1 to 64 lower-case letters, digits and hyphens")
        try require((1...1_000_000).contains(file.version), "its version is a positive number")
        name = file.name
        version = file.version
        description = String(file.description.prefix(1000))
        columns = file.columns
        records = file.records
        switch (file.sums, file.weights) {
        case (let terms?, nil):
            try require(file.bias == nil, "a bias belongs to weights")
            operation = .sums(terms)
        case (nil, let weights?): operation = .weighted(weights: weights, bias: file.bias ?? 0)
        default: throw .malformedCircuit(reason: "it has either sums or weights")
        }
        plaintextModulus = file.plaintextModulus
        digest = Digest(of: bytes)
        try Self.validate(columns, records: records)
        try operation.validate(columns)
    }

    static func validate(_ columns: [IntegerColumn], records: Int) throws(InferenceError) {
        func require(_ condition: Bool, _ reason: String) throws(InferenceError) {
            if !condition { throw .malformedCircuit(reason: reason) }
        }
        try require((1...maximumColumns).contains(columns.count), "it has 1 to \(maximumColumns) columns")
        for column in columns { try column.validate() }
        try require(Set(columns.map(\.name)).count == columns.count, "two columns have one name")
        try require((1...maximumRecords).contains(records), "it takes 1 to \(maximumRecords) records")
    }

    /// What it computes of records, in the clear.
    /// - Parameter records: values in the order of the columns.
    /// - Returns: for sums one a term, over all records; for weights one a record. nil where it does not fit 64 bits.
    public func evaluateInTheClear(_ records: [[Int64]]) -> [Int64]? {
        switch operation {
        case .sums(let terms):
            return terms.reduce(into: Optional([Int64]())) { results, term in
                let factors = term.compactMap { name in columns.firstIndex { $0.name == name } }
                let sum = records.reduce(Optional<Int64>(0)) { sum, record in
                    let product = factors.reduce(Optional<Int64>(1)) { product, factor in
                        product.flatMap { Self.product($0, record[factor]) }
                    }
                    return product.flatMap { product in sum.flatMap { Self.sum($0, product) } }
                }
                guard let sum else { return results = nil }
                results?.append(sum)
            }
        case .weighted(let weights, let bias):
            return records.reduce(into: Optional([Int64]())) { results, record in
                let sum = zip(weights, record).reduce(Optional(bias)) { sum, pair in
                    Self.product(pair.0, pair.1).flatMap { product in sum.flatMap { Self.sum($0, product) } }
                }
                guard let sum else { return results = nil }
                results?.append(sum)
            }
        }
    }

    static func product(_ a: Int64, _ b: Int64) -> Int64? {
        let (result, overflow) = a.multipliedReportingOverflow(by: b)
        return overflow ? nil : result
    }

    static func sum(_ a: Int64, _ b: Int64) -> Int64? {
        let (result, overflow) = a.addingReportingOverflow(b)
        return overflow ? nil : result
    }

    private struct Format: Decodable { let format: String }

    private struct File: Decodable {
        let format: String
        let name: String
        let version: Int
        let description: String
        let columns: [IntegerColumn]
        let records: Int
        let sums: [[String]]?
        let weights: [Int64]?
        let bias: Int64?
        let plaintextModulus: UInt64?
    }
}

extension IntegerOperation {
    func validate(_ columns: [IntegerColumn]) throws(InferenceError) {
        func require(_ condition: Bool, _ reason: String) throws(InferenceError) {
            if !condition { throw .malformedCircuit(reason: reason) }
        }
        switch self {
        case .sums(let terms):
            try require(
                (1...IntegerCircuit.maximumTerms).contains(terms.count),
                "it has 1 to \(IntegerCircuit.maximumTerms) sums")
            let names = Set(columns.map(\.name))
            for term in terms {
                try require((1...2).contains(term.count), "a sum is of one column, or of products of two")
                try require(term.allSatisfy(names.contains), "a sum names a column that there is not")
            }
            try require(Set(terms).count == terms.count, "two sums are the same")
            try require(Set(terms.joined()) == names, "a column is in no sum: it would be sent for nothing")
        case .weighted(let weights, let bias):
            try require(weights.count == columns.count, "it has one weight a column")
            let limit = IntegerCircuit.largestNumber
            try require(
                (weights + [bias]).allSatisfy { (-limit...limit).contains($0) },
                "weights and bias are below 2^53 in magnitude")
        }
    }

    /// The largest magnitude that an input, or the exact result, can have.
    /// - Throws: ``InferenceError/doesNotFit(reason:)`` from 2^59 on, for which there is no plaintext modulus.
    func magnitude(_ columns: [IntegerColumn], records: Int) throws(InferenceError) -> Int64 {
        let bounds = Dictionary(uniqueKeysWithValues: columns.map { ($0.name, $0.magnitude) })
        var results: [Int64?] = columns.map(\.magnitude)
        switch self {
        case .sums(let terms):
            for term in terms {
                results.append(
                    term.reduce(Optional(Int64(records))) { product, name in
                        product.flatMap { IntegerCircuit.product($0, bounds[name] ?? .max) }
                    })
            }
        case .weighted(let weights, let bias):
            results += (weights + [bias]).map { abs($0) }
            results.append(
                zip(weights, columns).reduce(Optional(abs(bias))) { sum, pair in
                    IntegerCircuit.product(abs(pair.0), pair.1.magnitude).flatMap { product in
                        sum.flatMap { IntegerCircuit.sum($0, product) }
                    }
                })
        }
        var largest: Int64 = 1
        for result in results {
            guard let result, result < 1 << 59 else {
                throw .doesNotFit(
                    reason: "its exact result may need 60 bits or more: take fewer records, or narrower ranges")
            }
            largest = Swift.max(largest, result)
        }
        return largest
    }
}
