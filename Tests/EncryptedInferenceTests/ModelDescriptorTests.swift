import Attestation
import EncryptedInference
import Foundation
import HomomorphicEncryption
import SecretMemory
import TestSupport
import Testing

@Suite struct ModelDescriptorTests {
    private let descriptor: ModelDescriptor
    private let json: [UInt8]

    init() throws {
        descriptor = ModelDescriptor(try Network("3-4sq-1").compiled(), unit: "unit-1")
        json = Array(try JSONEncoder().encode(descriptor))
    }

    private func decoded(_ bytes: [UInt8]) throws -> ModelDescriptor {
        try JSONDecoder().decode(ModelDescriptor.self, from: Data(bytes))
    }

    @Test("what a unit signs is what a gateway reads, and holds")
    func signing() throws {
        let key = try SigningKey(seed: SecretBytes(copying: 1...32))
        let heart = ModelDescriptor(try CompiledModel(HeartDisease.model()), unit: "unit-1")
        let envelope = try SignedStatement(heart, by: key).serialized()
        let read = try SignedStatement<ModelDescriptor>(verifying: envelope, pinned: [key.verificationKey])
        #expect(read.body == heart)
        #expect(read.body.profile.digest == heart.profile.digest)
        try read.body.validate()
        // Everything but the weights.
        let text = String(decoding: read.payload, as: UTF8.self)
        #expect(!text.contains("weights"))
        #expect(!text.contains("0.1855425"))
    }

    @Test("records are cut into batches")
    func batches() throws {
        let network = try Network("3-4sq-1")
        for (count, expected) in [(1, 1), (1023, 1), (1024, 1), (1025, 2), (3000, 3)] {
            let records = network.records(count)
            let slots = try descriptor.slots(of: records)
            #expect(slots.count == expected)
            #expect(slots.allSatisfy { $0.count == 4096 })
            let vectors = try descriptor.inputVectors(of: records)
            #expect(slots[expected - 1][(count - 1) % 1024] == vectors[count - 1][0])
        }
        #expect(throws: InferenceError.noRecords) { try descriptor.slots(of: []) }
        var records = network.records(2000)
        records[1500].fields["x1"] = .missing
        #expect(throws: InferenceError.missingValue(record: 1500, field: "x1")) { try descriptor.slots(of: records) }
    }

    @Test("a description that contradicts itself is refused")
    func contradictions() throws {
        func expect(
            _ error: some Error & Equatable, _ path: [String], _ value: Any,
            sourceLocation: SourceLocation = #_sourceLocation
        ) throws {
            let bytes = try altered(json) { object in
                guard path.count == 2 else {
                    object[path[0]] = value
                    return
                }
                var inner = try #require(object[path[0]] as? JSONObject)
                inner[path[1]] = value
                object[path[0]] = inner
            }
            let altered = try decoded(bytes)
            #expect(throws: error, sourceLocation: sourceLocation) { try altered.validate() }
        }
        let contradiction = InferenceError.malformedModel(reason: "its description contradicts its profile")
        let packing = InferenceError.malformedModel(reason: "its packing does not fill the slots")
        let profile = AttestationError.malformed(reason: "the circuit profile's numbers do not go together")
        try expect(contradiction, ["name"], "other")
        try expect(contradiction, ["profile", "model"], "other")
        try expect(contradiction, ["profile", "batch"], 512)
        try expect(contradiction, ["packing", "period"], 2)
        try expect(contradiction, ["output", "labels"], ["one"])
        try expect(packing, ["packing", "batch"], 512)
        try expect(packing, ["packing", "batch"], 0)
        try expect(packing, ["packing", "width"], 3)
        try expect(packing, ["packing", "period"], 8)
        try expect(profile, ["profile", "batch"], 0)
        try expect(profile, ["profile", "inputLevel"], 9)
        try expect(
            InferenceError.malformedModel(reason: "input x: minimum below maximum is needed"), ["inputs"],
            [["name": "x", "encoding": "scaled"]])
    }

    @Test("3 000 altered descriptions: those that hold encode records, the others are refused")
    func fuzz() throws {
        var generator = SeededGenerator(6)
        let records = try Network("3-4sq-1").records(2)
        var accepted = 0
        for _ in 0..<3_000 {
            guard let altered = try? decoded(generator.mutated(json)), (try? altered.validate()) != nil else {
                continue
            }
            accepted += 1
            guard let slots = try? altered.slots(of: records) else { continue }
            #expect(slots.allSatisfy { $0.count == altered.profile.parameters.slotCount })
        }
        #expect(accepted > 20)
    }
}
