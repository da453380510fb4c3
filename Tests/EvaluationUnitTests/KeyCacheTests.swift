import Attestation
import EncryptedInference
import EvaluationUnit
import HomomorphicEncryption
import ServiceKit
import Testing

@Suite struct KeyCacheTests {
    @Test("the manifest that was not used for the longest time makes room")
    func eviction() async throws {
        let model = try Models.tiny()
        let sets = try (1...3).map { try KeySetFixture(model, seedByte: UInt8($0), keySet: "ks-\($0)") }
        // Room for two of the three.
        let bench = Bench(models: [model], limits: .init(keyCacheBytes: 2 * Self.bytes(sets[0]) + 50_000, threads: 2))
        try await bench.run { unit async throws in
            let first = try await unit.bring(sets[0])
            let second = try await unit.bring(sets[1])
            #expect(try await unit.status(first).need.isEmpty, "which is a use")
            let third = try await unit.bring(sets[2])
            #expect(try await unit.status(first).need.isEmpty)
            #expect(try await unit.status(third).need.isEmpty)
            #expect(try await unit.refusal(.get, "/v1/manifests/\(second)") == "unknown-manifest")
            let inputs = try sets[1].encrypt(Models.tinyRecords(1))
            let job = bench.job(sets[1], manifest: second, inputs: inputs)
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: try unit.bundle(job, inputs)) == "unknown-manifest")
            #expect(try await unit.bring(sets[1]) == second, "it comes back")
        }
    }

    @Test("a key set that never fits is refused before its keys are sent")
    func tooSmall() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let bench = Bench(models: [keys.model], limits: .init(keyCacheBytes: Self.bytes(keys) / 2, threads: 1))
        try await bench.run { unit async throws in
            let manifest = try bench.signed(keys.manifest)
            #expect(
                try await unit.refusal(.put, "/v1/manifests/\(manifest.digest)", body: try manifest.serialized())
                    == "key-cache-too-small")
        }
    }

    @Test("nothing goes while an evaluation uses it")
    func inUse() async throws {
        let model = try Models.tiny()
        let bench = Bench(models: [model])
        let sets = try (1...2).map { try KeySetFixture(model, seedByte: UInt8($0), keySet: "ks-\($0)") }
        let held = try sets.map { try HeldManifest(try bench.signed($0.manifest), models: [model]) }
        let cache = KeyCache(capacity: Self.bytes(sets[0]) + 50_000)
        func fill(_ index: Int) throws {
            try cache.insert(held[index])
            for object in held[index].needed {
                let key = try EvaluationKey(
                    serialized: try #require(sets[index].keys[object.digest]), context: model.context)
                try cache.insert(
                    key, digest: object.digest, byteCount: object.memoryBytes(model.context),
                    manifest: held[index].digest)
            }
        }
        try fill(0)
        let objects = try held[0].keys(for: model.plan.profile)
        try await cache.withKeys(objects, of: held[0].digest) { keys async throws in
            #expect(throws: UnitProblem.keyCacheBusy) { try fill(1) }
            #expect(keys.relinearization != nil)
            #expect(try cache.status(held[0].digest).need.isEmpty)
        }
        try fill(1)
        #expect(throws: UnitProblem.unknownManifest(held[0].digest)) { try cache.manifest(held[0].digest) }
        // Forgotten and brought again during an evaluation: the uses of the old entry are not the new one's.
        try await cache.withKeys(try held[1].keys(for: model.plan.profile), of: held[1].digest) { _ in
            cache.remove(held[1].digest)
            try fill(1)
        }
        try fill(0)
        #expect(throws: UnitProblem.unknownManifest(held[1].digest)) { try cache.manifest(held[1].digest) }
    }

    @Test("of two keys the one of lowest sufficient level is chosen, whatever else is here")
    func choice() throws {
        let model = try Models.tiny()
        let keys = try KeySetFixture(model)
        let bench = Bench(models: [model])
        let id = try #require(model.plan.profile.evaluationKeys.first { $0.kind == .relinearization })
        let higher = EvaluationKeyID(kind: .relinearization, level: id.level + 1)
        let entry = KeySetObject(
            kind: .relinearization, galois: 0, level: higher.level, generation: 0,
            bytes: EvaluationKey.serializedByteCount(higher, context: model.context), digest: Digest(of: [2]))
        for position in [1, keys.manifest.objects.count] {
            var manifest = keys.manifest
            manifest.objects.insert(entry, at: position)
            let held = try HeldManifest(try bench.signed(manifest), models: [model])
            #expect(try held.keys(for: model.plan.profile).allSatisfy { $0.digest != entry.digest })
        }
        var manifest = keys.manifest
        manifest.objects.removeAll { $0.kind == .relinearization }
        #expect(throws: UnitProblem.manifestLacksKeys(["relinearization"])) {
            try HeldManifest(try bench.signed(manifest), models: [model]).keys(for: model.plan.profile)
        }
        manifest.objects.append(entry)
        let held = try HeldManifest(try bench.signed(manifest), models: [model])
        #expect(try held.keys(for: model.plan.profile).contains { $0.digest == entry.digest }, "a higher level serves")
    }

    /// Memory of a key set's keys.
    private static func bytes(_ keys: KeySetFixture) -> Int {
        keys.manifest.objects.dropFirst().reduce(0) { $0 + $1.memoryBytes(keys.model.context) }
    }
}
