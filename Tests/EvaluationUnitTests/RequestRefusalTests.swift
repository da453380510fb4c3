import Attestation
import EvaluationUnit
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceKit
import Testing

@Suite struct RequestRefusalTests {
    @Test("every route of /v1 wants a signature by a pinned key")
    func signatures() async throws {
        let digest = Digest(of: [1])
        let routes: [(HTTPRequest.Method, String)] = [
            (.get, "/v1/models"), (.put, "/v1/manifests/\(digest)"), (.get, "/v1/manifests/\(digest)"),
            (.delete, "/v1/manifests/\(digest)"), (.put, "/v1/manifests/\(digest)/keys/\(digest)"),
            (.post, "/v1/evaluate"), (.patch, "/v1/evaluate"),
        ]
        try await Bench(models: [try Models.tiny()]).run { unit async throws in
            for (method, path) in routes {
                let unsigned = try await unit.raw(method, path)
                #expect(unsigned.status == .unauthorized)
                #expect(try unit.checkedName(of: unsigned) == "signature-missing")
                #expect(try await unit.refusal(method, path, by: unit.bench.stranger) == "signature-unknown-key")
            }
            // Signed by a stranger in the name of the gateway.
            var fields = try unit.signature(.get, "/v1/models", body: [], by: unit.bench.stranger)
            let input = HTTPField.Name("Signature-Input")!
            fields[input] = fields[input]?.replacingOccurrences(
                of: unit.bench.stranger.id.value, with: unit.bench.gateway.id.value)
            let forged = try await unit.raw(.get, "/v1/models", fields)
            #expect(try unit.checkedName(of: forged) == "signature-bad")
        }
    }

    @Test("a request is taken once, as it was signed, and in its time")
    func alterations() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        try await Bench(models: [keys.model]).run { unit async throws in
            func name(
                _ method: HTTPRequest.Method, _ path: String, _ fields: HTTPFields, _ body: [UInt8] = []
            ) async throws -> String {
                let response = try await unit.raw(method, path, fields, body)
                #expect(response.status == .unauthorized)
                return try unit.checkedName(of: response)
            }
            let models = try unit.signature(.get, "/v1/models", body: [])
            #expect(try await unit.raw(.get, "/v1/models", models).status == .ok)
            #expect(try await name(.get, "/v1/models", models) == "signature-replayed")
            #expect(
                try await name(.get, "/v1/models?x", try unit.signature(.get, "/v1/models", body: []))
                    == "signature-bad")
            #expect(
                try await name(.post, "/v1/evaluate", try unit.signature(.get, "/v1/models", body: []))
                    == "signature-bad")
            let old = try unit.signature(.get, "/v1/models", body: [], now: Date() - 400)
            #expect(try await name(.get, "/v1/models", old) == "signature-expired")

            let manifest = try unit.bench.signed(keys.manifest)
            var body = try manifest.serialized()
            let path = "/v1/manifests/\(manifest.digest)"
            let fields = try unit.signature(.put, path, body: body)
            body[body.count / 2] ^= 1
            #expect(try await name(.put, path, fields, body) == "signature-digest-mismatch")
            #expect(try await unit.refusal(.get, path) == "unknown-manifest")
        }
    }

    @Test("paths and methods that there are not")
    func routing() async throws {
        try await Bench(models: [try Models.tiny()]).run { unit async throws in
            let missing = try await unit.raw(.get, "/v1/nothing")
            #expect(missing.status == .notFound)
            #expect(try unit.checkedName(of: missing) == "not-found")
            let wrong = try await unit.send(.post, "/v1/models")
            #expect(wrong.status == .methodNotAllowed)
            #expect(wrong.headers[.allow] == "GET")
            #expect(try unit.checkedName(of: wrong) == "method-not-allowed")
            let health = try await unit.raw(.post, "/livez")
            #expect(try unit.checkedName(of: health) == "method-not-allowed")
            for path in ["/v1/manifests/abc", "/v1/manifests/\(String(repeating: "A", count: 64))"] {
                #expect(try await unit.refusal(.get, path) == "malformed-digest")
            }
        }
    }

    @Test("bodies beyond the limit", arguments: [true, false])
    func bodies(live: Bool) async throws {
        let bench = Bench(models: [try Models.tiny()], limits: .init(bodyBytes: 100_000, threads: 1))
        try await bench.run(live ? .live : .router) { unit async throws in
            let body = [UInt8](repeating: 0, count: 100_001)
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "body-too-large")
            #expect(try await unit.refusal(.put, "/v1/manifests/\(Digest(of: body))", body: body) == "body-too-large")
            // A route without a body takes none.
            #expect(try await unit.refusal(.get, "/v1/models", body: [1]) == "body-too-large")
            // The connection is still good.
            #expect(try await unit.send(.get, "/v1/models").status == .ok)
        }
    }
}
