import AsyncHTTPClient
import FoundationEssentials
import KeyManagement
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL
import SecretMemory
import ServiceKit
import Synchronization
import TransportSecurity

#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#else
    import Darwin
#endif

/// One answer of the server.
struct OpenBaoAnswer: ~Copyable, Sendable {
    let status: Int
    let retryAfterSeconds: Int?
    let body: SecretBuffer
}

/// A JSON object of strings that need no escapes, built in one allocation that ``wipe()`` zeroes.
struct OpenBaoRequestBody: Sendable {
    private(set) var buffer: ByteBuffer

    /// - Parameter capacity: at least the number of bytes that are going to be written.
    init(capacity: Int) { buffer = ByteBufferAllocator().buffer(capacity: capacity) }

    static let empty = {
        var body = OpenBaoRequestBody(capacity: 2)
        body.buffer.writeString("{}")
        return body
    }()

    /// Room for one member's quotes, colon and comma.
    static let memberOverhead = 8

    /// - Parameter write: writes the value, which is base64, a name or a checked token.
    mutating func addString(_ name: StaticString, _ write: (inout ByteBuffer) -> Void) {
        addName(name)
        buffer.writeInteger(UInt8(ascii: "\""))
        write(&buffer)
        buffer.writeInteger(UInt8(ascii: "\""))
    }

    /// - Parameter literal: a number or a boolean.
    mutating func add(_ name: StaticString, literal: String) {
        addName(name)
        buffer.writeString(literal)
    }

    /// An array of objects; what they hold must need no wiping, as the buffer grows.
    mutating func addArray<Element>(
        _ name: StaticString, _ elements: [Element], _ write: (inout OpenBaoRequestBody, Element) -> Void
    ) {
        addName(name)
        var separator = "["
        for element in elements {
            buffer.writeString(separator)
            var object = OpenBaoRequestBody(capacity: 256)
            write(&object, element)
            object.close()
            buffer.writeImmutableBuffer(object.buffer)
            separator = ","
        }
        buffer.writeString(elements.isEmpty ? "[]" : "]")
    }

    private mutating func addName(_ name: StaticString) {
        buffer.writeString(buffer.readableBytes == 0 ? "{\"" : ",\"")
        buffer.writeStaticString(name)
        buffer.writeString("\":")
    }

    mutating func close() { buffer.writeString("}") }

    func wipe() { buffer.wipeReadableBytes() }
}

/// HTTP to the servers: bounded answers in locked memory, and failures as ``KMSError``.
final class OpenBaoTransport: Sendable {
    /// No answer that the adapter asks for is larger.
    static let maximumAnswerBytes = 64 * 1024

    private let client: HTTPClient
    private let origins: [String]
    /// Index of the one to ask.
    private let preferred = Mutex(0)
    /// The latest of all answers.
    private let index = Mutex<StorageIndex?>(nil)
    private let namespace: String?
    private let timeout: TimeAmount
    private let retryTime: Duration

