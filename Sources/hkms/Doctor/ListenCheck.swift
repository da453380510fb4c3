import AsyncHTTPClient
import Foundation
import Gateway
import NIOCore
import NIOSSL
import ServerKit

/// Whether the gateway could listen, or listens.
enum ListenCheck {
    private static let timeout = TimeAmount.seconds(5)
    private static let fix = "Correct listen.host and listen.port, or end what is in the way (ss -ltnp names it)."

    static func check(_ listen: ListenAddress) -> DoctorCheck {
        DoctorCheck("listen", fix: fix) {
            guard listen.port != 0 else { return .ok("any free port of \(listen.host)") }
            let place = listen.url(boundPort: nil)
            guard let failure = await TCPReach.bindFailure(listen.host, listen.port) else {
                return .ok("\(place) is free")
            }
            let host = ["0.0.0.0": "127.0.0.1", "::": "::1"][listen.host] ?? listen.host
            guard await TCPReach.failure(host, listen.port) == nil else {
                return .failed("\(place) cannot be listened at: \(failure)", fix: fix)
            }
            return await gateway(at: listen, host)
        }
    }

    /// Who listens already.
    private static func gateway(at listen: ListenAddress, _ host: String) async -> DoctorFinding {
        var configuration = HTTPClient.Configuration()
        configuration.redirectConfiguration = .disallow
        configuration.httpVersion = .http1Only
        // Nothing is told to whoever answers, and who it is shall be found out.
        var tls = TLSConfiguration.makeClientConfiguration()
        tls.certificateVerification = .none
        configuration.tlsConfiguration = tls
        let client = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: configuration)
        let place = listen.url(boundPort: nil)
        let shown = host.contains(":") ? "[\(host)]" : host
        let base = "\(listen.tls == nil ? "http" : "https")://\(shown):\(listen.port)"
        let result: DoctorFinding
        do {
            guard try await answer(client, base + "/livez").body.contains("\"live\"") else {
                throw HTTPClientError.remoteConnectionClosed
            }
            let ready = try await answer(client, base + "/readyz")
            result =
                ready.status == 200
                ? .ok("a gateway answers at \(place) and is ready")
                : .warning("a gateway answers at \(place) and is not ready", fix: fix(forProblemsIn: ready.body))
        } catch {
            let asksForCertificates = listen.tls?.clientCertificates == .required
            result =
                asksForCertificates
                ? .warning("\(place) is in use, by whom is not told without a client's certificate", fix: fix)
                : .failed("\(place) is in use, and not by a gateway", fix: fix)
        }
        try? await client.shutdown()
        return result
    }

    /// - Parameter body: of `/readyz`.
    private static func fix(forProblemsIn body: String) -> String {
        struct Readiness: Decodable { let problems: [String] }
        guard let named = try? JSONDecoder().decode(Readiness.self, from: Data(body.utf8)).problems, !named.isEmpty
        else {
            return "See what its /readyz names."
        }
        let shown = named.prefix(8).map { String($0.prefix(200)) }.joined(separator: "; ")
        return "Mend what its /readyz names: \(shown). Its log says more."
    }

    private static func answer(_ client: HTTPClient, _ url: String) async throws -> (status: Int, body: String) {
        let response = try await client.execute(HTTPClientRequest(url: url), timeout: timeout)
        let body = try await response.body.collect(upTo: 1 << 16)
        return (Int(response.status.code), String(decoding: body.readableBytesView, as: UTF8.self))
    }
}
