import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import ServiceKit
import TransportSecurity

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// HTTP to one gateway: bounded answers, and failures as ``HKMSClientError``.
struct GatewayTransport: Sendable {
    struct Request: Sendable {
        var method: HTTPMethod = .GET
        var target: RequestTarget
        var accept = MediaType.json
        var body: (bytes: [UInt8], mediaType: String)?
        /// Statuses that are no error beside those below 300.
        var alsoAccepted: Set<Int> = []
        var maximumBytes: Int
        /// Whether the client's time limit ends the answer, or only a pause within it.
        var isTimed = true
        var isAuthenticated = true
    }

    private let http: HTTPClient
    private let address: GatewayAddress
    private let authorization: String?
    private let kmsToken: String?
    private let timeout: Duration

    init(
        address: String, token: String?, kmsToken: String?, caCertificateFile: String?,
        clientCertificate: CertificateFiles?,
        timeout: Duration
    ) throws(HKMSClientError) {
        self.address = try GatewayAddress(address)
        if let token {
            authorization = "Bearer " + (try Self.checked(token: token))
        } else {
            guard clientCertificate != nil else {
                throw .invalidToken(reason: "is missing, and there is no client certificate instead")
            }
            authorization = nil
        }
        self.kmsToken = try kmsToken.map { token throws(HKMSClientError) in try Self.checked(token: token) }
        guard clientCertificate == nil || self.address.usesTLS else {
            throw .invalidArgument(name: "The client certificate", reason: "is shown to an https address alone")
        }
        guard timeout > .zero, timeout <= .seconds(86_400) else {
            throw .invalidArgument(name: "The time limit", reason: "is not between 0 and 86400 seconds")
        }
        self.timeout = timeout

        var configuration = HTTPClient.Configuration()
        if self.address.usesTLS {
            do {
                configuration.tlsConfiguration = try ClientTLS(authorities: caCertificateFile).configuration(
                    identity: try clientCertificate?.reloader())
            } catch .identity(let certificate, let key, let reason) {
                throw .clientCertificate(certificate: certificate, key: key, reason: reason)
            } catch { throw .caCertificate(path: caCertificateFile ?? "", reason: error.reason) }
        }
        // A redirect would carry the token to a host that nobody named.
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        let limit = TimeAmount(timeout)
        configuration.timeout = .init(connect: min(limit, .seconds(10)), read: limit, write: limit)
        configuration.connectionPool.retryConnectionEstablishment = false
        http = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }

    func shutdown() async { try? await http.shutdown() }

    /// The whole answer in memory.
    func collect(_ request: Request) async throws(HKMSClientError) -> HKMSClient.Response<[UInt8]> {
        var bytes: [UInt8] = []
        do {
            return try await exchange(request) { chunk in
                bytes.append(contentsOf: chunk.readableBytesView)
            }.with(bytes)
        } catch let error as HKMSClientError {
            throw error
        } catch {
            throw failure(error)
        }
    }

    /// The answer chunk by chunk; its number of bytes is the result's body.
    /// - Throws: ``HKMSClientError``, and what `receive` throws.
    func exchange(
        _ request: Request, receive: (ByteBuffer) throws -> Void
    ) async throws -> HKMSClient.Response<Int> {
        let deadline = NIODeadline.now() + TimeAmount(timeout)
        let answer = try await execute(request, deadline: deadline)
        let status = Int(answer.status.code)
        let requestID = Self.requestID(answer.headers)
        guard status < 300 || request.alsoAccepted.contains(status) else {
            throw try await problem(answer, status: status, requestID: requestID, deadline: deadline)
        }
        let count = try await consume(
            answer.body, maximumBytes: request.maximumBytes, deadline: request.isTimed ? deadline : nil, receive)
        return HKMSClient.Response(
            body: count, status: status,
            timings: ServerTiming(fieldValue: answer.headers["Server-Timing"].joined(separator: ", ")),
            requestID: requestID)
    }

    private func execute(
        _ request: Request, deadline: NIODeadline
    ) async throws(HKMSClientError) -> HTTPClientResponse {
        var message = HTTPClientRequest(url: address.text + request.target.text)
        message.method = request.method
        message.headers.add(name: "Accept", value: request.accept)
        message.headers.add(name: "User-Agent", value: "hkms-client/\(HKMSClient.version)")
        if request.isAuthenticated, let authorization {
            message.headers.add(name: "Authorization", value: authorization)
        }
        if request.isAuthenticated, let kmsToken { message.headers.add(name: "HKMS-KMS-Token", value: kmsToken) }
        if let body = request.body {
            message.headers.add(name: "Content-Type", value: body.mediaType)
            message.body = .bytes(body.bytes)
        }
        do {
            return try await http.execute(message, deadline: deadline)
        } catch {
            throw failure(error)
        }
    }

