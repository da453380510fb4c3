import Attestation
import EncryptedInference
import EvaluationUnit
import Foundation
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceKit
import ServiceLifecycle
import Synchronization
import Testing

@Suite struct FlowTests {
    @Test("models are described under the unit's signature")
    func models() async throws {
        let bench = Bench(models: [try Models.tiny(), try Models.heartDisease()])
        try await bench.run { unit async throws in
            let response = try await unit.send(.get, "/v1/models")
            #expect(response.status == .ok)
            let list = try APIJSON.decode(UnitModelList.self, from: response.bytes)
            let descriptors = try list.descriptors.map {
                try SignedStatement<ModelDescriptor>(verifying: Array($0.utf8), pinned: [bench.unitKey]).body
            }
            #expect(descriptors.map(\.name) == ["tiny", "heart-disease"])
            for descriptor in descriptors { try descriptor.validate() }
        }
    }

    @Test("the keys that are needed are brought, and results decrypt to the model's predictions")
    func tinyModel() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        try await Bench(models: [keys.model]).run { unit async throws in
            let manifest = try unit.bench.signed(keys.manifest)
            let before = try await unit.announce(manifest)
            #expect(before.have.isEmpty)
            #expect(Set(before.need) == Set(keys.keys.keys.map(\.hex)))
            try await unit.bring(keys)
            let after = try await unit.status(manifest.digest)
            #expect(Set(after.have) == Set(before.need))
            #expect(after.need.isEmpty)

            // Five full ciphertexts with different records: their order shows.
            let batch = keys.descriptor.packing.batch
            let records = (0..<5).flatMap { part in Models.tinyRecords(batch + part).suffix(batch) }
            let inputs = try keys.encrypt(records)
            #expect(inputs.count == 5)
            let job = unit.bench.job(keys, manifest: manifest.digest, inputs: inputs)
            let outputs = try await unit.evaluate(keys, job, inputs)
            let scores = try outputs.flatMap { try keys.decrypt($0, count: batch) }
            let expected = try keys.scoresInTheClear(records)
            #expect(zip(scores, expected).allSatisfy { abs($0 - $1) < 1e-3 })
            #expect(scores.count == expected.count)

            let again = unit.bench.job(keys, manifest: manifest.digest, inputs: inputs)
            #expect(try await unit.evaluate(keys, again, inputs) == outputs, "evaluation is deterministic")
        }
    }

    @Test("the shipped model")
    func heartDisease() async throws {
        let keys = try KeySetFixture(try Models.heartDisease())
        try await Bench(models: [keys.model]).run { unit async throws in
            let manifest = try await unit.bring(keys)
            let records = Models.heartRecords(40)
            let inputs = try keys.encrypt(records)
            let outputs = try await unit.evaluate(
                keys, unit.bench.job(keys, manifest: manifest, inputs: inputs), inputs)
            let scores = try keys.decrypt(outputs[0], count: records.count)
            let expected = try keys.scoresInTheClear(records)
            #expect(zip(scores, expected).allSatisfy { abs($0 - $1) < 1e-3 })
        }
    }

    @Test("a manifest that is forgotten takes along the keys that no other names")
    func forget() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        var second = keys.manifest
        second.version = 2
        let (first, other) = (keys.manifest, second)
        try await Bench(models: [keys.model]).run { unit async throws in
            try await unit.bring(keys)
            let digests = (try unit.bench.signed(first).digest, try unit.bench.signed(other).digest)
            #expect(try await unit.announce(try unit.bench.signed(other)).need.isEmpty, "keys are shared")
            #expect(try await unit.send(.delete, "/v1/manifests/\(digests.0)").status == .noContent)
            #expect(try await unit.refusal(.get, "/v1/manifests/\(digests.0)") == "unknown-manifest")
            #expect(try await unit.status(digests.1).need.isEmpty)
            #expect(try await unit.send(.delete, "/v1/manifests/\(digests.1)").status == .noContent)
            #expect(try await unit.announce(try unit.bench.signed(other)).have.isEmpty)
            #expect(
                try await unit.send(.delete, "/v1/manifests/\(digests.0)").status == .noContent, "twice is no error")
        }
    }

    @Test("health needs no signature and tells nothing of the server")
    func health() async throws {
        try await Bench(models: [try Models.tiny()]).run(.live) { unit async throws in
            for path in ["/livez", "/readyz"] {
                let response = try await unit.raw(.get, path)
                #expect(response.status == .ok)
                #expect(response.headers[.contentType] == MediaType.json)
                #expect(response.headers[.server] == nil)
                #expect(response.headers[.requestID]?.isEmpty == false)
            }
            #expect(try await unit.raw(.get, "/readyz").text.contains("true"))
        }
    }

    @Test("over a socket, large bodies too")
    func live() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        try await Bench(models: [keys.model]).run(.live) { unit async throws in
            let manifest = try await unit.bring(keys)
            let records = Models.tinyRecords(9)
            let inputs = try keys.encrypt(records)
            let outputs = try await unit.evaluate(
                keys, unit.bench.job(keys, manifest: manifest, inputs: inputs), inputs)
            let scores = try keys.decrypt(outputs[0], count: records.count)
            #expect(zip(scores, try keys.scoresInTheClear(records)).allSatisfy { abs($0 - $1) < 1e-3 })
        }
    }

    @Test("shutdown lets a request in flight end")
    func gracefulShutdown() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let bench = Bench(models: [keys.model])
        // The unit asks for the time when it has a request's head: then the request is in flight.
        let heads = AsyncStream.makeStream(of: Void.self)
        let isWatching = Atomic(false)
        let unit = try EvaluationUnit(configuration: bench.configuration, logger: Bench.logger) {
            if isWatching.load(ordering: .relaxed) { heads.continuation.yield() }
            return Date()
        }
        let ports = AsyncStream.makeStream(of: Int.self)
        let application = unit.application { port in ports.continuation.yield(port ?? 0) }
        let group = ServiceGroup(configuration: .init(services: [application], logger: Bench.logger))
        try await withThrowingTaskGroup(of: Void.self) { tasks in
            tasks.addTask { try await group.run() }
            let port = try #require(await ports.stream.first { _ in true })
            let client = TestClient(host: "127.0.0.1", port: port)
            client.connect()
            let conversation = Conversation(bench: bench) { method, path, headers, body in
                let response = try await client.execute(
                    TestClient.Request(path, method: method, authority: "localhost", headers: headers, body: body))
                return Answer(response.head, response.body)
            }
            let manifest = try await conversation.bring(keys)
            let records = Models.tinyRecords(24 * keys.descriptor.packing.batch)
            let inputs = try keys.encrypt(records)
            let job = bench.job(keys, manifest: manifest, inputs: inputs)
            isWatching.store(true, ordering: .relaxed)
            async let outputs = conversation.evaluate(keys, job, inputs)
            _ = await heads.stream.first { _ in true }
            await group.triggerGracefulShutdown()
            #expect(try await outputs.count == 24)
            try? await client.shutdown()
            try await tasks.waitForAll()
            await #expect(throws: (any Error).self, "nobody listens any more") {
                try await TestClient.withClient(host: "127.0.0.1", port: port) { _ = try await $0.get("/livez") }
            }
        }
    }
}
