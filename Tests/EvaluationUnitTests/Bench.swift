import Attestation
import EncryptedInference
import EvaluationUnit
import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import SecretMemory
import ServerKit
import ServiceKit
import TestSupport
import Testing

/// A unit with its keys, and a gateway's side of the conversation.
struct Bench: Sendable {
    let configuration: UnitConfiguration
    let gateway = Bench.key(1)
    let secondGateway = Bench.key(2)
    let manifestKey = Bench.key(3)
    let stranger = Bench.key(4)

    init(
        models: [any Circuit], limits: UnitConfiguration.Limits = .init(threads: 2), installation: String? = nil,
        tenant: String? = nil
    ) {
        configuration = UnitConfiguration(
            name: "unit-1", signingKey: Self.key(5), listen: ListenAddress(host: "127.0.0.1", port: 0), models: models,
            gateways: [
                .init(name: "gateway-1", requestKey: gateway.verificationKey),
                .init(name: "gateway-2", requestKey: secondGateway.verificationKey),
            ],
            manifestKeys: [manifestKey.verificationKey], installation: installation, tenant: tenant, limits: limits)
    }

    static func key(_ byte: UInt8) -> SigningKey {
        do {
            return try SigningKey(seed: SecretBytes(copying: [UInt8](repeating: byte, count: 32)))
        } catch { preconditionFailure("\(error)") }
    }

    var unitKey: VerificationKey { configuration.signingKey.verificationKey }

    static let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Runs the unit's routes.
    func run(
        _ setup: TestingSetup = .router, clock: @escaping @Sendable () -> Date = { Date() },
        _ test: @Sendable @escaping (Conversation) async throws -> Void
    ) async throws {
        let unit = try EvaluationUnit(configuration: configuration, logger: Self.logger, clock: clock)
        try await unit.application().test(setup) { client in
            try await test(
                Conversation(bench: self) { method, path, headers, body in
                    let response = try await client.execute(uri: path, method: method, headers: headers, body: body)
                    return Answer(response.head, response.body)
                })
        }
    }

    func signed(_ manifest: KeySetManifest, by key: SigningKey? = nil) throws -> SignedStatement<KeySetManifest> {
        try SignedStatement(manifest, by: key ?? manifestKey)
    }

    /// A job over inputs, as a gateway would describe it.
    func job(
        _ keys: KeySetFixture, manifest: Digest, inputs: [[UInt8]], change: (inout JobDescription) -> Void = { _ in }
    ) -> JobDescription {
        var job = JobDescription(
            job: "job-1", nonce: Digest(of: (0..<32).map { _ in UInt8.random(in: .min ... .max) }),
            gateway: "gateway-1", unit: "unit-1",
            keySet: keys.manifest.keySet, manifest: manifest, model: keys.descriptor.name,
            modelDigest: keys.model.model.digest, inputs: inputs.map { Digest(of: $0) }, created: Date())
        change(&job)
        return job
    }
}

/// What came back.
struct Answer: Sendable {
    let status: HTTPResponse.Status
    let headers: HTTPFields
    let bytes: [UInt8]

    init(_ head: HTTPResponse, _ body: ByteBuffer?) {
        status = head.status
        headers = head.headerFields
        bytes = body.map { Array($0.readableBytesView) } ?? []
    }

    var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Signed requests to one unit.
struct Conversation: Sendable {
    let bench: Bench
    /// Sends a request as it is.
    let exchange: @Sendable (HTTPRequest.Method, String, HTTPFields, ByteBuffer?) async throws -> Answer

    /// Fields of a signed request.
    func signature(
        _ method: HTTPRequest.Method, _ path: String, body: [UInt8], by key: SigningKey? = nil, now: Date = Date()
    ) throws -> HTTPFields {
        let key = key ?? bench.gateway
        return try key.withPrivateKey { privateKey in
            try HTTPMessageSignature.sign(
                RequestComponents(method: method, target: path), digest: ContentDigest(of: body), keyID: key.id.value,
                privateKey: privateKey, now: now)
        }
    }

