import AsyncHTTPClient
import Attestation
import EncryptedInference
import HTTPTypes
import KeyManagement
import Logging
import NIOCore
import NIOHTTP1
import ServerKit
import ServiceKit
import ServiceLifecycle
import TransportSecurity

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The connections to one evaluation unit, under its own authorities and with the gateway's certificate for it.
struct UnitTransport: Sendable {
    let unit: GatewayConfiguration.Unit
    let http: HTTPClient
    /// Looks for renewed certificates.
    let services: [any Service]

    /// - Throws: `TLSError` where a file of the unit's `tls` cannot be used.
    init(_ unit: GatewayConfiguration.Unit, logger: Logger) throws(TLSError) {
        self.unit = unit
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.timeout.connect = .seconds(5)
        configuration.httpVersion = .http1Only
        let reloader = try unit.certificate?.reloader { event in event.log(to: logger) }
        configuration.tlsConfiguration = try unit.tls.configuration(identity: reloader)
        http = HTTPClient(eventLoopGroupProvider: .singleton, configuration: configuration)
        services = reloader.map { [CertificateReloading(reloader: $0)] } ?? []
    }
}

/// Speaks to one evaluation unit; every request is signed by the gateway's request key (RFC 9421).
struct UnitClient: Sendable {
    let unit: GatewayConfiguration.Unit
    let http: HTTPClient
    let key: SigningKey
    let descriptions: DescriptionReader
    let clock: @Sendable () -> Date

    private static let controlTimeout = TimeAmount.seconds(30)
    /// Models are asked for while somebody waits for a list of all units.
    private static let listTimeout = TimeAmount.seconds(5)
    /// Evaluation of large circuits takes a while.
    private static let evaluationTimeout = TimeAmount.minutes(30)
    /// Searching the parameters of a large model takes a while.
    private static let planTimeout = TimeAmount.minutes(2)
    /// Why nothing can be planned is for whoever asked.
    private static let planProblems: Set = [
        "invalid-release", "precision-out-of-reach", "model-too-deep-to-flood", "circuit-mismatch",
    ]
    private static let maximumControlBytes = 64 << 20
    /// Each is checked with the parameters that it names.
    private static let maximumDescriptors = 64

    /// The models and circuits that the unit runs, signed by it and checked; one that does not hold is left out.
    func models(logger: Logger) async throws -> [any CircuitDescription] {
        let body = try await send(
            .GET, "/v1/models", limit: Self.maximumControlBytes, timeout: Self.listTimeout
        ).body
        let list: UnitModelList
        do { list = try APIJSON.decode(UnitModelList.self, from: body) } catch { throw malformed("its list of models") }
        var descriptors: [any CircuitDescription] = []
        var failure: (any Error)?
        for text in list.descriptors.prefix(Self.maximumDescriptors) {
            do {
                let description = try await descriptions.description(Array(text.utf8), pinned: unit.publicKey)
                guard description.unit == unit.name else { throw AttestationError.mismatch(field: "evaluation unit") }
                // The list is of plans for raw results.
                guard (description as? ModelDescriptor)?.release == nil else {
                    throw AttestationError.mismatch(field: "release")
                }
                descriptors.append(description)
            } catch let error as ComputeSaturated {
                // No fault of the unit's: what it runs is asked for again.
                throw error
            } catch {
                logger.error(
                    "a model description is not believed", metadata: ["unit": "\(unit.name)", "error": "\(error)"])
                failure = error
            }
        }
        if descriptors.isEmpty, let failure { throw failure }
        return descriptors
    }

    /// Has a model planned for flooded results.
    /// - Returns: what the unit signed of it, checked against what was asked.
    /// - Throws: `Problem`, with the unit's own name where nothing can be planned.
    func plan(_ model: String, _ request: PlanRequest) async throws -> ModelDescriptor {
        let path = "/v1/models/\(model)/plan"
        let body = try await send(
            .POST, path, body: try APIJSON.encode(request), type: MediaType.json, limit: 4 << 20,
            timeout: Self.planTimeout
        ).body
        let descriptor: ModelDescriptor
        do {
            let description = try await descriptions.description(body, pinned: unit.publicKey)
            guard let model = description as? ModelDescriptor, model.unit == unit.name else {
                throw AttestationError.mismatch(field: "evaluation unit")
            }
            descriptor = model
        } catch let error as ComputeSaturated {
            throw error
        } catch { throw malformed("the description of a planned model") }
        // Signed for another question: an answer of before, or of another model.
        guard descriptor.name == model, descriptor.release?.request == request.release,
            request.profile == nil || request.profile?.digest == descriptor.profile.digest
        else { throw malformed("a plan for something that was not asked") }
        return descriptor
    }

    /// Announces a manifest.
    /// - Returns: which keys the unit has and needs.
    func announce(_ manifest: SignedStatement<KeySetManifest>) async throws -> UnitKeyStatus {
        let answer = try await send(
            .PUT, "/v1/manifests/\(manifest.digest.hex)", body: manifest.serialized(), type: MediaType.envelope,
            limit: Self.maximumControlBytes)
        do {
            return try APIJSON.decode(UnitKeyStatus.self, from: answer.body)
        } catch { throw malformed("its key status") }
    }

