import AsyncHTTPClient
import Attestation
import KeyManagement
import Logging
import NIOCore
import NIOPosix
import NIOSSL
import ServiceKit

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Why a unit cannot be asked at all.
package struct UnitUnreachable: Error {
    package let reason: String
}

extension GatewayConfiguration.Unit {
    private static let examinationTimeout = TimeAmount.seconds(5)

    /// Asks the unit what it runs, by the connection and the signature that a gateway asks by.
    /// - Parameter key: the installation's request key.
    /// - Returns: names of models and circuits, whose descriptions ``publicKey`` has signed.
    /// - Throws: `TLSError`, ``UnitUnreachable``, `Problem`, `AttestationError`.
    package func examine(signingWith key: SigningKey) async throws -> [String] {
        let logger = Logger(label: "hkms.examination") { _ in SwiftLogNoOpLogHandler() }
        let transport = try UnitTransport(self, logger: logger)
        let pool = ComputePool(numberOfThreads: 1, maximumQueued: 256)
        let result: Result<[String], any Error>
        do {
            try await reach(by: transport.http)
            let client = UnitClient(
                unit: self, http: transport.http, key: key,
                descriptions: DescriptionReader(compute: PoolCompute(pool: pool)), clock: { Date() })
            result = .success(try await client.models(logger: logger).map(\.name))
        } catch { result = .failure(error) }
        try? await transport.http.shutdown()
        await pool.shutdown()
        return try result.get()
    }

    /// A connection, and any answer over it.
    private func reach(by http: HTTPClient) async throws {
        let base = url.hasSuffix("/") ? String(url.dropLast()) : url
        do {
            let answer = try await http.execute(
                HTTPClientRequest(url: base + "/livez"), timeout: Self.examinationTimeout)
            _ = try await answer.body.collect(upTo: 1 << 16)
        } catch {
            throw UnitUnreachable(reason: Self.reason(error))
        }
    }

    private static func reason(_ error: any Error) -> String {
        switch error {
        case is NIOConnectionError: "nobody listens there"
        case is NIOSSLError, is NIOSSLExtraError, is BoringSSLError:
            "the TLS handshake failed: either its certificate is not for this host and of units.tls.authorities, or "
                + "it does not take the certificate that the gateway shows"
        case let error as HTTPClientError where error == .remoteConnectionClosed:
            "it closed the connection: it may not take the certificate that the gateway shows"
        case let error as HTTPClientError: error.shortDescription
        default: "failed (\(type(of: error)))"
        }
    }
}
