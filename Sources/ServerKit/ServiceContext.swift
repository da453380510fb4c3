import Hummingbird
import NIOCore
import NIOSSL
import ServiceKit
import Synchronization
import TransportSecurity

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// What a request carries through the middleware of an HKMS server.
public struct ServiceContext: RequestContext {
    public var coreContext: CoreRequestContextStorage
    private let identity = RequestIdentity()
    /// Who asks, once authenticated. Copies of a context share it, so that the log of the outermost middleware
    /// knows it too.
    public var principal: Principal? {
        get { identity.principal.withLock { $0 } }
        nonmutating set { identity.principal.withLock { $0 = newValue } }
    }
    /// What the caller sent to be forwarded to the trusted KMS; nil where it sent nothing.
    public var forwardedCredential: ForwardedCredential? {
        get { identity.forwardedCredential.withLock { $0 } }
        nonmutating set { identity.forwardedCredential.withLock { $0 = newValue } }
    }
    /// The trace that this request is part of, 32 hex digits; nil outside of ``ObservabilityMiddleware``.
    public internal(set) var traceID: String? {
        get { identity.traceID.withLock { $0 } }
        nonmutating set { identity.traceID.withLock { $0 = newValue } }
    }
    private let channel: any Channel
    /// Names this request in logs, in `X-Request-Id` and in problems.
    public let requestID: String
    private let arrival = ContinuousClock.now
    /// The IP address at the other end of the connection, which may be a proxy's; nil where there is none. Taken when
    /// the request begins: a connection that is closed knows none any more.
    public let remoteAddress: String?

    public init(source: Source) {
        coreContext = .init(source: source)
        channel = source.channel
        remoteAddress = (channel.remoteAddress ?? channel.parent?.remoteAddress)?.ipAddress
        var generator = SystemRandomNumberGenerator()
        let number = UInt64.random(in: .min ... .max, using: &generator)
        requestID = HexCoding.encode((0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) })
    }

    /// Since the request arrived.
    public var microseconds: Int { Int((ContinuousClock.now - arrival) / .microseconds(1)) }

    /// The names in ``clientCertificate()``.
    public func clientCertificateNames() async -> CertificateNames? { await clientCertificate()?.names }

    /// The certificate that the client showed, once TLS had verified it; nil where it showed none, and where what it
    /// showed is no longer, or not yet, valid.
    public func clientCertificate() async -> PeerCertificate? {
        guard case .shown(let certificate?) = await certificateOfClient() else { return nil }
        return certificate
    }

    /// What is known of the client's certificate.
    enum CertificateOfClient {
        case none
        /// nil for one that cannot be read, or is not of this time.
        case shown(PeerCertificate?)
        /// The connection is closed, and with it gone what it knew.
        case unknown
    }

    func certificateOfClient() async -> CertificateOfClient {
        // A stream of HTTP/2 is a channel of its own, whose parent has the connection.
        for channel in [channel, channel.parent].compactMap({ $0 }) {
            if let certificate = try? await channel.nioSSL_peerCertificate().get() {
                return .shown(PeerCertificate(certificate).flatMap { $0.isValid(at: Date()) ? $0 : nil })
            }
        }
        // Asked afterwards: what is open now was open when it was asked.
        return (channel.parent ?? channel).isActive ? .none : .unknown
    }
}

private final class RequestIdentity: Sendable {
    let principal = Mutex<Principal?>(nil)
    let traceID = Mutex<String?>(nil)
    let forwardedCredential = Mutex<ForwardedCredential?>(nil)
}
