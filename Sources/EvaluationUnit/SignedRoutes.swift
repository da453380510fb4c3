import Attestation
import HTTPTypes
import Hummingbird
import ServerKit
import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// A request that a pinned gateway signed, with its whole body.
struct SignedRequest: Sendable {
    let parameters: Parameters
    let body: [UInt8]
    /// SHA-256 of ``body``.
    let bodyDigest: Digest
    /// The key that signed the request.
    let signer: VerificationKey

    /// The digest at a place of the path.
    /// - Throws: ``UnitProblem/malformedDigest``.
    func digest(_ name: String) throws(UnitProblem) -> Digest { try parameters.digest(name) }
}

extension Parameters {
    func digest(_ name: String) throws(UnitProblem) -> Digest {
        guard let digest = get(name).flatMap({ Digest(hex: $0) }) else { throw .malformedDigest }
        return digest
    }
}

/// Routes that take signed requests only.
///
/// Handlers see nothing else than a ``SignedRequest``, so that none can forget to check signature, length or
/// digest of its body.
struct SignedRoutes: Sendable {
    struct Handler: Sendable {
        /// Bytes that a body may have, known from the path before the body is read.
        var limit: @Sendable (Parameters) throws -> Int = { _ in 0 }
        let respond: @Sendable (SignedRequest) async throws -> Response
    }

    let verifier: HTTPMessageSignatureVerifier
    /// By key id.
    let gateways: [String: UnitConfiguration.Gateway]
    let clock: @Sendable () -> Date

    /// Adds handlers for a path; other methods are refused, after the signature was checked.
    func add(
        _ path: RouterPath, to router: some RouterMethods<ServiceContext>, _ handlers: [HTTPRequest.Method: Handler]
    ) {
        for (method, handler) in handlers {
            router.on(path, method: method) { request, context in
                let (signature, signer) = try await verify(request, context)
                let body = try await request.collectBody(limit: try handler.limit(context.parameters))
                let digest = ContentDigest(of: body)
                try signature.check(body: digest)
                guard let bodyDigest = Digest(bytes: digest.bytes) else { throw SignatureError.digestMismatch }
                return try await handler.respond(
                    SignedRequest(parameters: context.parameters, body: body, bodyDigest: bodyDigest, signer: signer))
            }
        }
        router.refuseOtherMethods(path, than: Array(handlers.keys)) { _ = try await verify($0, $1) }
    }

    private func verify(
        _ request: Request, _ context: ServiceContext
    ) async throws -> (VerifiedSignature, VerificationKey) {
        let signature = try verifier.verifyHead(
            RequestComponents(method: request.method, target: request.head.path ?? ""), headers: request.headers,
            now: clock())
        guard let gateway = gateways[signature.keyID] else { throw SignatureError.unknownKey }
        // Who has stolen a gateway's request key is not yet the gateway, and one gateway is not the other.
        if let name = gateway.certificateName {
            guard await context.clientCertificateNames()?.contains(name) == true else {
                throw UnitProblem.certificateOfAnother(gateway: gateway.name)
            }
        }
        return (signature, gateway.requestKey)
    }
}
