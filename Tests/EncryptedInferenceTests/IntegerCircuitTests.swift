import Attestation
import EncryptedInference
import Foundation
import HomomorphicEncryption
import RLWE
import SecretMemory
import TestSupport
import Testing

/// Circuits on exact integers: their files, their plans, and what they compute.
@Suite struct IntegerCircuitTests {
    static let columns = """
        [{"name": "a", "minimum": -3, "maximum": 9}, {"name": "b", "minimum": 0, "maximum": 250}]
        """

    static func text(
        columns: String = columns, records: String = "5", operation: String = #""sums": [["a"], ["a", "b"]]"#
    ) -> String {
        """
        {"format": "hkms.circuit.v1", "name": "totals", "version": 1, "description": "d", "columns": \(columns),
         "records": \(records), \(operation)}
        """
    }

    private func circuit(_ text: String) throws -> IntegerCircuit { try IntegerCircuit(parsing: Array(text.utf8)) }

    // MARK: Files

    @Test("the shipped circuit")
    func shipped() throws {
        let bytes = try HeartDisease.bytes("heart-disease-totals.json")
        #expect(IntegerCircuit.isFormat(of: bytes))
        let compiled = try CompiledIntegerCircuit(IntegerCircuit(parsing: bytes))
        #expect(compiled.profile.parameters.logN == 13)
        #expect(compiled.profile.operands == 2)
        #expect(compiled.plan.magnitude == 512 * 120 * 700)
        #expect(try CircuitFile.compile(parsing: bytes).name == "heart-disease-totals")
        #expect(try CircuitFile.compile(parsing: HeartDisease.file()).name == "heart-disease")
    }

