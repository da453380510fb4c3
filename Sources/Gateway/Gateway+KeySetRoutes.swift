import Attestation
import ComplexModule
import HTTPTypes
import Hummingbird
import KeyManagement
import RealModule
import ServerKit
import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

extension Gateway {
    func addKeySetRoutes(to group: RouterGroup<ServiceContext>) {
        group.post { [self] request, context in
            let body = try await request.decodeJSON(RegisterRequest.self, limit: 1 << 20)
            let requester = try requester(context)
            let (registration, report) = try await registration(body, requester)
            let result = try await manager.register(registration, as: requester)
            var info = KeySetInfo(result.keySet)
            info.releaseReport = report
            return try Response.json(
                info, status: result.isNew ? .created : .ok, timings: ServerTiming(result.timings))
        }
        group.get { [self] _, context in
            try Response.json(
                KeySetList(keySets: try await manager.list(as: requester(context)).map { KeySetInfo($0) }))
        }
        group.get("{id}") { [self] _, context in
            try Response.json(
                KeySetInfo(try await manager.show(parameter("id", context), as: requester(context))))
        }
        group.delete("{id}") { [self] _, context in
            let destruction = try await manager.destroy(parameter("id", context), as: requester(context))
            await units.forget(destruction.manifests)
            return try Response.json(DestroyResponse(destruction))
        }
        group.get("{id}/manifest") { [self] _, context in
            let manifest = try await manager.signedManifest(parameter("id", context), as: requester(context))
            return Response.bytes(try manifest.serialized(), type: MediaType.envelope)
        }
        group.get("{id}/public-key") { [self] _, context in
            let key = try await manager.publicKey(parameter("id", context), as: requester(context))
            var response = Response.bytes(key, type: MediaType.octetStream)
            // Said where the key is served, because whoever uses it will want results back.
            response.headers[.notice] =
                "ciphertexts made with this key outside HKMS are for evaluation; only results with a unit's receipt are decrypted"
            return response
        }
        group.get("{id}/evaluation-keys") { [self] _, context in
            let info = KeySetInfo(try await manager.show(parameter("id", context), as: requester(context)))
            return try Response.json(EvaluationKeyList(evaluationKeys: info.objects.filter { $0.name != "public-key" }))
        }
        group.get("{id}/evaluation-keys/relinearization") { [self] _, context in
            try await evaluationKey("relinearization", context)
        }
        group.get("{id}/evaluation-keys/galois/{element}") { [self] _, context in
            guard let element = UInt32(try parameter("element", context)) else {
                throw Problem.badRequest("a Galois element is a number", fix: "GET .../evaluation-keys lists them.")
            }
            return try await evaluationKey("galois-\(element)", context)
        }
        group.post("{id}/encrypt") { [self] request, context in
            let body = try await request.decodeJSON(
                EncryptRequest.self, limit: configuration.bodyBytes, integerMembers: EncryptRequest.integerMembers)
            let result = try await encrypt(body, under: parameter("id", context), as: requester(context))
            let timings = ServerTiming(result.timings)
            guard request.headers[.accept]?.contains(MediaType.json) == true else {
                return Response.bytes(OctetBundle.encode(result.ciphertexts), type: MediaType.bundle, timings: timings)
            }
            let items = zip(result.digests, result.ciphertexts).map {
                EncryptResponse.Item(digest: $0.hex, ciphertext: Data($1).base64EncodedString())
            }
            return try Response.json(EncryptResponse(ciphertexts: items), timings: timings)
        }
        group.post("{id}/decrypt") { [self] request, context in
            let ciphertexts = try await bundle(request)
            var count: Int?
            if let text = request.uri.queryParameters["count"] {
                guard let number = Int(text), number >= 0 else {
                    throw Problem.badRequest("count is not a number", fix: "Give count=N, the slots to release.")
                }
                count = number
            }
            let complex = request.uri.queryParameters["complex"] == "true"
            let unsigned = request.uri.queryParameters["unsigned"] == "true"
            guard !(complex && unsigned) else {
                throw Problem.badRequest(
                    "complex and unsigned are of different schemes", fix: "Give the one of the key set's scheme.")
            }
            var expected: ReleaseNoise?
            if let text = request.uri.queryParameters["release"] {
                expected = ReleaseNoise(rawValue: String(text))
                guard expected != nil else {
                    throw Problem.badRequest(
                        "release is none of flooded, raw and exact", fix: "Leave it out, or set it.")
                }
            }
            let result = try await manager.decrypt(
                ciphertexts, of: parameter("id", context), count: count,
                form: complex ? .complex : unsigned ? .unsigned : .standard, expecting: expected,
                as: requester(context))
            let vectors = result.vectors.map { vector in
                EncryptRequest.Vector(
                    real: vector.map(\.real), imaginary: complex ? vector.map(\.imaginary) : nil)
            }
            return try Response.json(
                DecryptResponse(
                    release: result.release.rawValue, flooding: result.flooding.map { FloodingBody($0) },
                    decryptionsLeft: result.decryptionsLeft, vectors: vectors,
                    integers: result.integers.isEmpty ? nil : result.integers),
                timings: ServerTiming(result.timings))
        }
        group.refuseOtherMethods("", than: [.get, .post])
        group.refuseOtherMethods("{id}", than: [.get, .delete])
        for path: RouterPath in [
            "{id}/manifest", "{id}/public-key", "{id}/evaluation-keys", "{id}/evaluation-keys/relinearization",
            "{id}/evaluation-keys/galois/{element}",
        ] {
            group.refuseOtherMethods(path, than: [.get])
        }
        for path: RouterPath in ["{id}/encrypt", "{id}/decrypt"] { group.refuseOtherMethods(path, than: [.post]) }
    }

    private func evaluationKey(_ name: String, _ context: ServiceContext) async throws -> Response {
        Response.bytes(
            try await manager.evaluationKey(name, of: parameter("id", context), as: requester(context)),
            type: MediaType.octetStream)
    }

    /// The ciphertexts of a bundle.
    func bundle(_ request: Request) async throws -> [[UInt8]] {
        let body = try await request.collectBody(limit: configuration.bodyBytes)
        return try OctetBundle.decode(
            body, maximumCount: KeyManager.maximumVectors, maximumBytes: configuration.bodyBytes)
    }
}

extension HTTPField.Name {
    /// A word to whoever reads the object.
    static let notice = HTTPField.Name("HKMS-Notice")!
}
