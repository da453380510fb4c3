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
            try await operate(.register, context) { operation in try await register(request, operation) }
        }
        group.get { [self] _, context in
            try await operate(.show, context) { operation in
                let keySets = await operation.shown(of: try await manager.list(as: operation.requester)) {
                    KeySetAccess($0)
                }
                return try Response.json(KeySetList(keySets: keySets.map { KeySetInfo($0) }))
            }
        }
        group.get("{id}") { [self] _, context in
            try await operate(.show, context) { operation in
                try Response.json(KeySetInfo(try await shown(context, operation)))
            }
        }
        group.delete("{id}") { [self] _, context in
            try await operate(.destroy, context) { operation in
                let id = try parameter("id", context)
                try await permit(operation, on: id)
                // On record before it is done as well: nothing brings it back.
                try await audit.append(operation.record(outcome: "begun"))
                let destruction = try await manager.destroy(id, as: operation.requester)
                operation.note("erasure", destruction.erasure.rawValue)
                await units.forget(destruction.manifests)
                return try Response.json(DestroyResponse(destruction))
            }
        }
        group.get("{id}/manifest") { [self] _, context in
            try await operate(.show, context) { operation in
                let id = try parameter("id", context)
                try await permit(operation, on: id)
                let manifest = try await manager.signedManifest(id, as: operation.requester)
                return Response.bytes(try manifest.serialized(), type: MediaType.envelope)
            }
        }
        group.get("{id}/public-key") { [self] _, context in
            try await operate(.publicKeyFetch, context) { operation in
                let id = try parameter("id", context)
                try await permit(operation, on: id)
                let key = try await manager.publicKey(id, as: operation.requester)
                var response = Response.bytes(key, type: MediaType.octetStream)
                // Said where the key is served, because whoever uses it will want results back.
                response.headers[.notice] =
                    "ciphertexts made with this key outside HKMS are for evaluation; only results with a unit's receipt are decrypted"
                return response
            }
        }
        group.get("{id}/evaluation-keys") { [self] _, context in
            try await operate(.show, context) { operation in
                let info = KeySetInfo(try await shown(context, operation))
                return try Response.json(
                    EvaluationKeyList(evaluationKeys: info.objects.filter { $0.name != "public-key" }))
            }
        }
        group.get("{id}/evaluation-keys/relinearization") { [self] _, context in
            try await operate(.evaluationKeysFetch, context) { operation in
                try await evaluationKey("relinearization", context, operation)
            }
        }
        group.get("{id}/evaluation-keys/galois/{element}") { [self] _, context in
            try await operate(.evaluationKeysFetch, context) { operation in
                guard let element = UInt32(try parameter("element", context)) else {
                    throw Problem.badRequest("a Galois element is a number", fix: "GET .../evaluation-keys lists them.")
                }
                return try await evaluationKey("galois-\(element)", context, operation)
            }
        }
        group.post("{id}/encrypt") { [self] request, context in
            try await operate(.encrypt, context) { operation in
                try await encrypt(request, under: parameter("id", context), operation)
            }
        }
        group.post("{id}/decrypt") { [self] request, context in
            try await operate(.decryptJob, context) { operation in
                try await decrypt(request, of: parameter("id", context), operation)
            }
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

    private func shown(
        _ context: ServiceContext, _ operation: RequestedOperation
    ) async throws -> KeySetDescription {
        let id = try parameter("id", context)
        try await permit(operation, on: id)
        return try await manager.show(id, as: operation.requester)
    }

    private func evaluationKey(
        _ name: String, _ context: ServiceContext, _ operation: RequestedOperation
    ) async throws -> Response {
        let id = try parameter("id", context)
        operation.note("key", name)
        try await permit(operation, on: id)
        return Response.bytes(
            try await manager.evaluationKey(name, of: id, as: operation.requester), type: MediaType.octetStream)
    }

    private func register(_ request: Request, _ operation: RequestedOperation) async throws -> Response {
        let body = try await request.decodeJSON(RegisterRequest.self, limit: 1 << 20)
        // Before anything is planned for the request.
        try await permitRegistration(body, operation)
        let (registration, report) = try await registration(body, operation.requester)
        let result = try await manager.register(registration, as: operation.requester)
        operation.note(registered: result.keySet.manifest)
        var info = KeySetInfo(result.keySet)
        info.releaseReport = report
        return try Response.json(
            info, status: result.isNew ? .created : .ok, timings: ServerTiming(result.timings))
    }

    private func encrypt(
        _ request: Request, under keySet: String, _ operation: RequestedOperation
    ) async throws -> Response {
        // Whose it is not makes nobody read a body.
        operation.note(keySet: keySet)
        _ = try await manager.access(to: keySet, as: operation.requester)
        let body = try await request.decodeJSON(
            EncryptRequest.self, limit: configuration.bodyBytes, integerMembers: EncryptRequest.integerMembers)
        _ = try await permitAgain(operation, on: keySet, model: body.model)
        let result = try await encrypt(body, under: keySet, as: operation.requester)
        operation.note(result.digests)
        let timings = ServerTiming(result.timings)
        guard request.headers[.accept]?.contains(MediaType.json) == true else {
            return Response.bytes(OctetBundle.encode(result.ciphertexts), type: MediaType.bundle, timings: timings)
        }
        let items = zip(result.digests, result.ciphertexts).map {
            EncryptResponse.Item(digest: $0.hex, ciphertext: Data($1).base64EncodedString())
        }
        return try Response.json(EncryptResponse(ciphertexts: items), timings: timings)
    }

    private func decrypt(
        _ request: Request, of keySet: String, _ operation: RequestedOperation
    ) async throws -> Response {
        try await permit(operation, on: keySet)
        let query = try DecryptQuery(request.uri.queryParameters)
        let ciphertexts = try await bundle(request).map { ReceivedCiphertext($0) }
        operation.note(ciphertexts.map(\.digest))
        let access = try await permitAgain(operation, on: keySet)
        let allowsUnvouched = operation.allows(.decryptAny, on: access)
        let result: DecryptionResult
        do throws(KeyManagementError) {
            result = try await manager.decrypt(
                ciphertexts, of: keySet, count: query.count, form: query.form, expecting: query.release,
                allowsUnvouched: allowsUnvouched, as: operation.requester)
        } catch {
            // Where nothing but the policy stood in the way, it is the policy's denial.
            if case .notVouched = error, !allowsUnvouched, manager.grantsUnvouched(access, to: operation.requester) {
                try operation.permit(.decryptAny, on: access)
            }
            throw error
        }
        if result.exposes { try operation.permit(.decryptAny, on: access) }
        operation.note("release", result.release.rawValue)
        let vectors = result.vectors.map { vector in
            EncryptRequest.Vector(
                real: vector.map(\.real), imaginary: query.form == .complex ? vector.map(\.imaginary) : nil)
        }
        return try Response.json(
            DecryptResponse(
                release: result.release.rawValue, flooding: result.flooding.map { FloodingBody($0) },
                decryptionsLeft: result.decryptionsLeft, vectors: vectors,
                integers: result.integers.isEmpty ? nil : result.integers),
            timings: ServerTiming(result.timings))
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
