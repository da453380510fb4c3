import Attestation
import Foundation
import HomomorphicEncryption
import Testing

@Suite struct CircuitProfileTests {
    private typealias Change = (inout CircuitProfile) throws -> Void

    private func changed(_ change: Change) throws -> CircuitProfile {
        var profile = try Fixtures.profile()
        try change(&profile)
        return profile
    }

    @Test("the digest is SHA-256 of a fixed encoding")
    func knownAnswer() throws {
        // By an independent implementation (Python's hashlib and struct) from the field list.
        #expect(try Fixtures.profile().digest.hex == "5d95198f4b985fd09518d5ec4b07c1a79224a45fbe88d708b1835b88e5689351")
    }

    @Test("the digest survives JSON")
    func json() throws {
        let profile = try Fixtures.profile()
        let read = try JSONDecoder().decode(CircuitProfile.self, from: JSONEncoder().encode(profile))
        #expect(read == profile)
        #expect(read.digest == profile.digest)
    }

    @Test("the digest changes with every field")
    func digest() throws {
        let changes: [Change] = [
            { $0.model = "heart-diseases" },
            { $0.model = "" },
            { $0.modelDigest = try Fixtures.digest(99) },
            { $0.parameters = try Fixtures.parameters("ckks-14") },
            { $0.scaleBits = 37 },
            { $0.inputLevel = 3 },
            { $0.outputLevel = 2 },
            { $0.batch = 32 },
            { $0.operands = 1 },
            { $0.operands = 2 },
            { $0.evaluationKeys = [] },
            { $0.evaluationKeys.removeLast() },
            { $0.evaluationKeys.swapAt(0, 1) },
            { $0.evaluationKeys[0] = EvaluationKeyID(kind: .switching, level: 3) },
            { $0.evaluationKeys[1] = EvaluationKeyID(kind: .galois, galois: 3, level: 4, generation: 7) },
            { $0.evaluationKeys[1] = EvaluationKeyID(kind: .galois, galois: 9, level: 3, generation: 7) },
            { $0.evaluationKeys[1] = EvaluationKeyID(kind: .galois, galois: 9, level: 4, generation: 8) },
        ]
        var digests: Set<Digest> = [try Fixtures.profile().digest]
        for change in changes { digests.insert(try changed(change).digest) }
        #expect(digests.count == changes.count + 1)
    }

    @Test("inputs make whole evaluations, or none")
    func operands() throws {
        var profile = try Fixtures.profile()
        #expect(profile.resultCount(inputs: 3) == 3)
        profile.operands = 2
        #expect([0, 1, 2, 3, 4].map { profile.resultCount(inputs: $0) } == [0, nil, 1, nil, 2])
        for operands in [0, -1, 65] {
            profile.operands = operands
            let changed = profile
            #expect(throws: AttestationError.self) { try changed.validate() }
        }
    }

    @Test("BFV has no scale, and a slot for each coefficient")
    func integers() throws {
        let parameters = try #require(BFVParameterPreset.named("bfv-12")).parameters
        func profile(scaleBits: Int, batch: Int) -> CircuitProfile {
            CircuitProfile(
                model: "m", modelDigest: Digest(of: []), parameters: parameters, scaleBits: scaleBits, inputLevel: 2,
                outputLevel: 1, batch: batch, evaluationKeys: [])
        }
        try profile(scaleBits: 0, batch: 4096).validate()
        for wrong in [profile(scaleBits: 1, batch: 1), profile(scaleBits: 0, batch: 4097)] {
            #expect(throws: AttestationError.self) { try wrong.validate() }
        }
    }

    @Test("the scale is a power of two")
    func scale() throws {
        #expect(try Fixtures.profile().scale == 0x1p36)
    }

    @Test("numbers that go together pass, at their ends too")
    func valid() throws {
        let changes: [Change] = [
            { _ in },
            { $0.outputLevel = 4 },
            { $0.inputLevel = 1 },
            { $0.scaleBits = 1 },
            { $0.scaleBits = 120 },
            { $0.batch = 1 },
            { $0.batch = 4096 },
            { $0.evaluationKeys = [] },
            { $0.model = String(repeating: "m", count: 128) },
        ]
        for change in changes { try changed(change).validate() }
    }

    @Test("nonsense is refused")
    func nonsense() throws {
        let refusal = AttestationError.malformed(reason: "the circuit profile's numbers do not go together")
        let changes: [Change] = [
            { $0.inputLevel = 0 },
            { $0.inputLevel = 5 },
            { $0.inputLevel = -1 },
            { $0.outputLevel = 0 },
            { $0.outputLevel = .max },
            {
                $0.inputLevel = 1
                $0.outputLevel = 2
            },
            { $0.scaleBits = 0 },
            { $0.scaleBits = 121 },
            { $0.scaleBits = .min },
            { $0.batch = 0 },
            { $0.batch = 4097 },
            { $0.batch = .max },
            { $0.evaluationKeys.append($0.evaluationKeys[0]) },
            {
                $0.evaluationKeys = (0..<4097).map {
                    EvaluationKeyID(kind: .galois, galois: UInt32(2 * $0 + 3), level: 1)
                }
            },
            { $0.model = String(repeating: "m", count: 129) },
        ]
        for (index, change) in changes.enumerated() {
            let profile = try changed(change)
            #expect(throws: refusal, "change \(index)") { try profile.validate() }
        }
    }
}