    func upload(_ key: [UInt8], digest: Digest, manifest: Digest) async throws {
        _ = try await send(
            .PUT, "/v1/manifests/\(manifest.hex)/keys/\(digest.hex)", body: key, type: MediaType.octetStream,
            limit: 65_536)
    }

    func forget(_ manifest: Digest) async throws {
        _ = try await send(.DELETE, "/v1/manifests/\(manifest.hex)", limit: 65_536)
    }

    /// Has a job evaluated.
    /// - Returns: the receipt's envelope and the outputs, both unchecked.
    func evaluate(
        _ job: SignedStatement<JobDescription>, inputs: [[UInt8]], outputLimit: Int
    ) async throws -> (receipt: [UInt8], outputs: [[UInt8]], timings: ServerTiming) {
        let body = OctetBundle.encode([try job.serialized()] + inputs)
        let limit = outputLimit + (1 << 20)
        let answer = try await send(
            .POST, "/v1/evaluate", body: body, type: MediaType.bundle, limit: limit, timeout: Self.evaluationTimeout)
        guard
            let parts = try? OctetBundle.decode(
                answer.body, maximumCount: inputs.count + 1, maximumBytes: limit), let receipt = parts.first
        else { throw malformed("its result") }
        return (receipt, Array(parts.dropFirst()), answer.timings)
    }

    private func send(
        _ method: HTTPMethod, _ path: String, body: [UInt8] = [], type: String? = nil, limit: Int,
        timeout: TimeAmount = controlTimeout
    ) async throws -> (body: [UInt8], timings: ServerTiming) {
        let base = unit.url.hasSuffix("/") ? String(unit.url.dropLast()) : unit.url
        var request = HTTPClientRequest(url: base + path)
        request.method = method
        let signed = try key.withPrivateKey { privateKey in
            try HTTPMessageSignature.sign(
                RequestComponents(method: method.rawValue, path: path), digest: ContentDigest(of: body),
                keyID: key.id.value, privateKey: privateKey, now: clock())
        }
        for field in signed { request.headers.add(name: field.name.rawName, value: field.value) }
        if let type { request.headers.add(name: "Content-Type", value: type) }
        if !body.isEmpty { request.body = .bytes(ByteBuffer(bytes: body)) }
        let prepared = request
        let response: HTTPClientResponse
        let collected: [UInt8]
        do {
            (response, collected) = try await TimeLimit.run(within: .nanoseconds(timeout.nanoseconds)) { [http] in
                let response = try await http.execute(prepared, timeout: timeout)
                return (response, Array(try await response.body.collect(upTo: limit).readableBytesView))
            }
        } catch is NIOTooManyBytesError {
            throw malformed("an answer that is longer than expected")
        } catch {
            throw Problem(
                name: "unit-unavailable", title: "The evaluation unit does not answer", status: 502,
                detail: "Evaluation unit \(unit.name) could not be reached.",
                fix:
                    "Check that it runs (hkms-evaluator serve) and that units.url in the gateway's configuration is right.",
                retryAfterSeconds: 5)
        }
        guard (200..<300).contains(response.status.code) else {
            let problem = Problem(decoding: collected, status: Int(response.status.code))
            if Self.planProblems.contains(problem.name), (400..<500).contains(problem.status) {
                throw Problem(
                    name: problem.name, title: "The release cannot be had", status: problem.status,
                    detail: problem.detail.prefixed(1000), fix: problem.fix.prefixed(1000))
            }
            let busy = problem.status == 503
            let refusal = Problem(
                name: busy ? "unit-busy" : "unit-refused",
                title: "The evaluation unit refused", status: busy ? 503 : 502,
                detail: "Evaluation unit \(unit.name) answered \(problem.name): \(problem.detail)".prefixed(1000),
                fix: problem.fix.isEmpty ? "See the unit's log." : problem.fix.prefixed(1000),
                retryAfterSeconds: problem.retryAfterSeconds)
            if problem.name == "missing-evaluation-keys" { throw UnitLacksKeys(problem: refusal) }
            throw refusal
        }
        let timings = ServerTiming(fieldValue: response.headers.first(name: "Server-Timing") ?? "")
        return (collected, timings)
    }

    private func malformed(_ what: String) -> Problem {
        Problem(
            name: "unit-malformed-answer", title: "The evaluation unit's answer is not valid", status: 502,
            detail: "Evaluation unit \(unit.name) sent \(what) in a form that cannot be read.",
            fix: "Check that gateway and unit have versions that go together.")
    }
}

/// The unit needs evaluation keys that it does not have, or no longer.
struct UnitLacksKeys: Error {
    let problem: Problem
}

extension String {
    fileprivate func prefixed(_ count: Int) -> String { String(prefix(count)) }
}
