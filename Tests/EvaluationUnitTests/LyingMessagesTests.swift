import Attestation
import EncryptedInference
import EvaluationUnit
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import ServiceKit
import Testing

/// Messages to a unit that are true of something else. What one field's refusal looks like stands in the other files;
/// here is every field, and every true message in another's place.
@Suite struct LyingMessagesTests {
    /// The members of a signed payload, and the envelope again after one was changed without a new signature.
    private static func forgeries(of envelope: [UInt8]) throws -> [(name: String, envelope: [UInt8])] {
        let parsed = try #require(try JSONSerialization.jsonObject(with: Data(envelope)) as? [String: Any])
        let payload = try #require((parsed["payload"] as? String).flatMap { Data(base64Encoded: $0) })
        let members = try #require(try JSONSerialization.jsonObject(with: payload) as? [String: Any])
        return try members.keys.sorted().map { name in
            var changed = members
            switch members[name] {
            case let text as String: changed[name] = String(text.reversed())
            case let list as [Any]: changed[name] = list + list
            default: changed[name] = nil
            }
            var forged = parsed
            forged["payload"] = try JSONSerialization.data(withJSONObject: changed).base64EncodedString()
            return (name, Array(try JSONSerialization.data(withJSONObject: forged)))
        }
    }

    @Test("every field of a job: altered under the old signature, and signed anew")
    func jobFields() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let inputs = try keys.encrypt(Models.tinyRecords(3))
        let others = try keys.encrypt(Models.tinyRecords(4))
        try await Bench(models: [keys.model]).run { unit async throws in
            let bench = unit.bench
            let manifest = try await unit.bring(keys)
            let job = bench.job(keys, manifest: manifest, inputs: inputs)
            let envelope = try SignedStatement(job, by: bench.gateway).serialized()
            let forgeries = try Self.forgeries(of: envelope)
            #expect(
                forgeries.map(\.name) == [
                    "created", "gateway", "inputs", "job", "keySet", "manifest", "model", "modelDigest", "nonce",
                    "unit",
                ])
            for (name, forged) in forgeries {
                let body = OctetBundle.encode([forged] + inputs)
                #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "job-not-trusted", "\(name)")
            }
            // Signed by the gateway, but not what this unit holds: each by its own name.
            let changes: [(name: String, change: @Sendable (inout JobDescription) -> Void)] = [
                ("job-for-another-unit", { $0.unit = "unit-2" }), ("job-for-another-unit", { $0.unit = "" }),
                ("job-key-set-mismatch", { $0.keySet = "ks-2" }), ("unknown-manifest", { $0.manifest = $0.nonce }),
                ("unknown-model", { $0.model = "TINY" }), ("model-digest-mismatch", { $0.modelDigest = $0.manifest }),
                ("inputs-mismatch", { $0.inputs = [$0.nonce] }), ("job-expired", { $0.created -= 86_400 }),
                ("job-not-yet-valid", { $0.created += 86_400 }),
            ]
            for (name, change) in changes {
                var other = job
                change(&other)
                let body = try unit.bundle(other, inputs)
                #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == name)
            }
            // Nothing of all that used up the nonce; and then it is used up for every job.
            _ = try await unit.evaluate(keys, job, inputs)
            var renamed = job
            renamed.job = "job-2"
            var later = bench.job(keys, manifest: manifest, inputs: others)
            later.nonce = job.nonce
            for body in [try unit.bundle(renamed, inputs), try unit.bundle(later, others)] {
                #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "job-replayed")
            }
        }
    }

    @Test("a job with the inputs of another, twice, in another place or beside another job")
    func bundles() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let first = try keys.encrypt(Models.tinyRecords(3)) + keys.encrypt(Models.tinyRecords(4))
        let second = try keys.encrypt(Models.tinyRecords(3)) + keys.encrypt(Models.tinyRecords(4))
        try await Bench(models: [keys.model]).run { unit async throws in
            let bench = unit.bench
            let manifest = try await unit.bring(keys)
            let jobs = [first, second].map { bench.job(keys, manifest: manifest, inputs: $0) }
            let envelopes = try jobs.map { try SignedStatement($0, by: bench.gateway).serialized() }
            for (name, strings) in Self.misfits(envelopes, first, second) {
                let body = OctetBundle.encode(strings)
                #expect(try await unit.refusal(.post, "/v1/evaluate", body: body) == "inputs-mismatch", "\(name)")
            }
            let last = OctetBundle.encode(first + [envelopes[0]])
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: last) == "malformed-job")
            _ = try await unit.evaluate(keys, jobs[0], first)
            _ = try await unit.evaluate(keys, jobs[1], second)
        }
    }

    /// Bundles that begin with a job, and go on with other inputs than its own.
    private static func misfits(
        _ jobs: [[UInt8]], _ first: [[UInt8]], _ second: [[UInt8]]
    ) -> [String: [[UInt8]]] {
        [
            "another job's inputs": [jobs[0]] + second, "one of each": [jobs[0], first[0], second[1]],
            "the first twice": [jobs[0], first[0], first[0]], "all twice": [jobs[0]] + first + first,
            "the last only": [jobs[0], first[1]], "none": [jobs[0]], "an empty one more": [jobs[0]] + first + [[]],
            "two jobs": jobs + first + second, "the job among the inputs": [jobs[0], jobs[0]] + first,
            "the other job in front": [jobs[1]] + first,
            "cut": [jobs[0], Array(first[0].dropLast()), first[1]],
            "moved bytes": [jobs[0], first[0] + first[1].prefix(1), Array(first[1].dropFirst())],
        ]
    }

    private struct Route {
        let method: HTTPRequest.Method
        let path: String
        let body: [UInt8]
    }

    @Test("a true request in another's place: other route, other body, other fields, other gateway, again")
    func requests() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let inputs = try keys.encrypt(Models.tinyRecords(3))
        try await Bench(models: [keys.model]).run { unit async throws in
            let bench = unit.bench
            let manifest = try bench.signed(keys.manifest)
            let path = "/v1/manifests/\(manifest.digest)"
            let key = try #require(keys.keys.first)
            let job = bench.job(keys, manifest: manifest.digest, inputs: inputs)
            let routes = [
                Route(method: .get, path: "/v1/models", body: []), Route(method: .get, path: path, body: []),
                Route(method: .delete, path: path, body: []),
                Route(method: .put, path: path, body: try manifest.serialized()),
                Route(method: .put, path: "\(path)/keys/\(key.key)", body: key.value),
                Route(method: .post, path: "/v1/evaluate", body: try unit.bundle(job, inputs)),
            ]
            func name(_ route: Int, _ fields: HTTPFields, body: [UInt8]? = nil) async throws -> String {
                let to = routes[route]
                let answer = try await unit.raw(to.method, to.path, fields, body ?? to.body)
                #expect(answer.status == .unauthorized)
                return try unit.checkedName(of: answer)
            }
            let all: [HTTPField.Name] = [.contentDigest, .signatureInput, .signature]
            for (index, route) in routes.enumerated() {
                let fields = try unit.signature(route.method, route.path, body: route.body)
                for other in routes.indices where other != index {
                    // With its own body, and with the one that was signed.
                    #expect(try await name(other, fields) == "signature-bad", "\(index) at \(other)")
                    #expect(try await name(other, fields, body: route.body) == "signature-bad", "\(index) at \(other)")
                }
                let again = try unit.signature(route.method, route.path, body: route.body + [1])
                for field in all {
                    var swapped = fields
                    swapped[field] = again[field]
                    #expect(try await name(index, swapped) == "signature-bad", "\(route.path), \(field)")
                    swapped[field] = nil
                    #expect(try await name(index, swapped) == "signature-missing", "\(route.path), \(field)")
                    var doubled = fields
                    doubled.append(HTTPField(name: field, value: try #require(fields[field])))
                    #expect(try await name(index, doubled).hasPrefix("signature-"), "\(route.path), \(field)")
                }
                // The other gateway's name on it, and the other gateway's signature under this one's name.
                var renamed = fields
                renamed[.signatureInput] = fields[.signatureInput]?.replacingOccurrences(
                    of: bench.gateway.id.value, with: bench.secondGateway.id.value)
                #expect(try await name(index, renamed) == "signature-bad")
                // A key's length is looked up before its body is read, and its manifest is not here yet.
                if !route.body.isEmpty, !route.path.contains("/keys/") {
                    let cut = Array(route.body.dropLast())
                    #expect(try await name(index, fields, body: cut) == "signature-digest-mismatch")
                    #expect(try await name(index, fields) == "signature-replayed", "the nonce is used up")
                }
            }
            // None of all that did anything.
            #expect(try await unit.refusal(.get, path) == "unknown-manifest")
            try await unit.bring(keys)
            // A whole job, sent on by another gateway that is pinned too.
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: routes[5].body, by: bench.secondGateway)
                    == "job-not-trusted")
            _ = try await unit.evaluate(keys, job, inputs)
        }
    }

    @Test("an older manifest of the same key set is another manifest, and keys stay with their own")
    func manifests() async throws {
        let keys = try KeySetFixture(try Models.tiny())
        let others = try KeySetFixture(keys.model, seedByte: 8, keySet: "ks-2")
        let inputs = try keys.encrypt(Models.tinyRecords(3))
        var second = keys.manifest
        second.version = 2
        let newer = second
        try await Bench(models: [keys.model], installation: "test", tenant: "default").run { unit async throws in
            let bench = unit.bench
            let (first, second) = (try bench.signed(keys.manifest), try bench.signed(newer))
            func path(_ manifest: Digest, _ key: Digest? = nil) -> String {
                "/v1/manifests/\(manifest)" + (key.map { "/keys/\($0)" } ?? "")
            }
            for (told, at) in [(first, second), (second, first)] {
                #expect(
                    try await unit.refusal(.put, path(at.digest), body: try told.serialized())
                        == "manifest-digest-mismatch")
            }
            // Altered in any member under the old signature.
            for (name, forged) in try Self.forgeries(of: first.serialized()) {
                #expect(
                    try await unit.refusal(.put, path(first.digest), body: forged) == "manifest-not-trusted", "\(name)")
            }
            try await unit.bring(keys)
            _ = try await unit.announce(second)
            for manifest in [first, second] {
                // The receipt says under which.
                _ = try await unit.evaluate(
                    keys, bench.job(keys, manifest: manifest.digest, inputs: inputs), inputs)
            }
            _ = try await unit.send(.delete, path(first.digest))
            let stale = try unit.bundle(bench.job(keys, manifest: first.digest, inputs: inputs), inputs)
            #expect(try await unit.refusal(.post, "/v1/evaluate", body: stale) == "unknown-manifest")

            // Another key set's keys, of the same kinds and lengths: neither under their own names nor under these.
            let foreign = try bench.signed(others.manifest)
            let need = try await unit.announce(foreign).need
            #expect(Set(need) == Set(others.keys.keys.map(\.hex)))
            for (mine, theirs) in zip(keys.manifest.objects, others.manifest.objects) {
                guard let key = keys.keys[mine.digest], let other = others.keys[theirs.digest] else { continue }
                #expect(key.count == other.count)
                #expect(
                    try await unit.refusal(.put, path(foreign.digest, theirs.digest), body: key)
                        == "key-digest-mismatch")
                #expect(
                    try await unit.refusal(.put, path(foreign.digest, mine.digest), body: key) == "key-not-in-manifest")
                #expect(
                    try await unit.refusal(.put, path(second.digest, theirs.digest), body: other)
                        == "key-not-in-manifest")
            }
            #expect(try await unit.status(foreign.digest).need == need, "nothing was taken")
            let job = bench.job(keys, manifest: foreign.digest, inputs: inputs)
            #expect(
                try await unit.refusal(.post, "/v1/evaluate", body: try unit.bundle(job, inputs))
                    == "job-key-set-mismatch")
        }
    }
}
