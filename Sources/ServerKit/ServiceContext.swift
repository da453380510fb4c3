import Hummingbird
import ServiceKit
import Synchronization

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
    /// Names this request in logs, in `X-Request-Id` and in problems.
    public let requestID: String

    public init(source: Source) {
        coreContext = .init(source: source)
        var generator = SystemRandomNumberGenerator()
        let number = UInt64.random(in: .min ... .max, using: &generator)
        requestID = HexCoding.encode((0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(8 * $0)) })
    }
}

private final class RequestIdentity: Sendable {
    let principal = Mutex<Principal?>(nil)
}