    func send(
        _ method: HTTPRequest.Method, _ path: String, body: [UInt8] = [], by key: SigningKey? = nil, now: Date = Date()
    ) async throws -> Answer {
        try await raw(method, path, try signature(method, path, body: body, by: key, now: now), body)
    }

    /// Sends a request with just these fields.
    func raw(
        _ method: HTTPRequest.Method, _ path: String, _ fields: HTTPFields = [:], _ body: [UInt8] = []
    ) async throws -> Answer {
        try await exchange(method, path, fields, body.isEmpty ? nil : ByteBuffer(bytes: body))
    }

    /// Sends a request that must be refused, and checks the form of the refusal.
    /// - Returns: the problem's name.
    func refusal(
        _ method: HTTPRequest.Method, _ path: String, body: [UInt8] = [], by key: SigningKey? = nil, now: Date = Date()
    ) async throws -> String {
        try checkedName(of: try await send(method, path, body: body, by: key, now: now))
    }

    func checkedName(of response: Answer) throws -> String {
        let problem = Problem(decoding: response.bytes, status: response.status.code)
        #expect(response.status.code >= 400)
        #expect(response.headers[.contentType] == Problem.mediaType)
        #expect(problem.instance != nil && problem.instance == response.headers[.requestID])
        #expect(!problem.fix.isEmpty && !problem.detail.isEmpty)
        #expect(problem.type.hasPrefix(Problem.typePrefix))
        #expect((problem.retryAfterSeconds != nil) == (response.status.code == 503))
        return problem.name
    }

    func announce(_ manifest: SignedStatement<KeySetManifest>) async throws -> UnitKeyStatus {
        let response = try await send(.put, "/v1/manifests/\(manifest.digest)", body: try manifest.serialized())
        try #require(response.status == .ok, "\(response.text)")
        return try APIJSON.decode(UnitKeyStatus.self, from: response.bytes)
    }

    func status(_ manifest: Digest) async throws -> UnitKeyStatus {
        let response = try await send(.get, "/v1/manifests/\(manifest)")
        try #require(response.status == .ok, "\(response.text)")
        return try APIJSON.decode(UnitKeyStatus.self, from: response.bytes)
    }

    /// Announces a key set's manifest and uploads the keys that the unit needs.
    /// - Returns: the manifest's digest.
    @discardableResult
    func bring(_ keys: KeySetFixture) async throws -> Digest {
        let manifest = try bench.signed(keys.manifest)
        for need in try await announce(manifest).need {
            let digest = try #require(Digest(hex: need))
            let response = try await send(
                .put, "/v1/manifests/\(manifest.digest)/keys/\(need)", body: try #require(keys.keys[digest]))
            try #require(response.status == .noContent, "\(response.text)")
        }
        return manifest.digest
    }

    func bundle(_ job: JobDescription, _ inputs: [[UInt8]], by key: SigningKey? = nil) throws -> [UInt8] {
        OctetBundle.encode([try SignedStatement(job, by: key ?? bench.gateway).serialized()] + inputs)
    }

    /// Has a job evaluated and checks its receipt.
    /// - Returns: the outputs.
    func evaluate(_ keys: KeySetFixture, _ job: JobDescription, _ inputs: [[UInt8]]) async throws -> [[UInt8]] {
        let response = try await send(.post, "/v1/evaluate", body: try bundle(job, inputs))
        try #require(response.status == .ok, "\(response.text)")
        #expect(response.headers[.contentType] == MediaType.bundle)
        let timings = ServerTiming(fieldValue: response.headers[HTTPField.Name("Server-Timing")!] ?? "")
        #expect(timings.entries.map(\.name) == ["prediction"])
        let strings = try OctetBundle.decode(response.bytes, maximumCount: 5000, maximumBytes: 1 << 30)
        let receipt = try SignedStatement<Receipt>(verifying: try #require(strings.first), pinned: [bench.unitKey]).body
        let outputs = Array(strings.dropFirst())
        try receipt.validate(answering: job, profile: keys.descriptor.profile.digest)
        #expect(receipt.outputs == outputs.map { Digest(of: $0) })
        #expect(receipt.unit == "unit-1")
        #expect(abs(receipt.evaluated.timeIntervalSinceNow) < 30)
        return outputs
    }
}
