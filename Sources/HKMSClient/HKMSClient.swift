import ServiceKit

/// A client of an HKMS gateway, docs/api.md.
///
/// ```swift
/// let client = try HKMSClient(address: "http://127.0.0.1:8080", token: token)
/// do {
///     let request = RegisterRequest(requestId: UUID().uuidString, mode: "direct", preset: "ckks-14")
///     let keySet = try await client.register(request).body.id
///     let encrypted = try await client.encrypt(vectors: [.init(real: [1, 2, 3])], keySet: keySet)
///     let decrypted = try await client.decrypt(encrypted.body, keySet: keySet, count: 3)
///     // decrypted.body.vectors[0].real is about [1, 2, 3]
///     // encrypted.timings tells how long the gateway's steps took
/// } catch HKMSClientError.problem(let problem) {
///     // problem.fix says what to do
/// }
/// await client.shutdown()
/// ```
///
/// Every method throws ``HKMSClientError``. A client may be used by many tasks at once and keeps
/// connections open until ``shutdown()``, which has to be called before the last copy goes away.
public struct HKMSClient: Sendable {
    /// The version of the library, as it tells it to the gateway.
    public static let version = ProgramVersion.current
    /// Ciphertexts in one bundle that the client reads.
    public static let maximumCiphertexts = 1_048_576

    /// What the client accepts of an answer.
    public struct Limits: Sendable, Hashable {
        /// Bytes of a JSON body.
        public var jsonBytes: Int
        /// Bytes of keys and ciphertexts.
        public var binaryBytes: Int

        public init(jsonBytes: Int = 64 << 20, binaryBytes: Int = 1 << 30) {
            self.jsonBytes = jsonBytes
            self.binaryBytes = binaryBytes
        }
    }

    /// What the client accepts of an answer.
    public let limits: Limits
    let transport: GatewayTransport

    /// - Parameters:
    ///   - address: `https://HOST[:PORT]`, with TLS 1.3 at least; `http://` for loopback hosts alone.
    ///   - token: the bearer token. It is kept in ordinary memory for as long as the client lives. nil where the
    ///     gateway knows this client by its certificate.
    ///   - kmsToken: the caller's own credential for the KMS, which the gateway forwards, where the installation seals
    ///     under keys of single principals. Kept as `token` is.
    ///   - caCertificateFile: PEM file of the authorities to trust instead of the system's.
    ///   - clientCertificate: what is shown to a gateway that asks; read once.
    ///   - timeout: time limit of one request from its start to the end of its answer; where an answer
    ///     is streamed, of every pause within it. More than zero, at most a day.
    ///   - limits: what to accept of an answer.
    /// - Throws: ``HKMSClientError`` naming the argument that cannot be used.
    public init(
        address: String, token: String?, kmsToken: String? = nil, caCertificateFile: String? = nil,
        clientCertificate: CertificateFiles? = nil,
        timeout: Duration = .seconds(600), limits: Limits = Limits()
    ) throws(HKMSClientError) {
        self.limits = limits
        transport = try GatewayTransport(
            address: address, token: token, kmsToken: kmsToken, caCertificateFile: caCertificateFile,
            clientCertificate: clientCertificate, timeout: timeout)
    }

    /// Closes all connections; running requests fail.
    public func shutdown() async {
        await transport.shutdown()
    }

    /// Whether the gateway can serve, and what keeps it from that. Needs no valid token.
    public func ready() async throws(HKMSClientError) -> Response<Readiness> {
        let request = GatewayTransport.Request(
            target: try RequestTarget(["readyz"]), alsoAccepted: [503], maximumBytes: limits.jsonBytes,
            isAuthenticated: false)
        return try decoded(Readiness.self, try await transport.collect(request))
    }
}

/// Answer of `GET /readyz`.
public struct Readiness: Codable, Sendable, Hashable {
    /// Whether requests can be served.
    public var ready: Bool
    /// What is not ready, a sentence each.
    public var problems: [String]?

    public init(ready: Bool, problems: [String]? = nil) {
        self.ready = ready
        self.problems = problems
    }
}
