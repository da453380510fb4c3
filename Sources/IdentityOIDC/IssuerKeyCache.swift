import AsyncHTTPClient
import Logging
import NIOCore
import NIOHTTP1
import ServiceKit
import TransportSecurity

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The keys of one issuer, asked for when they are needed and not known.
///
/// A token with a key that is not known has them asked for again, but not more often than every
/// ``minimumInterval``: nobody makes the gateway ask by sending tokens. While the issuer does not answer, keys that
/// were had before go on for ``graceTimes`` their lifetime.
actor IssuerKeyCache {
    private struct Known {
        let keys: IssuerKeys
        let at: ContinuousClock.Instant
    }

    static let minimumInterval = Duration.seconds(10)
    private static let graceTimes = 24
    private static let timeout = Duration.seconds(10)

    private let configuration: OIDCConfiguration
    private let development: Bool
    private let http: HTTPClient
    private let logger: Logger
    private var known: Known?
    private var lastTry: (at: ContinuousClock.Instant, error: OIDCError?)?
    private var fetching: Task<Result<IssuerKeys, OIDCError>, Never>?

    init(_ configuration: OIDCConfiguration, development: Bool, logger: Logger) throws(TLSError) {
        self.configuration = configuration
        self.development = development
        self.logger = logger
        var http = HTTPClient.Configuration()
        http.redirectConfiguration = .disallow
        http.timeout = .init(connect: .seconds(5), read: .seconds(10), write: .seconds(10))
        http.tlsConfiguration = try ClientTLS(authorities: configuration.authorities).configuration()
        self.http = HTTPClient(eventLoopGroup: HTTPClient.defaultEventLoopGroup, configuration: http)
    }

    func shutdown() async { try? await http.shutdown() }

    /// The claims of a token whose signature is right.
    /// - Throws: where there are no keys to check it with.
    func claims(
        of token: String, _ header: TokenHeader, _ algorithm: OIDCConfiguration.Algorithm
    ) async throws(OIDCError) -> TokenClaims? {
        var keys = try await current()
        if !keys.contains(header, algorithm), mayAskAgain {
            keys = (try? await fetch()) ?? keys
        }
        return await keys.claims(of: token, header, algorithm)
    }

    /// Keys that are fresh, or as fresh as can be had.
    func current() async throws(OIDCError) -> IssuerKeys {
        guard let known else {
            // One that does not answer is not asked by everybody who waits for it.
            if let error = lastTry?.error, !mayAskAgain { throw error }
            return try await fetch()
        }
        let age = ContinuousClock.now - known.at
        guard age > configuration.keyLifetime, mayAskAgain else {
            if age > configuration.keyLifetime * Self.graceTimes { throw .unreachable(issuer: configuration.issuer) }
            return known.keys
        }
        do {
            return try await fetch()
        } catch {
            guard age <= configuration.keyLifetime * Self.graceTimes else { throw error }
            return known.keys
        }
    }

    private var mayAskAgain: Bool {
        lastTry.map { ContinuousClock.now - $0.at >= Self.minimumInterval } ?? true
    }

    /// One question at a time, whose answer is for all that wait.
    private func fetch() async throws(OIDCError) -> IssuerKeys {
        let task: Task<Result<IssuerKeys, OIDCError>, Never>
        if let fetching {
            task = fetching
        } else {
            task = Task { [configuration, development, http] in
                do throws(OIDCError) {
                    return .success(try await Self.ask(configuration, development, http))
                } catch { return .failure(error) }
            }
            fetching = task
        }
        let result = await task.value
        if fetching == task {
            fetching = nil
            switch result {
            case .success(let keys):
                lastTry = (ContinuousClock.now, nil)
                known = Known(keys: keys, at: ContinuousClock.now)
                logger.info(
                    "the issuer's keys were fetched",
                    metadata: ["issuer": "\(configuration.issuer)", "keys": "\(keys.count)"])
            case .failure(let error):
                lastTry = (ContinuousClock.now, error)
                logger.error(
                    "the issuer's keys cannot be had",
                    metadata: ["issuer": "\(configuration.issuer)", "error": "\(error)"])
            }
        }
        return try result.get()
    }

    private static func ask(
        _ configuration: OIDCConfiguration, _ development: Bool, _ http: HTTPClient
    ) async throws(OIDCError) -> IssuerKeys {
        struct Discovery: Decodable {
            let issuer: String
            let jwks_uri: String
        }
        var place = configuration.keysURL
        if place == nil {
            let issuer = configuration.issuer
            let base = issuer.hasSuffix("/") ? String(issuer.dropLast()) : issuer
            let bytes = try await get(base + "/.well-known/openid-configuration", configuration, http)
            guard let discovery = try? JSONDecoder().decode(Discovery.self, from: Data(bytes)) else {
                throw .noKeys(issuer: configuration.issuer)
            }
            guard discovery.issuer == configuration.issuer else {
                throw .anotherIssuer(expected: configuration.issuer)
            }
            place = discovery.jwks_uri
        }
        guard let place, OIDCConfiguration.isAllowed(place, development: development) else {
            throw .noKeys(issuer: configuration.issuer)
        }
        return try IssuerKeys(parsing: try await get(place, configuration, http))
    }

    private static func get(
        _ url: String, _ configuration: OIDCConfiguration, _ http: HTTPClient
    ) async throws(OIDCError) -> [UInt8] {
        do {
            return try await TimeLimit.run(within: timeout) {
                let response = try await http.execute(HTTPClientRequest(url: url), timeout: .seconds(10))
                guard response.status == .ok else { throw OIDCError.unreachable(issuer: configuration.issuer) }
                return Array(try await response.body.collect(upTo: IssuerKeys.maximumBytes).readableBytesView)
            }
        } catch {
            throw .unreachable(issuer: configuration.issuer)
        }
    }
}
