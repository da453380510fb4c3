import AsyncHTTPClient
import AuditLog
import NIOCore
import NIOHTTP1
import NIOSSL
import SecretMemory

/// POST of lines as newline-delimited JSON. A status of 2xx says that the server has them all.
///
/// The same lines may come more than once; `HKMS-Audit-Lines` names the first and the last.
final class HTTPSink: AuditSink {
    private static let timeout = TimeAmount.seconds(10)
    /// Bytes of an answer that are read, so that its connection can be used again.
    private static let answerBytes = 1 << 16

    let name: String
    let isRequired: Bool
    private let url: String
    private let tokenFile: String?
    private let origin: String
    private let client: HTTPClient

    init(_ settings: AuditSinkSettings, installation: String, gateway: String) throws(AuditSinkError) {
        name = settings.name
        isRequired = settings.isRequired
        url = settings.url
        tokenFile = settings.tokenFile
        origin = "\(installation)/\(gateway)"
        var configuration = HTTPClient.Configuration()
        configuration.tlsConfiguration = try AuditSinkFactory.tls(settings)
        // The limit of a request ends with its answer's head.
        configuration.timeout.read = Self.timeout
        // Records and the token go where the operator says, and nowhere else.
        configuration.redirectConfiguration = .disallow
        client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
    }

    func send(_ copies: [AuditCopy]) async throws {
        guard let first = copies.first, let last = copies.last else { return }
        var body = ByteBuffer()
        for copy in copies {
            body.writeBytes(copy.text)
            body.writeInteger(UInt8(ascii: "\n"))
        }
        var request = HTTPClientRequest(url: url)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/x-ndjson")
        request.headers.add(name: "HKMS-Audit-Log", value: origin)
        request.headers.add(name: "HKMS-Audit-Lines", value: "\(first.first)-\(last.last)")
        if let token = try token() { request.headers.add(name: "Authorization", value: "Bearer \(token)") }
        request.body = .bytes(body)
        let response: HTTPClientResponse
        do {
            response = try await client.execute(request, timeout: Self.timeout)
            _ = try? await response.body.collect(upTo: Self.answerBytes)
        } catch let error as HTTPClientError {
            throw AuditSinkError.unreachable(error.shortDescription)
        } catch {
            throw AuditSinkError.unreachable("\(error)")
        }
        guard (200..<300).contains(response.status.code) else {
            throw AuditSinkError.status(Int(response.status.code))
        }
    }

    func shutdown() async { try? await client.shutdown() }

    /// Read each time, so that a new one is taken without a restart.
    private func token() throws(AuditSinkError) -> String? {
        guard let tokenFile else { return nil }
        do {
            let secret = try SecretFile.read(tokenFile)
            let text = secret.withUnsafeBytes { String(validating: $0, as: UTF8.self) }
            guard let text, !text.isEmpty, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
                throw AuditSinkError.token(path: tokenFile)
            }
            return text
        } catch {
            throw .token(path: tokenFile)
        }
    }
}
