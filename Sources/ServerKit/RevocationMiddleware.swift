import Hummingbird
import Logging
import ServiceKit
import ServiceLifecycle
import TransportSecurity

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// Refuses every request over a connection whose client certificate is revoked, or cannot be looked up.
///
/// Asked for each request, so that a connection that was made before is refused, too. The handshake itself succeeds.
public struct RevocationMiddleware: RouterMiddleware {
    public typealias Context = ServiceContext
    private let lists: RevocationLists?

    /// - Parameter lists: nil to refuse nobody.
    public init(_ lists: RevocationLists?) { self.lists = lists }

    public func handle(
        _ request: Request, context: Context, next: (Request, Context) async throws -> Response
    ) async throws -> Response {
        guard let lists else { return try await next(request, context) }
        switch await context.certificateOfClient() {
        case .none: break
        case .unknown: throw Self.refused("cannot be looked up: the connection is closed", fix: "Send it again.")
        case .shown(nil):
            throw Self.refused("cannot be read, or is not of this time", fix: "Have its authority issue another.")
        case .shown(let certificate?):
            switch lists.verdict(on: certificate, at: Date()) {
            case .good: break
            case .revoked: throw Self.refused("is revoked", fix: "Have its authority issue another.")
            case .unknown:
                throw Self.refused(
                    "cannot be looked up: there is no current revocation list of its authority",
                    fix: "Have the operator look at listen.tls.revocationLists; /readyz names lists that have ended.")
            }
        }
        return try await next(request, context)
    }

    private static func refused(_ why: String, fix: String) -> Problem {
        Problem(
            name: "unauthenticated", title: "Who are you?", status: 401, detail: "The client certificate \(why).",
            fix: fix)
    }
}

/// Looks at the files of revocation lists again until the servers beside it stop.
struct RevocationReloading: Service {
    let lists: RevocationLists
    let interval: Duration
    let logger: Logger

    func run() async throws {
        try? await cancelWhenGracefulShutdown {
            while true {
                try await Task.sleep(for: interval)
                look()
            }
        }
    }

    private func look() {
        for event in lists.reload() {
            switch event {
            case .renewed(let path, let revoked):
                logger.notice(
                    "the revocation list was renewed", metadata: ["list": "\(path)", "revoked": "\(revoked)"])
            case .failed(let path, let reason):
                logger.error(
                    "the revocation list cannot be renewed; the one that was read before goes on until its end",
                    metadata: ["list": "\(path)", "reason": "\(reason)"])
            }
        }
        for problem in lists.problems(at: Date()) { logger.error("\(problem)") }
    }
}