    private func consume(
        _ body: HTTPClientResponse.Body, maximumBytes: Int, deadline: NIODeadline?,
        _ receive: (ByteBuffer) throws -> Void
    ) async throws -> Int {
        var count = 0
        var chunks = body.makeAsyncIterator()
        while true {
            let chunk: ByteBuffer?
            do {
                chunk = try await chunks.next()
            } catch {
                throw failure(error)
            }
            guard let chunk else { return count }
            // The client's own deadline ends with the answer's head.
            if let deadline, NIODeadline.now() >= deadline { throw failure(HTTPClientError.deadlineExceeded) }
            count += chunk.readableBytes
            guard count <= maximumBytes else {
                throw HKMSClientError.responseTooLarge(maximumBytes: maximumBytes)
            }
            try receive(chunk)
        }
    }

    private func problem(
        _ answer: HTTPClientResponse, status: Int, requestID: String?, deadline: NIODeadline
    ) async throws -> HKMSClientError {
        let mediaType = answer.headers.first(name: "Content-Type") ?? ""
        guard status >= 400, mediaType.lowercased().hasPrefix(Problem.mediaType) else {
            let reason = (300..<400).contains(status) ? "a redirect, which is not followed" : "no problem details"
            return .unexpectedResponse(status: status, reason: reason)
        }
        var bytes: [UInt8] = []
        do {
            _ = try await consume(answer.body, maximumBytes: Problem.maximumEncodedBytes, deadline: deadline) {
                bytes.append(contentsOf: $0.readableBytesView)
            }
        } catch HKMSClientError.responseTooLarge {
            return .unexpectedResponse(status: status, reason: "problem details that are too long")
        }
        var problem = Problem(decoding: bytes, status: status)
        problem.instance = problem.instance ?? requestID
        if problem.retryAfterSeconds == nil {
            problem.retryAfterSeconds = answer.headers.first(name: "Retry-After").flatMap { Int($0) }
        }
        return .problem(problem)
    }

    private static func requestID(_ headers: HTTPHeaders) -> String? {
        guard let id = headers.first(name: "X-Request-Id"), (1...128).contains(id.utf8.count),
            id.utf8.allSatisfy({ (0x21...0x7E).contains($0) })
        else { return nil }
        return id
    }

    private static func checked(token: String) throws(HKMSClientError) -> String {
        guard !token.isEmpty else { throw .invalidToken(reason: "is empty") }
        guard token.utf8.count <= BearerToken.maximumBytes else {
            throw .invalidToken(reason: "is longer than \(BearerToken.maximumBytes) bytes")
        }
        guard token.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .invalidToken(reason: "holds blanks, line ends or characters outside of ASCII")
        }
        return token
    }

    private static let refused = "nothing accepts connections there"

    /// Only texts of our own: some descriptions of these errors repeat header values, which hold the token.
    private func failure(_ error: any Error) -> HKMSClientError {
        let reason: String
        switch error {
        case let error as HKMSClientError: return error
        case is CancellationError, HTTPClientError.cancelled as HTTPClientError: return .cancelled
        case HTTPClientError.deadlineExceeded as HTTPClientError, HTTPClientError.readTimeout as HTTPClientError,
            HTTPClientError.writeTimeout as HTTPClientError:
            return .timedOut(address: address.text, after: timeout)
        case HTTPClientError.remoteConnectionClosed as HTTPClientError:
            reason = "it closed the connection before its answer was complete"
        case let error as HTTPClientError: reason = error.shortDescription.lowercased()
        case let error as NIOConnectionError:
            reason = error.connectionErrors.isEmpty ? "the name of its host is not known" : Self.refused
        case let error as IOError where error.errnoCode == ECONNREFUSED: reason = Self.refused
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            reason =
                "the TLS handshake failed; it must speak TLS 1.3 with a certificate for this host of an authority "
                + "that the CA file or the system knows"
        case let error as IOError: reason = "the connection broke, error \(error.errnoCode)"
        case is HTTPParserError: reason = "it does not speak HTTP"
        default: reason = "failed (\(type(of: error)))"
        }
        return .unreachable(address: address.text, reason: reason)
    }
}