    @Test(
        "what is no circuit is refused by name",
        arguments: [
            "", "{}", "[]", text().replacingOccurrences(of: "v1", with: "v2"),
            text().replacingOccurrences(of: "totals", with: "Totals"), text(columns: "[]"),
            text(columns: #"[{"name": "a", "minimum": 2, "maximum": 1}]"#),
            text(columns: #"[{"name": "a", "minimum": 0.5, "maximum": 1}]"#),
            text(columns: #"[{"name": "a", "minimum": 0, "maximum": 9007199254740993.0}]"#),
            text(columns: #"[{"name": "a", "minimum": -9223372036854775808, "maximum": 1}]"#),
            text(columns: #"[{"name": "a", "minimum": 0, "maximum": 1}, {"name": "a", "minimum": 0, "maximum": 1}]"#),
            text(records: "0"), text(records: "32769"), text(records: "1.5"), text(operation: #""sums": []"#),
            text(operation: #""sums": [["a"], ["c"]]"#), text(operation: #""sums": [["a"]]"#),
            text(operation: #""sums": [["a", "b", "a"]]"#), text(operation: #""sums": [["a"], ["a"], ["b"]]"#),
            text(operation: #""sums": [[], ["a", "b"]]"#), text(operation: #""sums": [["a", "b"]], "weights": [1, 2]"#),
            text(operation: #""sums": [["a", "b"]], "bias": 1"#), text(operation: #""weights": [1]"#),
            text(operation: #""weights": [1, 9007199254740992]"#), text(operation: #""weights": [1, 0.5]"#),
            text(operation: #""plaintextModulus": 65537"#),
        ])
    func malformed(text: String) throws {
        do {
            _ = try circuit(text)
            Issue.record("read: \(text)")
        } catch InferenceError.malformedCircuit(let reason) {
            #expect(!reason.isEmpty)
        }
    }

    // MARK: Plans

    @Test("t is the smallest prime that batches and that the exact result fits")
    func plaintextModulus() throws {
        for (maximum, records) in [(1, 1), (9, 5), (1 << 20, 1 << 10), (1 << 30, 1 << 12)] {
            let text = Self.text(
                columns: #"[{"name": "a", "minimum": 0, "maximum": \#(maximum)}]"#, records: "\(records)",
                operation: #""sums": [["a"]]"#)
            let compiled = try CompiledIntegerCircuit(circuit(text))
            let parameters = compiled.profile.parameters
            let (t, step) = (parameters.t, UInt64(2 * parameters.degree))
            #expect(t > 2 * UInt64(maximum * records))
            #expect(Primes.isPrime(t) && t % step == 1)
            let lowest = max(65537, 2 * UInt64(maximum * records) + 1)
            let smaller = stride(from: lowest / step * step + 1, to: t, by: Int(step))
            #expect(!smaller.contains { $0 >= lowest && Primes.isPrime($0) })
        }
    }

    @Test("a result that could wrap, or a modulus that does not batch, is refused by name")
    func wrapping() throws {
        func compile(_ modulus: UInt64, records: Int = 5) throws {
            _ = try CompiledIntegerCircuit(
                circuit(
                    Self.text(
                        records: "\(records)",
                        operation: #""sums": [["a", "b"]], "plaintextModulus": \#(modulus)"#)))
        }
        // 9 * 250 * 5 = 11250: fits 65537; 15 records do not.
        try compile(65537)
        #expect(throws: InferenceError.resultMayWrap(magnitude: 9 * 250 * 15, modulus: 65537)) {
            try compile(65537, records: 15)
        }
        #expect(throws: InferenceError.resultMayWrap(magnitude: 11250, modulus: 22500)) { try compile(22500) }
        for modulus: UInt64 in [22501, 65536, 65539, 786_434] {
            #expect(throws: HEError.self) { try compile(modulus) }
        }
        // 2^53 squared is beyond every modulus; 2^44 is beyond what the noise leaves room for after a product.
        let wide = #"[{"name": "a", "minimum": 0, "maximum": 9007199254740991}]"#
        #expect(throws: InferenceError.self) {
            try CompiledIntegerCircuit(circuit(Self.text(columns: wide, operation: #""sums": [["a", "a"]]"#)))
        }
        #expect(throws: InferenceError.self) {
            try CompiledIntegerCircuit(
                circuit(Self.text(records: "30000", operation: #""sums": [["a"], ["b"], ["a", "b"]]"#)))
        }
    }

    @Test("only the keys that the sums use, at the level where they are used")
    func keys() throws {
        let text = Self.text(records: "100", operation: #""sums": [["a", "b"]]"#)
        let compiled = try CompiledIntegerCircuit(circuit(text))
        let profile = compiled.profile
        let degree = profile.parameters.degree
        let galois = profile.evaluationKeys.filter { $0.kind == .galois }
        #expect(
            galois.map(\.galois)
                == [64, 32, 16, 8, 4, 2, 1].map { UInt32(GaloisAutomorphism.element(rotatingBy: $0, degree: degree)) })
        let relinearization = profile.evaluationKeys.filter { $0.kind == .relinearization }
        #expect(relinearization.map(\.level) == [profile.inputLevel])
        #expect(galois.allSatisfy { $0.level < profile.inputLevel })
        #expect(profile.outputLevel <= galois[0].level)
        // No product, no relinearization; one record, no sum.
        let single = try CompiledIntegerCircuit(
            circuit(Self.text(records: "1", operation: #""sums": [["a"], ["b"]]"#)))
        #expect(single.profile.evaluationKeys.isEmpty)
    }

    // MARK: Results

    /// Encrypts, evaluates, decrypts, and compares with plain integers.
    private func check(_ text: String, records count: Int, seed: UInt64) throws {
        let circuit = try circuit(text)
        let compiled = try CompiledIntegerCircuit(circuit)
        let descriptor = IntegerCircuitDescriptor(compiled, unit: "unit-1")
        try descriptor.validate()
        let keys = try TestKeys(compiled.profile)
        var generator = SeededGenerator(seed)
        // Extremes first: all at the maximum, all at the minimum.
        let records = (0..<count).map { row -> IntegerRecord in
            var record: IntegerRecord = [:]
            for column in circuit.columns {
                record[column.name] =
                    seed == 0
                    ? column.maximum
                    : seed == 1
                        ? column.minimum : Int64.random(in: column.minimum...column.maximum, using: &generator)
            }
            return record
        }
        let encoder = try BFVEncoder(compiled.context)
        let inputs = try descriptor.slots(of: records).map {
            try keys.publicKey.encrypt(encoder.encode($0), level: compiled.profile.inputLevel)
        }
        let operands = compiled.profile.operands ?? 1
        var results: [[Int64]] = []
        for start in stride(from: 0, to: inputs.count, by: operands) {
            let output = try compiled.evaluate(Array(inputs[start..<start + operands]), keys: keys.set)
            #expect(output.level == compiled.profile.outputLevel && output.polynomials.count == 2)
            results.append(try encoder.decode(keys.decryptBFV(output)))
        }
        let plain = records.map { record in circuit.columns.map { record[$0.name] ?? 0 } }
        let expected = try #require(circuit.evaluateInTheClear(plain))
        if descriptor.isPerRecord {
            #expect(Array(results.flatMap { $0.prefix(circuit.records) }.prefix(count)) == expected)
        } else {
            for (index, place) in descriptor.results.enumerated() {
                #expect(results.reduce(0) { $0 + $1[place.slot] } == expected[index], "\(place.name)")
            }
        }
    }

    private static let small = """
        [{"name": "a", "minimum": -4, "maximum": 4}, {"name": "b", "minimum": 0, "maximum": 4}]
        """

    @Test(
        "encrypted results are those of plain integers, at the ends of the ranges too",
        arguments: [
            (text(), 5), (text(), 11), (text(records: "300"), 299),
            (text(operation: #""sums": [["a"], ["b"]]"#), 5),
            (text(operation: #""weights": [-7, 12], "bias": -100000"#), 13),
            (text(records: "1", operation: #""weights": [0, 3]"#), 2),
            (
                text(
                    columns: #"[{"name": "a", "minimum": -4, "maximum": 4}]"#, records: "4096",
                    operation: #""sums": [["a"]]"#), 4096
            ),
            (text(columns: small, records: "2048", operation: #""weights": [5, -6]"#), 2000),
            (
                text(
                    columns: #"[{"name": "a", "minimum": -1000000000, "maximum": 1000000000}]"#, records: "8",
                    operation: #""sums": [["a"]]"#), 8
            ),
        ])
    func homomorphism(text: String, count: Int) throws {
        for seed: UInt64 in 0...2 { try check(text, records: count, seed: seed) }
    }

    @Test("random circuits", arguments: 3...8 as ClosedRange<UInt64>)
    func random(seed: UInt64) throws {
        var generator = SeededGenerator(seed)
        let names = ["a", "b", "c"]
        let columns = names.map { name in
            let bounds = [Int.random(in: -500...500, using: &generator), Int.random(in: -500...500, using: &generator)]
            return #"{"name": "\#(name)", "minimum": \#(bounds.min() ?? 0), "maximum": \#(bounds.max() ?? 0)}"#
        }
        let operation: String
        if seed.isMultiple(of: 3) {
            let weights = names.map { _ in Int.random(in: -99...99, using: &generator) }
            operation = #""weights": \#(weights), "bias": \#(Int.random(in: -9...9, using: &generator))"#
        } else {
            let products = (0..<3).map { _ in Array(names.shuffled(using: &generator).prefix(2)) }
            let terms = Set([["a"], ["b"], ["c"]] + products)
            operation = #""sums": [\#(terms.map { "\($0)" }.sorted().joined(separator: ", "))]"#
        }
        let records = Int.random(in: 1...70, using: &generator)
        let text = Self.text(
            columns: "[\(columns.joined(separator: ", "))]", records: "\(records)", operation: operation)
        try check(text, records: Int.random(in: 1...150, using: &generator), seed: seed)
    }

    @Test("inputs of other parameters, levels or numbers are refused")
    func inputs() throws {
        let compiled = try CompiledIntegerCircuit(circuit(Self.text()))
        let keys = try TestKeys(compiled.profile)
        let plaintext = try BFVEncoder(compiled.context).encode([1])
        let good = try keys.publicKey.encrypt(plaintext, level: compiled.profile.inputLevel)
        let low = try keys.publicKey.encrypt(plaintext, level: compiled.profile.inputLevel - 1)
        for inputs in [[], [good], [good, good, good], [good, low]] {
            #expect(throws: InferenceError.self) { try compiled.evaluate(inputs, keys: keys.set) }
        }
    }

    // MARK: Descriptions

    @Test("records are refused by record and column")
    func records() throws {
        let descriptor = IntegerCircuitDescriptor(try CompiledIntegerCircuit(circuit(Self.text())), unit: "unit-1")
        let good: IntegerRecord = ["a": 1, "b": 2]
        #expect(throws: InferenceError.noRecords) { try descriptor.slots(of: []) }
        #expect(throws: InferenceError.missingField(record: 1, field: "b")) {
            try descriptor.slots(of: [good, ["a": 1]])
        }
        for value: Int64 in [-4, 10, .min, .max] {
            #expect(
                throws: InferenceError.integerOutOfRange(record: 0, field: "a", value: value, lower: -3, upper: 9)
            ) { try descriptor.slots(of: [["a": value, "b": 2]]) }
        }
        #expect(try descriptor.slots(of: [good]).count == 2)
        #expect(try descriptor.slots(of: [IntegerRecord](repeating: good, count: 6)).count == 4)
    }

    @Test("a description that does not hold is refused")
    func lies() throws {
        let descriptor = IntegerCircuitDescriptor(try CompiledIntegerCircuit(circuit(Self.text())), unit: "unit-1")
        try descriptor.validate()
        let json = try JSONEncoder().encode(descriptor)
        func altered(_ change: (inout [String: Any]) -> Void) throws -> IntegerCircuitDescriptor {
            var object = try #require(try JSONSerialization.jsonObject(with: json) as? [String: Any])
            change(&object)
            return try JSONDecoder().decode(
                IntegerCircuitDescriptor.self, from: JSONSerialization.data(withJSONObject: object))
        }
        func profile(_ name: String, _ value: Any?) -> (inout [String: Any]) -> Void {
            { object in
                var profile = object["profile"] as? [String: Any] ?? [:]
                profile[name] = value
                object["profile"] = profile
            }
        }
        try altered { _ in }.validate()
        let lies: [(String, (inout [String: Any]) -> Void)] = [
            ("magnitude", { $0["magnitude"] = 1 }), ("magnitude", { $0["magnitude"] = 40_000 }),
            ("magnitude", { $0["magnitude"] = Int64.max }), ("name", { $0["name"] = "other" }),
            ("sums", { $0["sums"] = [["a"]] }), ("sums", { $0["sums"] = nil }), ("columns", { $0["columns"] = [] }),
            ("operands", profile("operands", nil)), ("operands", profile("operands", 3)),
            ("records", profile("batch", 4096)), ("records", profile("batch", 9)),
            ("scale", profile("scaleBits", 30)), ("level", profile("inputLevel", 1)),
            ("level", profile("outputLevel", 3)), ("keys", profile("evaluationKeys", [])),
        ]
        for (name, lie) in lies {
            #expect(throws: (any Error).self, "\(name)") { try altered(lie).validate() }
        }
        // Secure, and as good as a preset's; but then each description could bring a ring of its own.
        let parameters = descriptor.profile.parameters
        let bits = 64 - parameters.q[0].leadingZeroBitCount
        let others = Primes.nttPrimes(
            bits: bits, degree: parameters.degree, count: 1, excluding: Set(parameters.q + parameters.p))
        let strange = try EncryptionParameters(
            scheme: .bfv, logN: parameters.logN, q: others + parameters.q.dropFirst(), p: parameters.p,
            alpha: parameters.alpha, t: parameters.t)
        let object = try JSONSerialization.jsonObject(with: JSONEncoder().encode(strange))
        #expect(throws: InferenceError.malformedCircuit(reason: "its moduli are no preset's")) {
            try altered(profile("parameters", object)).validate()
        }
    }

    @Test("a signed description is read as what it is")
    func kinds() throws {
        let key = try SigningKey(seed: SecretBytes(copying: [UInt8](repeating: 1, count: 32)))
        let circuits: [any Circuit] = [
            try CompiledIntegerCircuit(circuit(Self.text())), try CompiledModel(HeartDisease.model()),
        ]
        for circuit in circuits {
            let envelope = try circuit.description(unit: "unit-1").signed(by: key)
            let read = try CircuitDescriptions.read(envelope, pinned: [key.verificationKey])
            #expect(read.name == circuit.name && read.profile == circuit.profile && read.unit == "unit-1")
            #expect(throws: AttestationError.unknownSigner) { try CircuitDescriptions.read(envelope, pinned: []) }
        }
        let other = try SignedStatement(
            Receipt(
                job: "j", nonce: Digest(of: []), keySet: "k", manifest: Digest(of: []), modelDigest: Digest(of: []),
                profile: Digest(of: []), inputs: [], outputs: [], unit: "u", evaluated: Date()), by: key)
        #expect(throws: AttestationError.self) {
            try CircuitDescriptions.read(other.serialized(), pinned: [key.verificationKey])
        }
    }
}