    init(_ configuration: OpenBaoConfiguration) throws(OpenBaoConfigurationError) {
        let (seconds, attoseconds) = configuration.requestTimeout.components
        timeout = .seconds(seconds) + .nanoseconds(attoseconds / 1_000_000_000)
        var http = HTTPClient.Configuration()
        if configuration.usesTLS {
            do {
                http.tlsConfiguration = try ClientTLS(authorities: configuration.caCertificateFile).configuration()
            } catch { throw .caCertificate(path: configuration.caCertificateFile ?? "", reason: error.reason) }
        }
        // A redirect would carry the token to a host that the configuration does not name.
        http.redirectConfiguration = .disallow
        http.httpVersion = .http1Only
        http.timeout = .init(connect: min(timeout, .seconds(5)), read: timeout, write: timeout)
        http.connectionPool.retryConnectionEstablishment = false
        client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: http)
        origins = configuration.addresses
        namespace = configuration.namespace
        retryTime = configuration.retryTime
    }

    func shutdown() async { try? await client.shutdown() }

    /// - Parameter time: how long the call may be begun again; nil for what is configured.
    func attempts(_ repetition: OpenBaoRepetition, time: Duration? = nil) -> OpenBaoAttempts {
        OpenBaoAttempts(nodes: origins.count, time: time ?? retryTime, repetition: repetition)
    }

    /// Sends a request until it is answered.
    /// - Parameters:
    ///   - path: behind `/v1/`, safe without escaping.
    ///   - inNamespace: false for the few paths that only the root namespace has.
    ///   - time: how long the request may be begun again; nil for what is configured.
    func send(
        _ method: HTTPMethod, _ path: String, body: OpenBaoRequestBody? = nil, token: OpenBaoToken? = nil,
        inNamespace: Bool = true, _ repetition: OpenBaoRepetition = .always, time: Duration? = nil
    ) async throws(KMSError) -> OpenBaoAnswer {
        var attempts = attempts(repetition, time: time)
        while true {
            switch await sendOnce(method, path, body: body, token: token, inNamespace: inNamespace) {
            case .success(let answer): guard await attempts.areLeft(after: answer) else { return answer }
            case .failure(let failure): guard await attempts.areLeft(after: failure) else { throw failure.error }
            }
        }
    }

    /// Sends a request to the server that served last. Where it does not serve this one, the next is asked from then on.
    func sendOnce(
        _ method: HTTPMethod, _ path: String, body: OpenBaoRequestBody? = nil, token: OpenBaoToken? = nil,
        inNamespace: Bool = true
    ) async -> Result<OpenBaoAnswer, OpenBaoFailure> {
        let node = preferred.withLock { $0 }
        do throws(OpenBaoFailure) {
            let answer = try await exchange(
                method, path, body: body, token: token, namespace: inNamespace ? namespace : nil, with: origins[node])
            if answer.isNotServed && !answer.isConflict || answer.isBehind { leave(node) }
            return .success(answer)
        } catch {
            // Who hangs up, or has no memory left, says nothing of the server.
            if !error.isLocal { leave(node) }
            return .failure(error)
        }
    }

    private func leave(_ node: Int) {
        preferred.withLock { if $0 == node { $0 = (node + 1) % origins.count } }
    }

    private func exchange(
        _ method: HTTPMethod, _ path: String, body: OpenBaoRequestBody?, token: OpenBaoToken?, namespace: String?,
        with origin: String
    ) async throws(OpenBaoFailure) -> OpenBaoAnswer {
        var request = HTTPClientRequest(url: "\(origin)/v1/\(path)")
        request.method = method
        // Refuses requests that a web page made a browser send; servers that lack the check ignore it.
        request.headers.add(name: "X-Vault-Request", value: "true")
        if let token { request.headers.add(name: "X-Vault-Token", value: token.headerValue) }
        if let namespace { request.headers.add(name: "X-Vault-Namespace", value: namespace) }
        if let index = index.withLock({ $0 }) {
            request.headers.add(name: "X-Vault-Index", value: index.header)
            if index.isForwarded { request.headers.add(name: "X-Vault-Inconsistent", value: "forward-active-node") }
        }
        if let body {
            request.headers.add(name: "Content-Type", value: "application/json")
            request.body = .bytes(body.buffer)
        }
        do {
            let deadline = NIODeadline.now() + timeout
            let response = try await client.execute(request, deadline: deadline)
            if let index = response.headers.first(name: "X-Vault-Index").flatMap({ StorageIndex($0) }) {
                self.index.withLock { if $0.map({ index.replaces($0) }) ?? true { $0 = index } }
            }
            let body = try await collect(response.body, from: origin, deadline: deadline)
            return OpenBaoAnswer(
                status: Int(response.status.code),
                retryAfterSeconds: response.headers.first(name: "Retry-After").flatMap {
                    RetryAfter.seconds($0, now: Int(Date().timeIntervalSince1970))
                },
                body: body)
        } catch let error as KMSError {
            throw OpenBaoFailure(error: error, mayHaveArrived: true, mayPass: false)
        } catch let error as SecretMemoryError {
            throw OpenBaoFailure(error: .memory(error), mayHaveArrived: true, mayPass: false, isLocal: true)
        } catch {
            throw Self.failure(error, of: origin)
        }
    }

    private func collect(
        _ body: HTTPClientResponse.Body, from origin: String, deadline: NIODeadline
    ) async throws -> SecretBuffer {
        var collected = try SecretBuffer()
        for try await chunk in body {
            defer { chunk.wipeReadableBytes() }
            // The client's own deadline ends with the response's head.
            guard NIODeadline.now() < deadline else { throw HTTPClientError.deadlineExceeded }
            let fits = try chunk.withUnsafeReadableBytes {
                try collected.append($0, limit: Self.maximumAnswerBytes)
            }
            guard fits else {
                throw KMSError.invalidResponse(
                    reason: "\(origin): the answer is larger than \(Self.maximumAnswerBytes) bytes")
            }
        }
        return collected
    }

    private static func failure(_ error: any Error, of origin: String) -> OpenBaoFailure {
        let unconnected: [HTTPClientError] = [.connectTimeout, .getConnectionFromPoolTimeout, .tlsHandshakeTimeout]
        let final: [HTTPClientError] = [.alreadyShutdown, .cancelled]
        let (mayHaveArrived, mayPass) =
            switch error {
            case let error as HTTPClientError: (!unconnected.contains(error), !final.contains(error))
            case is NIOConnectionError: (false, true)
            case NIOSSLError.uncleanShutdown: (true, true)
            case NIOSSLError.handshakeFailed(.sslError([.eofDuringHandshake])): (false, true)
            // Certificates and versions stay as they are.
            case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError: (true, false)
            case is CancellationError: (true, false)
            default: (true, true)
            }
        return OpenBaoFailure(
            error: .unavailable(reason: "\(origin): \(describe(error))"), mayHaveArrived: mayHaveArrived,
            mayPass: mayPass, isLocal: error is CancellationError || (error as? HTTPClientError) == .cancelled)
    }

    /// Only texts of our own: some descriptions of these errors repeat header values, which hold the token.
    private static func describe(_ error: any Error) -> String {
        switch error {
        case let error as HTTPClientError: error.shortDescription
        case is NIOConnectionError: "cannot connect"
        case NIOSSLError.uncleanShutdown: "the connection was closed"
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            "the TLS handshake failed; the server must speak TLS 1.3 with a certificate for this host of an authority "
                + "that the file under caCertificate names (hkms init: --openbao-ca), or without one the system"
        case let error as IOError: "I/O error: \(String(cString: strerror(error.errnoCode)))"
        case is CancellationError: "cancelled"
        default: "failed (\(type(of: error)))"
        }
    }
}
